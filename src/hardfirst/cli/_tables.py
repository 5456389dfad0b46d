"""The tables that commands print."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from hardfirst.records import Record, is_undefined
from hardfirst.records.names import SINGLE
from hardfirst.report import Row, Summary
from hardfirst.statistics import Interval

_SIDE_BY_SIDE = 4  # columns of figures that fit a terminal of 80 characters


def comparison_table(summary: Summary, name: str) -> Table:
    """Test KPIs in points with their 95% intervals over seeds: tasks × methods; with many methods the last rows only.

    Single-task networks come first, as a reference.
    """
    table = Table(title=f"{name}: test KPI × 100, mean over seeds ± 95% interval", title_justify="left")
    if len(summary.methods) + bool(summary.single) > _SIDE_BY_SIDE:
        _methods_by_rows(table, summary)
    else:
        _rows_by_methods(table, summary)
    return table


def _methods_by_rows(table: Table, summary: Summary) -> None:
    tasks = [row for row in summary.rows if row.kind == "task"]
    last = [row for row in summary.rows if row.kind != "task" or len(tasks) == 1]
    for column in ("method", "n", *(row.name for row in last)):
        table.add_column(column, justify="left" if column == "method" else "right", overflow="fold")
    if summary.single:
        table.add_row(SINGLE, str(summary.single_n), *(_single(summary, row) for row in last))
        table.add_section()
    for method in summary.methods:
        points = (_points(row.cells[method].kpi) for row in last)
        table.add_row(method, str(summary.finished[method]), *points)


def _rows_by_methods(table: Table, summary: Summary) -> None:
    table.add_column("task")
    if summary.single:
        table.add_column(f"{SINGLE}, n = {summary.single_n}", justify="right")
    for method in summary.methods:
        table.add_column(f"{method}, n = {summary.finished[method]}", justify="right")
    for row in summary.rows:
        if row.kind == "worst":
            table.add_section()
        single = [_single(summary, row)] if summary.single else []
        table.add_row(row.name, *single, *(_points(row.cells[method].kpi) for method in summary.methods))


def _single(summary: Summary, row: Row) -> str:
    return _points(summary.single[row.name]) if row.name in summary.single else "–"


def _points(interval: Interval) -> str:
    """The mean and half the interval's width, which is shorter than its ends."""
    if not interval.n:
        return "–"
    mean = f"{interval.mean:z.1f}"
    return f"{mean} ± {interval.high - interval.mean:.1f}" if interval.n > 1 else mean


def run_table(record: Record) -> Table:
    """A single run's figures on the test split."""
    averaged = record.test.get("averaged") if record.test else None
    where = f"mean over the last {averaged} epochs" if averaged else "at the epoch that was best on the validation split"
    table = Table(title=f"Test split, {where}", title_justify="left")
    for column in ("task", "KPI", "metrics", "loss", "weight in the last epoch"):
        table.add_column(column, justify="left" if column in ("task", "metrics") else "right")
    for task in (*record.tasks, *record.auxiliary):
        figures = record.test["tasks"][task] if record.test else {}
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in figures.get("metrics", {}).items())
        values = (figures.get("loss", float("nan")), record.curve(task, "weight")[-1])
        table.add_row(task, kpi_text(figures), metrics, *(f"{value:.3f}" for value in values))
    return table


def kpi_text(figures: Mapping[str, Any], prefix: str = "") -> str:
    """A task's KPI as tables show it: "undefined" where the task has labels and it is NaN, "–" for an auxiliary task."""
    if f"{prefix}kpi" not in figures:
        return "–"
    return "undefined" if is_undefined(figures, prefix) else f"{figures.get(f'{prefix}kpi', float('nan')):.3f}"


def plan_table(counts: Mapping[str, tuple[int, int]]) -> Table:
    """The largest number of runs that a study can have."""
    table = Table(title="Runs, at most", title_justify="left")
    for column in ("method", "tuning", "reported"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for method, (tuning, reported) in counts.items():
        table.add_row(method, str(tuning), str(reported))
    table.add_section()
    table.add_row("all", *(str(sum(column)) for column in zip(*counts.values(), strict=True)))
    return table
