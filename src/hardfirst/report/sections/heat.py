"""The cells of a table of changes, shaded by their size, whose toggle also shows KPIs and intervals."""

from collections.abc import Iterable

from hardfirst.report.blocks import TableCell
from hardfirst.report.model.leaderboard import Effect
from hardfirst.report.model.summary import Cell
from hardfirst.statistics import Interval, number_text

VIEWS = ("Change", "KPI", "Change with interval")


def largest_change(changes: Iterable[Interval | None]) -> float:
    """The size of the change with the darkest shade."""
    return max((abs(change.mean) for change in changes if change and change.n), default=0.0) or 1.0


def kpi_cell(kpi: Interval) -> TableCell:
    """A KPI that nothing is compared with."""
    mean = number_text(kpi.mean, "z.1f")
    return TableCell(mean, value=kpi.mean if kpi.n else None, views=(mean, mean, f"{kpi:z.1f}"))


def change_cell(cell: Cell, how: Effect, largest: float) -> TableCell:
    """A method's change against the baseline."""
    found, kpi = cell.difference, number_text(cell.kpi.mean, "z.1f")
    if found is None or not found.n:
        return TableCell("–", views=("–", kpi, "–"))
    mean = number_text(found.mean, "+z.1f")
    shade = abs(found.mean) / largest if how in ("better", "worse") else 0.0
    return TableCell(mean, value=found.mean, tone=how, shade=shade, views=(mean, kpi, f"{found:+z.1f}"))
