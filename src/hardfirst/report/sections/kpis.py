"""The table of test KPIs."""

from hardfirst.records.names import SINGLE
from hardfirst.report.blocks import Table, TableCell, TableRow, interval_cell, method_cell, row, table, with_n
from hardfirst.report.figures import Styles
from hardfirst.report.model.summary import Cell, Row, Summary


def kpi_table(summary: Summary, styles: Styles) -> Table:
    """Tasks × methods, with the single-task networks before them as a reference."""
    single = [TableCell(SINGLE, f"n = {summary.single_n}")] if summary.single else []
    methods = [method_cell(method, styles, _runs_note(summary, method)) for method in summary.methods]
    return table(
        "Test KPI by task and method",
        _caption(summary),
        ["Task", *single, *methods],
        [_kpi_row(summary, each) for each in summary.rows],
    )


def _caption(summary: Summary) -> str:
    several = max(summary.finished.values()) > 1
    caption = "Test KPI in points (KPI × 100)" + (": mean over seeds with its 95% interval." if several else ".")
    if summary.baseline in summary.methods and len(summary.methods) > 1:
        caption += f" Below it the difference to {summary.against}, paired by seed."
        if several:
            caption += " Intervals are not corrected for multiple comparisons, so a few exclude zero by chance."
    if summary.single:
        caption += (
            " The single-task networks, one for each task, are a reference and no rivals; Δm is a method's mean relative "
            "gain over them, paired by seed: positive is better."
        )
    if any(each.kind == "field_delta" for each in summary.rows):
        caption += " Δm over metrics is the field's: in the metrics' own units, and lower is better."
    return caption


def _runs_note(summary: Summary, method: str) -> str:
    started, finished = summary.started[method], summary.finished[method]
    return f"n = {finished}" + (f" of {started}" if finished < started else "")


def _kpi_row(summary: Summary, each: Row) -> TableRow:
    single = [_single_cell(summary, each.name)] if summary.single else []
    spec = "+z.1f" if each.kind in ("delta_m", "field_delta") else "z.1f"
    cells = (_kpi_cell(each.cells[method], summary.finished[method], spec) for method in summary.methods)
    return row(each.name, [*single, *cells], "" if each.kind == "task" else "over-tasks")


def _single_cell(summary: Summary, name: str) -> TableCell:
    return interval_cell(summary.single[name], "z.1f", summary.single_n) if name in summary.single else TableCell("–")


def _kpi_cell(cell: Cell, finished: int, spec: str) -> TableCell:
    difference = cell.difference if cell.kpi.n else None
    note = "" if difference is None else with_n(difference, "+z.1f", finished)
    return interval_cell(cell.kpi, spec, finished, note)
