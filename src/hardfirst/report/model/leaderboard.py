"""The leaderboard of a case: a row for each method, best first, as every report shows it."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hardfirst.records import Record
from hardfirst.records.names import SINGLE, TREES
from hardfirst.records.objective import Objective
from hardfirst.report.model.case import Case
from hardfirst.report.model.scopes import WORST, Scope, headlines, objective, rivals
from hardfirst.report.model.summary import Cell, Summary, summary
from hardfirst.statistics import Decision, Difference, Interval, fewest_seeds, mean_interval
from hardfirst.statistics.intervals import Array

Effect = Literal["better", "worse", "unclear", ""]
"""Whether something is better or worse than the baseline; "" where nothing is compared."""
Role = Literal["baseline", "method", "static"]


@dataclass(frozen=True)
class Standing:
    """A method's row.

    Args:
        names: the method; several if their runs are identical, such as static weights that are equal weights.
        role: "static" for static weights that the study chose from a grid, which no test counts.
        tasks: by task, the test KPI and its difference from the baseline, in points.
        worst: the same of the worst task of each run.
        mean: the same of the mean over tasks.
        criterion: the same of the study's criterion; None if that is the worst task or the mean.
        decisions: by name of a scope of the leaderboard, the Holm-corrected decision; None for what is not tested.
        delta_m: the mean relative gain over the single-task networks in per cent; None without such networks.
        field_delta: the field's Δm over metrics in per cent, lower is better; None where the field has none.
        cost: of a training step, or of an epoch (`Leaderboard.cost_of`), relative to the baseline; NaN if it is not known.
        finished: the number of its runs that finished.
        started: the number of its runs that have ended, however they ended.
    """

    names: tuple[str, ...]
    role: Role
    tasks: Mapping[str, Cell]
    worst: Cell
    mean: Cell
    criterion: Cell | None
    decisions: Mapping[str, Decision | None]
    delta_m: Interval | None
    field_delta: Interval | None
    cost: float
    finished: int
    started: int

    @property
    def name(self) -> str:
        """Its first name."""
        return self.names[0]

    @property
    def paired(self) -> int:
        """The number of seeds that it shares with the baseline; 0 for the baseline itself."""
        return self.worst.difference.n if self.worst.difference else 0

    @property
    def better(self) -> int:
        """The number of tasks whose interval of the difference lies above 0."""
        return self._count("better")

    @property
    def worse(self) -> int:
        """The number of tasks whose interval of the difference lies below 0."""
        return self._count("worse")

    @property
    def unclear(self) -> int:
        """The number of tasks that are neither better nor worse."""
        return len(self.tasks) - self.better - self.worse

    def of(self, scope: Scope) -> Cell:
        """The cell of the worst task, of the mean or of the criterion."""
        if scope.name == "criterion":
            assert self.criterion is not None
            return self.criterion
        return self.worst if scope is WORST else self.mean

    def change(self, scope: Scope) -> float:
        """The change against the baseline, in points; 0 for the baseline itself, −∞ without a seed in common."""
        difference = self.of(scope).difference
        return 0.0 if difference is None else difference.mean if difference.n else -math.inf

    def effect(self, scope: Scope) -> Effect:
        """How it differs from the baseline: as tested or, with too few seeds for a test, by its uncorrected interval."""
        decision = self.decisions[scope.name]
        if decision in ("better", "worse"):
            return decision
        return "unclear" if decision == "not told apart" and self.of(scope).difference else effect(self.of(scope).difference)

    def _count(self, wanted: Effect) -> int:
        return sum(effect(cell.difference) == wanted for cell in self.tasks.values())


@dataclass(frozen=True)
class Reference:
    """What the methods are read against without a test: the single-task networks, and the trees of a table.

    Args:
        name: what it is.
        note: what that means.
        tasks: by task, the test KPI in points; of a single run, without an interval.
        worst: that of the worst task.
        mean: the mean over tasks.
        criterion: the study's criterion; None if that is the worst task or the mean.
        n: the number of seeds.
    """

    name: str
    note: str
    tasks: Mapping[str, Interval]
    worst: Interval
    mean: Interval
    criterion: Interval | None
    n: int

    def of(self, scope: Scope) -> Interval:
        """The KPI of the worst task, of the mean or of the criterion."""
        if scope.name == "criterion":
            assert self.criterion is not None
            return self.criterion
        return self.worst if scope is WORST else self.mean


@dataclass(frozen=True)
class Leaderboard:
    """The methods of a case.

    Args:
        rows: the baseline first if there is one, then the others, best first by the criterion.
        references: the single-task networks and the trees, as far as there are any.
        objective: what rows are sorted by, and what the study chose epochs and settings by.
        scopes: what has a column: the worst task, the mean over tasks, and the objective if it is neither.
        against: the baseline in words.
        tested: the number of methods that are tested against the baseline.
        seeds: the number of seeds of the study so far.
        fewest: the number of seeds from which on a test of so many methods can tell any apart.
        cost_of: whether costs are those of a "step" or, where that was not measured, of an "epoch".
    """

    rows: tuple[Standing, ...]
    references: tuple[Reference, ...]
    objective: Objective
    scopes: tuple[Scope, ...]
    against: str
    tested: int
    seeds: int
    fewest: int
    cost_of: Literal["step", "epoch"]

    @property
    def baseline(self) -> Standing | None:
        """The baseline's row."""
        return next((row for row in self.rows if row.role == "baseline"), None)

    @property
    def single(self) -> Reference | None:
        """The single-task networks."""
        return next((each for each in self.references if each.name == SINGLE), None)

    @property
    def methods(self) -> tuple[Standing, ...]:
        """The rows of the methods that are tested against the baseline, best first."""
        return tuple(row for row in self.rows if row.role == "method")

    @property
    def can_test(self) -> bool:
        """Whether there are seeds enough for a test of any method."""
        return any(decision not in (None, "too few seeds") for row in self.rows for decision in row.decisions.values())


