"""The parts of a search's page: the figure of the first screen, fresh seeds, the path of the search, and its runs."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hardfirst.records.objective import Objective
from hardfirst.report.blocks import (
    Block,
    Chart,
    Content,
    Fold,
    Key,
    Section,
    Table,
    TableCell,
    TableRow,
    bar_cell,
    bar_scale,
    interval_bar,
    method_cell,
    number_cell,
    row,
    table,
)
from hardfirst.report.figures import Styles
from hardfirst.report.model.case import Case
from hardfirst.report.model.leaderboard import effect
from hardfirst.report.model.scopes import MEAN, WORST
from hardfirst.report.model.search import Search
from hardfirst.report.sections.search_figure import path_figure, path_styles
from hardfirst.report.sections.tradeoff import Spot, tradeoff_figure
from hardfirst.report.text import search as text
from hardfirst.report.text.interval_text import count_text
from hardfirst.report.text.search_tables import (
    fresh_caption,
    fresh_names,
    path_caption,
    path_head,
    path_row,
    ranked,
)
from hardfirst.statistics import Interval, paired_interval
from hardfirst.statistics.search import Gain

_MOST_ROWS = 12  # of candidates that are not folded


def chart(case: Case, search: Search, styles: Styles) -> Chart | None:
    """The figure of the first screen: changes on fresh seeds, or the path of the search until these have ended."""
    return _fresh_chart(case, search, styles) if search.verdict else path_chart(search, styles)


def sections(search: Search, styles: Styles) -> list[Section]:
    """The methods on fresh seeds, and the path of the search, which comes first until it has ended."""
    found = []
    if search.tested:
        found.append(Section("On fresh seeds", (_fresh_table(search, styles),), anchor="fresh", short="Fresh seeds"))
    if search.ended_rungs:
        found.append(Section("The search", tuple(_path(search, styles)), anchor="search", short="Search"))
    return found if search.decided else found[::-1]


def runs_section(search: Search) -> Section:
    """All runs of the search."""
    return Section("All runs of the search", (_runs_table(search),), anchor="search-runs", folded=True)


# Fresh seeds


def _fresh_table(search: Search, styles: Styles) -> Table:
    names = [name for name in fresh_names(search) if search.fresh[name].objective.n]
    changes = {name: (search.fresh[name].objective, *search.fresh[name].kept) for name in names}
    scales = [bar_scale(by_name[column] for by_name in changes.values()) for column in range(len(search.measures))]
    rows = [
        row(
            method_cell(name, styles, "the winner of the search" if name == search.winner else ""),
            [bar_cell(change, scale, effect(change)) for change, scale in zip(changes[name], scales, strict=True)],
        )
        for name in names
    ]
    head: list[Content] = ["Method", *map(text.title, search.measures)]
    return table("Changes on fresh seeds", fresh_caption(search), head, rows)


def _fresh_chart(case: Case, search: Search, styles: Styles) -> Chart:
    """The objective upwards, and across what may not be lost, or else the mean or the worst task."""
    kept = search.keep[0] if search.keep else None
    other = WORST if search.objective.text == MEAN.name else MEAN
    across = text.short(kept.objective if kept else Objective.parse(other.name, case.tasks))
    spots = []
    for name in fresh_names(search):
        found = search.fresh[name]
        base = other.points(case, case.baseline)
        x = found.kept[0] if kept else paired_interval(other.points(case, name), base)
        spots.append(Spot(name, styles[name], x, found.objective))
    figure = tradeoff_figure(
        spots, case.against, across=across, upwards=text.short(search.objective), limit=-kept.points if kept else None
    )
    caption = fresh_caption(search)
    if kept and kept.points:
        caption += f" The line at −{kept.points:g} is as much as may be lost."
    return Chart("tradeoff", f"Change from {case.against}", caption, figure)


# The path


def path_chart(search: Search, styles: Styles) -> Chart | None:
    """The gain of each candidate from rung to rung; None before the first rung has ended."""
    if not search.ended_rungs:
        return None
    chance = "" if math.isnan(search.chance) else " The dotted line is what choosing alone gives."
    caption = (
        f"Gain over equal weights on {search.objective.words}, in points of validation KPI. A line is a candidate and ends "
        f"where it was dropped; bars are one standard error.{chance}"
    )
    return Chart("path", "Candidates from rung to rung", caption, path_figure(search, path_styles(search, styles)))


def _path(search: Search, styles: Styles) -> Iterator[Block]:
    if search.verdict and (path := path_chart(search, styles)):  # else it is on the first screen
        yield Key(path_styles(search, styles), markers=True)
        yield path
    names = ranked(search)
    later = [name for name in names if search.last(name).number > 1] or names
    shown = names if len(names) <= _MOST_ROWS else later[:_MOST_ROWS]
    whole = _path_table(search, shown)
    yield whole
    if len(shown) < len(names):
        rest = replace(_path_table(search, names[len(shown) :]), label="Other candidates", caption="")
        yield Fold(f"The other {count_text(len(names) - len(shown), 'candidate')}", (rest,))


def _path_table(search: Search, names: Sequence[str]) -> Table:
    scale = bar_scale(_as_interval(search.last(name).standings[name].objective) for name in ranked(search))
    rows = [_path_row(search, name, scale) for name in names]
    return table("Candidates by rung", path_caption(search), path_head(search), rows)


def _path_row(search: Search, name: str, scale: Sequence[float]) -> TableRow:
    standings = [rung.standings.get(name) for rung in search.ended_rungs]
    last = search.last(name).standings[name]
    numbers = [each.objective.mean if each else math.nan for each in standings]
    numbers += [last.objective.low, *(gain.mean for gain in last.kept)]
    _, *texts, outcome = path_row(search, name)
    cells = [TableCell(text, value=None if math.isnan(at) else at) for text, at in zip(texts, numbers, strict=True)]
    cells[len(standings)] = replace(cells[len(standings)], bar=interval_bar(_as_interval(last.objective), scale))
    cells.append(TableCell(outcome, breakable=True))
    return row(TableCell(name, breakable=True), cells, "baseline" if name == search.winner else "")


def _as_interval(gain: Gain) -> Interval:
    """From the lower bound to as far above the gain."""
    return Interval(gain.mean, gain.low, 2 * gain.mean - gain.low, 0 if math.isnan(gain.mean) else 1)


# Its runs


def _runs_table(search: Search) -> Table:
    rows = []
    for run in sorted(search.runs, key=lambda run: run.entry.rung or 0):
        cells: list[Content] = [
            TableCell("before" if run.entry.rung is None else str(run.entry.rung), value=run.entry.rung or 0),
            number_cell(run.record.trial["seed"], "d"),
            number_cell(run.record.trial["learning_rate"], "g"),
            run.record.outcome or "unended",
            *(number_cell(value, ".1f") for value in search.reached(run.record)),
        ]
        rows.append(row(TableCell(run.entry.method, breakable=True), cells))
    measures = map(text.title, search.measures)
    head: list[Content] = ["Candidate", "Rung", "Seed", "Learning rate", "Outcome", *measures]
    return table("Runs of the search", "Validation KPI in points, at the selected epoch of each run.", head, rows)
