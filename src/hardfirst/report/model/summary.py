"""The table behind every report: test KPIs by task and method, with intervals over seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, cast

from hardfirst.records.names import EQUAL
from hardfirst.report.model.case import Case
from hardfirst.report.model.field_delta import deltas
from hardfirst.report.model.scopes import headlines
from hardfirst.statistics import Interval, delta_m, mean_interval, paired_interval
from hardfirst.statistics.intervals import Array

Kind = Literal["task", "worst", "mean", "criterion", "delta_m", "field_delta"]


class Cell(NamedTuple):
    """A method's figure in one row, in points (KPI × 100), with 95% intervals over seeds.

    `difference` is to the baseline, paired by seed; None for the baseline itself, without a baseline, and for Δm.
    In the row of kind "delta_m", `kpi` is the mean relative gain over the single-task networks in per cent, positive is
    better; in that of kind "field_delta" it is the field's Δm over metrics in per cent, lower is better. Bounds are clipped
    to what is possible.
    """

    kpi: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Row:
    """A task, the worst task of each seed, the mean over tasks, the study's criterion if it is another, or Δm."""

    name: str
    kind: Kind
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Summary:
    """Tasks × methods; then with several tasks the worst and the mean over them, and with single-task networks Δm.

    `finished` and `started` count each method's runs. `single` holds the KPIs of the single-task networks by the names of
    the rows that have one; it is empty if there are none.
    """

    methods: tuple[str, ...]
    rows: tuple[Row, ...]
    finished: Mapping[str, int]
    started: Mapping[str, int]
    single: Mapping[str, Interval] = field(default_factory=dict)
    baseline: str = EQUAL
    against: str = "equal weights"

    @property
    def single_n(self) -> int:
        """The number of seeds of `single`: the most of any row."""
        return max((interval.n for interval in self.single.values()), default=0)


def summary(case: Case) -> Summary:
    """The table of test KPIs that the terminal and the page show."""
    points = {method: case.points(method) for method in case.methods}
    rows = [
        _row(case, task, "task", {method: values[:, column] for method, values in points.items()})
        for column, task in enumerate(case.tasks)
    ]
    if len(case.tasks) > 1:
        for scope in headlines(case):
            values = {method: scope.over_tasks(of_method) for method, of_method in points.items()}
            rows.append(_row(case, scope.title, cast(Kind, scope.name), values))
    rows += [*_delta_row(case, points), *_field_delta_row(case)]
    return Summary(
        methods=case.methods,
        rows=tuple(rows),
        finished={method: len(case.finished(method)) for method in case.methods},
        started={method: len(case.of(method)) for method in case.methods},
        single=_single(case),
        baseline=case.baseline,
        against=case.against,
    )


def _single(case: Case) -> dict[str, Interval]:
    if not case.single:
        return {}
    points = case.single_points()
    by_row = {task: points[:, column] for column, task in enumerate(case.tasks)}
    by_row |= {scope.title: scope.over_tasks(points) for scope in headlines(case)}
    return {name: mean_interval(values).clipped(0, 100) for name, values in by_row.items()}


def _row(case: Case, name: str, kind: Kind, values: Mapping[str, Array]) -> Row:
    return Row(name, kind, {method: _cell(method, values, case.baseline) for method in values})


def _cell(method: str, values: Mapping[str, Array], baseline: str) -> Cell:
    compared = baseline in values and method != baseline
    difference = paired_interval(values[method], values[baseline]).clipped(-100, 100) if compared else None
    return Cell(mean_interval(values[method]).clipped(0, 100), difference)


def _delta_row(case: Case, points: Mapping[str, Array]) -> list[Row]:
    """Δm, paired by seed with the single-task networks; empty if there are none."""
    if not case.single:
        return []
    single = case.single_points()
    cells = {method: Cell(mean_interval(delta_m(values, single)), None) for method, values in points.items()}
    over = "over KPIs " if case.measures else ""
    return [Row(f"Δm {over}against single-task, %", "delta_m", cells)]


def _field_delta_row(case: Case) -> list[Row]:
    """The field's Δm; empty if there is none."""
    cells = {method: Cell(interval, None) for method, interval in deltas(case).items()}
    whose = "published " if case.reference == "published" else ""
    return [Row(f"Δm over metrics against {whose}single-task, %, lower is better", "field_delta", cells)] if cells else []
