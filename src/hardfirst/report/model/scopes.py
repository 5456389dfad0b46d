"""What is taken over the tasks of a run, and how methods differ in it."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from hardfirst.records.names import EQUAL
from hardfirst.records.objective import Objective
from hardfirst.report.model.case import Case
from hardfirst.statistics import Difference, Interval, compare_to, mean_interval, mean_task, worst_task
from hardfirst.statistics.intervals import Array


class Scope(NamedTuple):
    """What is taken over the tasks of a run.

    Args:
        name: "task", "worst", "mean" or "criterion".
        where: as it stands in a sentence.
        over_tasks: [seeds, tasks] → [seeds].
        title: as the name of a row.
    """

    name: str
    where: str
    over_tasks: Callable[[Array], Array]
    title: str

    @property
    def heading(self) -> str:
        """The title as the heading of a column: with a capital unless it begins with a task's name."""
        return f"{self.title[0].upper()}{self.title[1:]}" if self.where == f"on the {self.title}" else self.title

    def points(self, case: Case, method: str) -> Array:
        """[seeds]: what the method's runs reach, in points."""
        return self.over_tasks(case.points(method))

    def interval(self, case: Case, method: str) -> Interval:
        """Its mean over seeds."""
        return mean_interval(self.points(case, method)).clipped(0, 100)

    def differences(self, case: Case, base: str, methods: Iterable[str]) -> dict[str, Difference]:
        """How the methods differ from the base."""
        return compare_to(self.points(case, base), {method: self.points(case, method) for method in methods})


WORST = Scope("worst", "on the worst task", worst_task, "worst task")
MEAN = Scope("mean", "on the mean over tasks", mean_task, "mean over tasks")


def scopes(case: Case) -> tuple[Scope, ...]:
    """The worst task and the mean over tasks, which are the same if there is only one task."""
    return (WORST, MEAN) if len(case.tasks) > 1 else (Scope("task", f"on {case.tasks[0]}", worst_task, case.tasks[0]),)


def objective(case: Case) -> Objective:
    """What epochs and settings were chosen by on the validation split; the mean over tasks if runs differ in it."""
    texts = {record.criterion for record in case.runs.values()}
    return Objective.parse(texts.pop() if len(texts) == 1 else "mean", case.tasks)


def criterion(case: Case) -> Scope:
    """The objective as a scope: the worst task, the mean over tasks, or another one."""
    chosen = objective(case)
    if chosen.text in ("mean", "worst") or len(case.tasks) == 1:
        return WORST if chosen.text == "worst" else MEAN

    def over_tasks(points: Array) -> Array:
        """NaN where any task's KPI is NaN, as for the mean."""
        rows = (dict(zip(case.tasks, row, strict=True)) for row in points)
        return np.array([np.nan if np.isnan([*row.values()]).any() else chosen.value(row) for row in rows])

    title = chosen.words.removeprefix("the ")
    return Scope("criterion", f"on {chosen.words}", over_tasks, title)


def headlines(case: Case) -> tuple[Scope, ...]:
    """The worst task and the mean over tasks, and the criterion if it is neither: the columns of a leaderboard."""
    chosen_by = criterion(case)
    return (WORST, MEAN) if chosen_by in (WORST, MEAN) else (chosen_by, WORST, MEAN)


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