def leaderboard(case: Case) -> Leaderboard:
    """Rank the methods of a case."""
    found, tested = summary(case), rivals(case) if case.compares else []
    scopes, chosen_by = headlines(case), objective(case)
    decided = {scope: scope.differences(case, case.baseline, tested) if tested else {} for scope in scopes}
    sorted_by = next((scope for scope in scopes if scope.name == chosen_by.text), scopes[0])
    rows = [_standing(case, names, found, decided) for names in _identical(case)]
    return Leaderboard(
        rows=tuple(sorted(rows, key=lambda row: _order(row, sorted_by))),
        references=tuple(_references(case, found)),
        objective=chosen_by,
        scopes=scopes,
        against=case.against,
        tested=len(tested),
        seeds=len(case.seeds),
        fewest=fewest_seeds(max(1, len(tested))),
        cost_of="step" if case.costs else "epoch",
    )


def effect(difference: Interval | None) -> Effect:
    """How a method differs by the interval of its difference, which is not corrected for the number of methods."""
    if difference is None or not difference.n:
        return ""
    if not difference.bounded or difference.low <= 0 <= difference.high:
        return "unclear"
    return "better" if difference.mean > 0 else "worse"


def _order(row: Standing, sorted_by: Scope) -> tuple[bool, bool, float]:
    mean = row.of(sorted_by).kpi.mean
    missing = math.isnan(mean)
    return row.role != "baseline", missing, 0.0 if missing else -mean


def _standing(
    case: Case, names: tuple[str, ...], found: Summary, decided: Mapping[Scope, Mapping[str, Difference]]
) -> Standing:
    method = names[0]
    cells = {row.kind: row.cells[method] for row in found.rows if row.kind != "task"}
    tasks = {row.name: row.cells[method] for row in found.rows if row.kind == "task"}
    only = next(iter(tasks.values()))  # the worst task and the mean, if there is but one task
    decisions = {scope.name: by[method].decision if method in by else None for scope, by in decided.items()}
    return Standing(
        names=names,
        role="baseline" if method == case.baseline else "static" if method in case.static.values() else "method",
        tasks=tasks,
        worst=cells.get("worst", only),
        mean=cells.get("mean", only),
        criterion=cells.get("criterion"),
        decisions=decisions,
        delta_m=cells["delta_m"].kpi if "delta_m" in cells else None,
        field_delta=cells["field_delta"].kpi if "field_delta" in cells else None,
        cost=_cost(case, method),
        finished=found.finished[method],
        started=found.started[method],
    )


def _cost(case: Case, method: str) -> float:
    if method == case.baseline:
        return 1.0
    if case.costs:
        return case.costs[method].relative if method in case.costs else math.nan
    if case.baseline not in case.methods:
        return math.nan
    seconds, base = case.epoch_seconds(method), case.epoch_seconds(case.baseline)
    return mean_interval(np.divide(seconds, base, out=np.full_like(seconds, np.nan), where=base > 0)).mean


def _references(case: Case, found: Summary) -> Iterator[Reference]:
    if found.single:
        points = case.single_points()
        yield _reference(case, SINGLE, "a reference: one network for each task", points, found.single_n)
    if case.trees.keys() >= set(case.tasks):
        points = np.array([[100 * case.trees[task] for task in case.tasks]])
        yield _reference(case, TREES, "a reference: scikit-learn's, one model for each task", points, 1)


def _reference(case: Case, name: str, note: str, points: Array, n: int) -> Reference:
    """The reference with these points, [runs, tasks]."""
    tasks = {task: mean_interval(points[:, column]).clipped(0, 100) for column, task in enumerate(case.tasks)}
    over = {scope.name: mean_interval(scope.over_tasks(points)).clipped(0, 100) for scope in headlines(case)}
    return Reference(name, note, tasks, over["worst"], over["mean"], over.get("criterion"), n)


# Identical methods


def _identical(case: Case) -> list[tuple[str, ...]]:
    """The methods, in groups with the same runs. They keep the case's order, so a group begins with the baseline."""
    groups: list[list[str]] = []
    for method in case.methods:
        group = next((group for group in groups if _same_runs(case.of(group[0]), case.of(method))), None)
        groups.append([method]) if group is None else group.append(method)
    return [tuple(group) for group in groups]


def _same_runs(ones: Sequence[Record], others: Sequence[Record]) -> bool:
    return len(ones) == len(others) and all(map(_same_run, ones, others))


def _same_run(one: Record, other: Record) -> bool:
    """Whether both finished with the same seed, weights and KPIs throughout."""
    if one is other:
        return one.outcome == "finished"
    if one.outcome != "finished" or other.outcome != "finished" or one.trial["seed"] != other.trial["seed"]:
        return False
    return len(one.epochs) == len(other.epochs) and np.array_equal(_figures(one), _figures(other), equal_nan=True)


def _figures(record: Record) -> Array:
    curves = [record.curve(task, what) for task in record.tasks for what in ("validation_kpi", "weight")]
    return np.array([*map(record.test_kpi, record.tasks), *itertools.chain(*curves)])
