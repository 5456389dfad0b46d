"""Estimates of what a study will take."""

from dataclasses import replace

from hardfirst.records.names import SINGLE
from hardfirst.studies.difficulty import with_default_order
from hardfirst.studies.executors.local import Local, cores
from hardfirst.studies.kinds import KINDS
from hardfirst.studies.kinds.base import StudyKind
from hardfirst.studies.plan import Plan
from hardfirst.training import trial_seconds

Counts = dict[str, tuple[int, int]]


def counts(plan: Plan) -> Counts:
    """By row (`StudyTrial.row`), the greatest number of tuning runs and of reported runs, over all problems and networks."""
    totals: Counts = {}
    for case in _cases(plan):
        for row, (tuning, reported) in case.count().items():
            before = totals.get(row, (0, 0))
            totals[row] = (before[0] + tuning, before[1] + reported)
    return totals


def estimate(plan: Plan) -> float:
    """About how many seconds the study takes on this machine, from the time of a few training steps on each problem."""
    total = 0.0
    for case in _cases(plan):
        runs = {row: sum(numbers) for row, numbers in case.count().items()}
        single = runs.pop(SINGLE, 0)
        base = with_default_order(case.base, case.problem)
        total += sum(runs.values()) * trial_seconds(base, accelerator=plan.accelerator)
        if single:
            alone = replace(base, only=case.problem.measured[0])
            total += single * trial_seconds(alone, accelerator=plan.accelerator)
    return total / places(plan)[0]


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
