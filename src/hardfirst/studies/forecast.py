"""Estimates of what a study will take."""

from typing import NamedTuple

from hardfirst.records.names import SINGLE
from hardfirst.studies.difficulty import with_default_order
from hardfirst.studies.executors.local import Local, cores
from hardfirst.studies.kinds import KINDS
from hardfirst.studies.kinds.base import StudyKind
from hardfirst.studies.plan import Plan
from hardfirst.training import device_kind, preview, trial_seconds

TOGETHER = 1 / 3
"""What a run costs that is trained together with others, relative to one alone: `benchmarks/vectorized.py` on digits."""

Counts = dict[str, tuple[int, int]]


def counts(plan: Plan) -> Counts:
    """By row (`StudyTrial.row`), the greatest number of tuning runs and of reported runs, over all problems and networks."""
    totals: Counts = {}
    for case in _cases(plan):
        for row, (tuning, reported) in case.count().items():
            before = totals.get(row, (0, 0))
            totals[row] = (before[0] + tuning, before[1] + reported)
    return totals


class Estimate(NamedTuple):
    """What a study takes.

    Args:
        seconds: on this machine.
        together: whether some runs are taken to be trained together.
    """

    seconds: float
    together: bool


def estimate(plan: Plan) -> Estimate:
    """About how long the study takes on this machine, from the time of a few training steps on each problem."""
    total, together, device = 0.0, False, device_kind(plan.accelerator)
    for case in _cases(plan):
        base = with_default_order(case.base, case.problem)
        runs, single = _costs(case, stacks := plan.vectorize and not preview(base, device).reason)
        together |= stacks
        total += runs * trial_seconds(base, accelerator=plan.accelerator)
        if single:
            alone = base.alone(case.problem.measured[0])
            total += single * trial_seconds(alone, accelerator=plan.accelerator)
    return Estimate(total / places(plan)[0], together)


def _costs(case: StudyKind, together: bool) -> tuple[float, float]:
    """What the runs of all tasks, and those of single tasks, cost in runs that are trained singly."""
    alone = case.alone()
    costs = {}
    for row, runs in case.count().items():
        singly = alone.get(row, 0)
        costs[row] = singly + (sum(runs) - singly) * (TOGETHER if together else 1.0)
    single = costs.pop(SINGLE, 0.0)
    return sum(costs.values()), single


def places(plan: Plan) -> tuple[int, str]:
    """How many runs there are at a time, and the devices of this machine that they share, in words; "" on a cluster.

    Raises:
        InputError: the local engine cannot run here.
    """
    engine = plan.engine_spec.build()
    if not isinstance(engine, Local):
        return plan.workers or cores(), ""
    engine.check(plan.accelerator)
    return plan.workers or engine.room, engine.devices


def _cases(plan: Plan) -> list[StudyKind]:
    """The plan's cases before anything has run."""
    return [KINDS[plan.kind](plan, case, lambda key: None) for case in plan.cases]
