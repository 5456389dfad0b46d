"""The section on networks, if a problem was compared on several: each balancer on each of them."""

from collections.abc import Sequence

from hardfirst.report.blocks import (
    Block,
    Content,
    Paragraphs,
    Section,
    Table,
    TableCell,
    TableRow,
    interval_cell,
    method_cell,
    row,
    table,
)
from hardfirst.report.figures import Styles
from hardfirst.report.model.case import Case
from hardfirst.report.model.ranks import common_methods
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.networks import base_name, comparable_networks, network_difference, network_name, network_sentence
from hardfirst.statistics import mean_interval


def section(cases: Sequence[Case], styles: Styles) -> Section | None:
    """Networks × balancers for each problem that has several networks; None if none has."""
    parts = [Section(group[0].problem, _blocks(group, styles)) for group in comparable_networks(cases)]
    if not parts:
        return None
    return Section("Networks", parts[0].blocks) if len(parts) == 1 else Section("Networks", (), tuple(parts))


def _blocks(group: Sequence[Case], styles: Styles) -> tuple[Block, ...]:
    blocks: list[Block] = []
    for scope in (WORST, MEAN):
        blocks += [_table(group, scope, styles), Paragraphs((network_sentence(group, scope),))]
    return tuple(blocks)


def _table(group: Sequence[Case], scope: Scope, styles: Styles) -> Table:
    caption = (
        f"Test KPI {scope.where}, in points: mean over seeds with its 95% interval; below it the difference to "
        f"{base_name(group[0])} under the same balancer, paired by seed."
    )
    head: list[Content] = ["Network", *(method_cell(method, styles) for method in common_methods(group))]
    rows = [_row(case, group, scope) for case in group]
    return table(f"Test KPI {scope.where} by network and balancer", caption, head, rows)


def _row(case: Case, group: Sequence[Case], scope: Scope) -> TableRow:
    sizes = {record.parameters for record in case.runs.values() if record.parameters}
    size = f"{next(iter(sizes)):,} parameters" if len(sizes) == 1 else ""
    cells = [_cell(case, group[0], method, scope) for method in common_methods(group)]
    return row(TableCell(network_name(case), size, breakable=True), cells)


def _cell(case: Case, first: Case, method: str, scope: Scope) -> TableCell:
    interval = scope.interval(case, method)
    if case is first:
        return interval_cell(interval, "z.1f")
    seeds = sorted({*case.seeds, *first.seeds})
    difference = mean_interval(network_difference(case, first, method, scope, seeds))
    return interval_cell(interval, "z.1f", note=f"{difference:+z.1f}")
