"""The first screen: the question, the sentence that answers it, and one figure of what each method gains and costs."""

import math
from collections.abc import Mapping
from typing import Any

from hardfirst.records.names import joined
from hardfirst.report.blocks import Answer, Chart
from hardfirst.report.figures import Styles
from hardfirst.report.model.answer import Answer as Facts
from hardfirst.report.model.leaderboard import Standing
from hardfirst.report.model.scopes import MEAN, WORST
from hardfirst.report.sections import search as of_search
from hardfirst.report.sections.tradeoff import Spot, tradeoff_figure
from hardfirst.report.text.by_kind import alerts_of, headline_of, next_step_of, tiles_of
from hardfirst.report.text.headline import question
from hardfirst.report.text.interval_text import count_text, plural
from hardfirst.report.text.search import paste


def answer_block(
    facts: Facts, styles: Styles, title: str, command: str | None = None, plan: Mapping[str, Any] | None = None
) -> Answer:
    """The first screen of a case.

    Args:
        facts: what its runs say.
        styles: of the methods.
        title: the heading of a case that answers no question.
        command: that ran the study.
        plan: its settings.
    """
    words, search = headline_of(facts), facts.case.search
    return Answer(
        question=question([facts.case]) or title,
        lead=words.lead,
        rest=words.rest,
        tiles=tiles_of(facts),
        alerts=alerts_of(facts),
        chart=of_search.chart(facts.case, search, styles) if search else _chart(facts, styles),
        next_step=next_step_of(facts, command, plan or {}),
        paste=paste(search, plan or {}) if search else (),
    )


def _chart(facts: Facts, styles: Styles) -> Chart | None:
    """What each method changes on the worst task and on the mean; None for one task, or without a comparison."""
    rows = [row for row in facts.board.rows if row.role != "baseline" and row.paired]
    if not rows or len(facts.case.tasks) == 1:
        return None
    heading = f"Change from {facts.board.against}"
    spots = [_spot(facts, row, styles) for row in rows]
    return Chart("tradeoff", heading, _caption(facts), tradeoff_figure(spots, facts.board.against))


def _caption(facts: Facts) -> str:
    seeds = count_text(facts.paired, "seed")
    spread = f"bars are 95% t intervals of the paired differences, not corrected for the number of {plural(facts.case.noun)}"
    if facts.paired < 3:
        spread = "small marks are the seeds"
    if facts.paired == 1:
        return f"Each {facts.case.noun} minus {facts.board.against} on the test split, in points, with one seed."
    return f"Each {facts.case.noun} minus {facts.board.against} on the test split, in points: mean over {seeds}; {spread}."


def _spot(facts: Facts, row: Standing, styles: Styles) -> Spot:
    """A method's changes; with too few seeds for an interval, also the seeds themselves."""
    mean, worst, case = row.mean.difference, row.worst.difference, facts.case
    assert mean is not None  # of a method that shares seeds with the baseline
    assert worst is not None
    by_scope = [scope.points(case, row.name) - scope.points(case, case.baseline) for scope in (MEAN, WORST)]
    seeds = [(float(x), float(y)) for x, y in zip(*by_scope, strict=True) if not math.isnan(x + y)]
    return Spot(joined(row.names), styles[row.name], mean, worst, () if worst.bounded else seeds)
