"""What a study will take, before it runs."""

from dataclasses import replace

from hardfirst.studies.executors import cores
from hardfirst.studies.plan import Plan
from hardfirst.studies.schedule import SINGLE, Schedule
from hardfirst.training import trial_seconds

Counts = dict[str, tuple[int, int]]


def counts(plan: Plan) -> Counts:
    """By method, how many tuning runs and how many reported runs there will be at most, over all problems and networks."""
    totals: Counts = {}
    for schedule in _schedules(plan):
        for method, (tuning, reported) in schedule.count().items():
            before = totals.get(method, (0, 0))
            totals[method] = (before[0] + tuning, before[1] + reported)
    return totals


def estimate(plan: Plan) -> float:
    """About how many seconds the study will take from the beginning, by timing a few training steps on each problem."""
    total = 0.0
    for schedule in _schedules(plan):
        runs = {method: sum(numbers) for method, numbers in schedule.count().items()}
        single = runs.pop(SINGLE, 0)
        total += sum(runs.values()) * trial_seconds(schedule.base, accelerator=plan.accelerator)
        if single:
            alone = replace(schedule.base, only=schedule.tasks[0])
            total += single * trial_seconds(alone, accelerator=plan.accelerator)
    return total / (plan.workers or cores())


def _schedules(plan: Plan) -> list[Schedule]:
    return [Schedule(plan, case, lambda key: None) for case in plan.cases]
