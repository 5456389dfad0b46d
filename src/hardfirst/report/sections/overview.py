"""The sections on several problems and networks: cases × methods, and the methods' ranks over cases."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from hardfirst.report.blocks import (
    Block,
    Chart,
    Content,
    Heading,
    Paragraphs,
    Section,
    Table,
    TableCell,
    TableRow,
    method_cell,
    row,
    table,
)
from hardfirst.report.figures import GREY, Figure, Style, Styles, Trace, chart_text, segment, single_panel
from hardfirst.report.model.leaderboard import Standing
from hardfirst.report.model.overview import Overview
from hardfirst.report.model.ranks import FEWEST_CASES, Ranks, rank_cases
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.sections.heat import VIEWS, change_cell, kpi_cell, largest_change
from hardfirst.report.sections.tradeoff import Spot, tradeoff_figure
from hardfirst.report.text.interval_text import count_text
from hardfirst.report.text.overview import over_cases
from hardfirst.statistics import Interval, number_text

_LONGEST_LABEL = 26


def chart(found: Overview, styles: Styles) -> Chart | None:
    """What each method changes on the worst task and on the mean, over all cases and in each; None without a comparison."""
    spots = [_spot(method, list(rows.values()), styles) for method, rows in found.standings.items()]
    if not spots or len(found.titles) == 1:
        return None
    heading = f"Change of the worst task and of the mean, against {found.against}"
    caption = (
        f"Each method minus {found.against} on the test split, in points: a large mark is the mean over "
        f"{count_text(len(found.answers), found.unit)}, small marks are the {found.unit}s."
    )
    return Chart("tradeoff", heading, caption, tradeoff_figure(spots, found.against))


def _spot(method: str, rows: Sequence[Standing], styles: Styles) -> Spot:
    by_scope = [[row.change(scope) for row in rows] for scope in (MEAN, WORST)]
    mean, worst = (Interval(fmean(values), math.nan, math.nan, len(values)) for values in by_scope)
    return Spot(method, styles[method], mean, worst, list(zip(*by_scope, strict=True)))


def sections(found: Overview, styles: Styles) -> list[Section]:
    """Cases × methods on the worst task and on the mean over tasks and, of enough cases, the methods' ranks over them."""
    blocks: list[Block] = []
    ranks: list[Block] = []
    for scope, title in found.titles.items():
        blocks += [Heading(title), _matrix(found, scope, title, styles)]
        if ranked := rank_cases(found.cases, scope):
            ranks += _ranks(found, scope, ranked, styles)
    matrix = Section(f"By {found.unit}", tuple(blocks), anchor="cases", short=f"By {found.unit}")
    if len(found.cases) < FEWEST_CASES or not ranks:
        return [matrix]
    return [matrix, Section(f"Ranks over {found.unit}s", tuple(ranks), anchor="ranks", folded=True)]


# Cases × methods


def _matrix(found: Overview, scope: Scope, what: str, styles: Styles) -> Table:
    """A row for each case: the baseline's KPI, and each method's change against it."""
    rows = [{name: each for each in answer.board.rows for name in each.names} for answer in found.answers]
    baseline = found.cases[0].baseline
    methods = [method for method in dict.fromkeys(name for by_name in rows for name in by_name) if method != baseline]
    largest = largest_change(standing.of(scope).difference for by_name in rows for standing in by_name.values())
    body = [
        _row(answer.case.name, by_name, [baseline, *methods], scope, largest)
        for answer, by_name in zip(found.answers, rows, strict=True)
    ]
    head: list[Content] = [found.unit.capitalize(), *(method_cell(method, styles) for method in (baseline, *methods))]
    return table(f"{what} by {found.unit} and method", _caption(found), head, body, VIEWS, f"cases-{scope.name}")


def _caption(found: Overview) -> str:
    paired = max(answer.paired for answer in found.answers)
    few = " and, where seeds are too few for one, by the uncorrected 95% interval" if found.untested else ""
    marks = f" ▲ and ▼ mark what is better and worse by the test{few}." if paired >= 3 else ""
    return f"Test KPI in points. The columns of other methods are method − {found.against}.{marks}"


def _row(name: str, by_name: Mapping[str, Standing], methods: Sequence[str], scope: Scope, largest: float) -> TableRow:
    cells = [_cell(by_name.get(method), method, scope, largest) for method in methods]
    seeds = max((standing.finished for standing in by_name.values()), default=0)
    return row(TableCell(name, count_text(seeds, "seed"), breakable=True), cells)


def _cell(standing: Standing | None, method: str, scope: Scope, largest: float) -> TableCell:
    if standing is None:
        return TableCell("–", views=("–",) * len(VIEWS))
    found = standing.of(scope)
    if standing.role != "baseline":
        return change_cell(found, standing.effect(scope), largest)
    if standing.name == method:
        return kpi_cell(found.kpi)
    return TableCell("equal", views=("equal", number_text(found.kpi.mean, "z.1f"), "equal"))


# Ranks


def _ranks(found: Overview, scope: Scope, ranks: Ranks, styles: Styles) -> tuple[Paragraphs | Chart, ...]:
    sentence = Paragraphs((over_cases(found.cases, ranks), *_left_out(found, ranks)))
    if not ranks.exist:
        return (sentence,)
    heading = f"Mean ranks {scope.where}"
    return sentence, Chart(f"ranks-{scope.name}", heading, _rank_caption(ranks), rank_figure(ranks, styles))


def _left_out(found: Overview, ranks: Ranks) -> tuple[str, ...]:
    methods = dict.fromkeys(method for case in found.cases for method in case.methods)
    left = [method for method in methods if method not in ranks.methods]
    return (f"Without a rank, since not in every {found.unit}: {', '.join(left)}.",) if left else ()


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
