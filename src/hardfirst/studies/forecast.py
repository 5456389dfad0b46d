"""What a study will take, before it runs."""

from dataclasses import replace

from hardfirst.records.names import SINGLE
from hardfirst.studies.difficulty import with_default_order
from hardfirst.studies.executors.local import cores
from hardfirst.studies.kinds.base import schedules
from hardfirst.studies.plan import Plan
from hardfirst.training import trial_seconds

Counts = dict[str, tuple[int, int]]


def counts(plan: Plan) -> Counts:
    """By method, how many tuning runs and how many reported runs there will be at most, over all problems and networks."""
    totals: Counts = {}
    for schedule in schedules(plan, lambda key: None):
        for method, (tuning, reported) in schedule.count().items():
            before = totals.get(method, (0, 0))
            totals[method] = (before[0] + tuning, before[1] + reported)
    return totals


def estimate(plan: Plan) -> float:
    """About how many seconds the study will take from the beginning, by timing a few training steps on each problem."""
    total = 0.0
    for schedule in schedules(plan, lambda key: None):
        runs = {method: sum(numbers) for method, numbers in schedule.count().items()}
        single = runs.pop(SINGLE, 0)
        base = with_default_order(schedule.base, schedule.problem)
        total += sum(runs.values()) * trial_seconds(base, accelerator=plan.accelerator)
        if single:
            alone = replace(base, only=schedule.problem.task_names[0])
            total += single * trial_seconds(alone, accelerator=plan.accelerator)
    return total / (plan.workers or cores())
