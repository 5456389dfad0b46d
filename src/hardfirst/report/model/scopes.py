"""What is taken over the tasks of a run, and how methods differ in it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from hardfirst.records.names import EQUAL
from hardfirst.report.model.case import Case
from hardfirst.statistics import Difference, Interval, compare_to, mean_interval, mean_task, worst_task
from hardfirst.statistics.intervals import Array


class Scope(NamedTuple):
    """What is taken over the tasks of a run.

    Args:
        name: a word for ids.
        where: as it stands in a sentence.
        over_tasks: [seeds, tasks] → [seeds].
    """

    name: str
    where: str
    over_tasks: Callable[[Array], Array]

    def points(self, case: Case, method: str) -> Array:
        """[seeds]: what the method's runs reach, in points."""
        return self.over_tasks(case.points(method))

    def interval(self, case: Case, method: str) -> Interval:
        """Its mean over seeds."""
        return mean_interval(self.points(case, method)).clipped(0, 100)

    def differences(self, case: Case, base: str, methods: Iterable[str]) -> dict[str, Difference]:
        """How the methods differ from the base."""
        return compare_to(self.points(case, base), {method: self.points(case, method) for method in methods})


WORST = Scope("worst", "on the worst task", worst_task)
MEAN = Scope("mean", "on the mean over tasks", mean_task)


def scopes(case: Case) -> tuple[Scope, ...]:
    """The worst task and the mean over tasks, which are the same if there is only one task."""
    return (WORST, MEAN) if len(case.tasks) > 1 else (Scope("task", f"on {case.tasks[0]}", worst_task),)


def criterion(case: Case) -> Scope:
    """What epochs and settings were chosen by on the validation split."""
    criteria = {record.trial.get("criterion", "mean") for record in case.runs.values()}
    return WORST if criteria == {"worst"} else MEAN


def static_for(case: Case, scope: Scope) -> str | None:
    """The name of the static weights chosen from the grid for this measure; None if there are none."""
    return case.static.get("mean" if scope.name == "task" else scope.name)


def static_is_equal(case: Case, scope: Scope) -> bool:
    """Whether the static weights chosen for this measure are equal weights, so that both have the same runs.

    The choice was made on the tuning seed, so leaving them out of the tests selects nothing by the seeds that are tested.
    """
    static = static_for(case, scope)
    runs = case.of(static) if static else []
    return bool(runs) and all(record.trial["balancer"] == EQUAL for record in runs)


def rivals(case: Case) -> list[str]:
    """The methods that are tested against the baseline: all others but static weights, which are a baseline too."""
    return [method for method in case.others if method not in case.static.values()]
