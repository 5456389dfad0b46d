"""The section on several problems and networks: cases × methods, and the methods' ranks over cases."""

from collections.abc import Mapping, Sequence

from hardfirst.report.blocks import (
    Block,
    Chart,
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
from hardfirst.report.figures import GREY, Figure, Style, Styles, Trace, chart_text, segment, single_panel
from hardfirst.report.model.case import Case
from hardfirst.report.model.ranks import Ranks, common_methods, rank_cases
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.overview import over_cases

_LONGEST_LABEL = 26


def section(cases: Sequence[Case], styles: Styles) -> Section:
    """Cases × methods on the worst task and on the mean over tasks, with ranks over cases."""
    if not common_methods(cases):
        return Section("Overview", (Paragraphs(("No method is common to all cases.",)),))
    blocks: list[Block] = [Paragraphs(_left_out(cases))]
    for scope in (WORST, MEAN):
        ranks = rank_cases(cases, scope)
        blocks += [_table(cases, scope, ranks, styles), Paragraphs((_rank_text(cases, ranks),))]
        if ranks and ranks.exist:
            heading = f"Mean ranks {scope.where}"
            blocks.append(Chart(f"ranks-{scope.name}", heading, _rank_caption(ranks), rank_figure(ranks, styles)))
    return Section("Overview", tuple(blocks))


def _left_out(cases: Sequence[Case]) -> tuple[str, ...]:
    methods = dict.fromkeys(method for case in cases for method in case.methods)
    left = [method for method in methods if method not in common_methods(cases)]
    return (f"Not part of the overview, since not in every case: {', '.join(left)}.",) if left else ()


def _rank_text(cases: Sequence[Case], ranks: Ranks | None) -> str:
    if ranks is None:
        return f"Ranks over cases are compared from 3 methods on; {len(common_methods(cases))} here."
    return over_cases(cases, ranks)


def _table(cases: Sequence[Case], scope: Scope, ranks: Ranks | None, styles: Styles) -> Table:
    methods = common_methods(cases)
    caption = f"Test KPI {scope.where}, in points (KPI × 100): mean over seeds with its 95% interval."
    rows = [_row(case, methods, scope) for case in cases]
    if ranks and ranks.exist:
        caption += " The mean rank is taken over the cases in which every method has a value."
        means = [f"{rank:.2f}" for rank in ranks.critical.mean_ranks]
        rows.append(row("mean rank (1 is best)", means, over_tasks=True))
    head: list[Content] = ["Case", *(method_cell(method, styles) for method in methods)]
    return table(f"Test KPI {scope.where} by case and method", caption, head, rows)


def _row(case: Case, methods: Sequence[str], scope: Scope) -> TableRow:
    intervals = [scope.interval(case, method) for method in methods]
    most = max(interval.n for interval in intervals)
    heading = TableCell(case.name, f"n = {most}", breakable=True)
    return row(heading, [interval_cell(interval, "z.1f", most) for interval in intervals])


def _rank_caption(ranks: Ranks) -> str:
    return (
        f"Each method's rank, 1 is best, averaged over {ranks.critical.n} cases. Methods below the same bar are not told "
        f"apart; the critical difference is {ranks.critical.difference:.2f}."
    )


# The critical-difference diagram


def rank_figure(ranks: Ranks, styles: Styles) -> Figure:
    """Mean ranks from the best on, and above them bars that join methods which are not told apart."""
    means = {ranks.methods[index]: float(ranks.critical.mean_ranks[index]) for index in ranks.order()}
    groups, count = ranks.groups(), len(means)
    top = 0.7 + 0.5 * max(1, len(groups))
    data = [_bar(means, group, 0.9 + 0.5 * height) for height, group in enumerate(groups)]
    data += [_mark(method, rank, -line, count, styles[method]) for line, (method, rank) in enumerate(means.items())]
    return single_panel(
        data,
        height=50 + 24 * count,
        width=800,
        x_axis={"dtick": 1, "range": [0.8, count + 0.2], "title": {"text": "mean rank"}},
        y_axis={"range": [0.4 - count, top], "showticklabels": False, "showgrid": False, "fixedrange": True},
        shapes=[segment(rank, -line, top) for line, rank in enumerate(means.values())],
    )


def _bar(means: Mapping[str, float], group: Sequence[str], height: float) -> Trace:
    return {
        "type": "scatter",
        "x": [means[group[0]] - 0.04, means[group[-1]] + 0.04],
        "y": [height, height],
        "mode": "lines",
        "line": {"color": GREY, "width": 6},
        "hovertemplate": f"not told apart: {chart_text(', '.join(group))}<extra></extra>",
    }


def _mark(method: str, rank: float, line: int, count: int, style: Style) -> Trace:
    return {
        "type": "scatter",
        "name": chart_text(method),
        "x": [rank],
        "y": [line],
        "mode": "markers+text",
        "marker": style.marker | {"size": 9, "line": {"color": style.colour, "width": 1.5}},
        "text": [f"  {chart_text(method, _LONGEST_LABEL)} {rank:.2f}  "],
        "textposition": "middle right" if rank <= (count + 1) / 2 else "middle left",
        "cliponaxis": False,
        "hovertemplate": f"{chart_text(method)}: {rank:.2f}<extra></extra>",
    }
