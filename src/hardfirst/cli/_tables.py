"""The tables that commands print."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from hardfirst.records import Record, is_undefined


def run_table(record: Record) -> Table:
    """A single run's figures on the test split."""
    averaged = record.test.get("averaged") if record.test else None
    where = f"mean over the last {averaged} epochs" if averaged else "at the best epoch on the validation split"
    table = Table(title=f"Test split, {where}", title_justify="left")
    for column in ("task", "KPI × 100", "metrics", "loss", "last weight"):
        table.add_column(column, justify="left" if column in ("task", "metrics") else "right")
    for task in (*record.tasks, *record.auxiliary):
        figures = record.test["tasks"][task] if record.test else {}
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in figures.get("metrics", {}).items())
        values = (figures.get("loss", float("nan")), record.curve(task, "weight")[-1])
        table.add_row(task, kpi_text(figures), metrics, *(f"{value:.3f}" for value in values))
    return table


def kpi_text(figures: Mapping[str, Any], prefix: str = "") -> str:
    """A task's KPI in points: "undefined" where the task has labels and it is NaN, "–" for an auxiliary task."""
    if f"{prefix}kpi" not in figures:
        return "–"
    return "undefined" if is_undefined(figures, prefix) else f"{100 * figures.get(f'{prefix}kpi', float('nan')):.1f}"


def plan_table(counts: Mapping[str, tuple[int, int]], heads: Sequence[str]) -> Table:
    """The largest number of runs that a study can have, under the heads of its kind."""
    table = Table(title="Runs, at most", title_justify="left")
    for column in heads:
        table.add_column(column, justify="left" if column == heads[0] else "right")
    for method, (tuning, reported) in counts.items():
        table.add_row(method, str(tuning), str(reported))
    table.add_section()
    table.add_row("all", *(str(sum(column)) for column in zip(*counts.values(), strict=True)))
    return table
