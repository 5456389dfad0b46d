"""The first screen: the question, the sentence that answers it, and one figure of what each method gains and costs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardfirst.report.blocks import Answer, Chart
from hardfirst.report.figures import (
    GREY,
    Figure,
    Style,
    Styles,
    Trace,
    chart_text,
    horizontal_rule,
    note,
    padded_range,
    quadrant,
    single_panel,
    vertical_rule,
)
from hardfirst.report.labels import Ends, Point, name_points
from hardfirst.report.model.answer import Answer as Facts
from hardfirst.report.model.leaderboard import Standing
from hardfirst.report.model.scopes import MEAN, WORST
from hardfirst.report.text.alerts import alerts
from hardfirst.report.text.headline import headline, question
from hardfirst.report.text.interval_text import count_text
from hardfirst.report.text.next_step import next_step
from hardfirst.report.text.tiles import tiles
from hardfirst.statistics import Interval

_HEIGHT, _SMALLEST = 300, (270.0, 240.0)  # pixels, of the figure and of its panel on a phone
_LONGEST = 22


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
    words = headline(facts)
    return Answer(
        question=question([facts.case]) or title,
        lead=words.lead,
        rest=words.rest,
        tiles=tiles(facts),
        alerts=alerts(facts),
        chart=_chart(facts, styles),
        next_step=next_step(facts, command, plan),
    )


def _chart(facts: Facts, styles: Styles) -> Chart | None:
    """What each method changes on the worst task and on the mean; None for one task, or without a comparison."""
    rows = [row for row in facts.board.rows if row.role != "baseline" and _paired(row)]
    if not rows or len(facts.case.tasks) == 1:
        return None
    heading = f"Change of the worst task and of the mean, against {facts.board.against}"
    return Chart("tradeoff", heading, _caption(facts), tradeoff_figure(facts, rows, styles))


def _paired(row: Standing) -> bool:
    return row.worst.difference is not None and row.worst.difference.n > 0


def _caption(facts: Facts) -> str:
    seeds = count_text(facts.paired, "seed")
    spread = "bars are 95% t intervals of the paired differences, not corrected for the number of methods"
    if facts.paired < 3:
        spread = "small marks are the seeds"
    if facts.paired == 1:
        return f"Each method minus {facts.board.against} on the test split, in points, with one seed."
    return f"Each method minus {facts.board.against} on the test split, in points: mean over {seeds}; {spread}."


def tradeoff_figure(facts: Facts, rows: Sequence[Standing], styles: Styles) -> Figure:
    """A cross of intervals for each method: the mean over tasks across, the worst task upwards."""
    across = _range(row.mean.difference for row in rows)
    upwards = _range(row.worst.difference for row in rows)
    # the rules through 0, which no name may cross
    origin = Point(_rule(across), _rule(upwards), facts.board.against)
    points = [
        *(Point(_difference(row.mean.difference), _difference(row.worst.difference), _name(row)) for row in rows),
        origin,
    ]
    seeds = [_seeds(facts, row, styles[row.name]) for row in rows if not _difference(row.worst.difference).bounded]
    better = note("better on both", across[1], upwards[1], xanchor="right", yanchor="top")
    return single_panel(
        [*seeds, _origin(), *(_cross(row, styles[row.name]) for row in rows)],
        height=_HEIGHT,
        width=760,
        x_axis={"range": across, "nticks": 7, "title": {"text": "mean over tasks, change in points", "standoff": 6}},
        y_axis={"range": upwards, "nticks": 7, "title": {"text": "worst task, change in points", "standoff": 6}},
        shapes=[quadrant(across[1], upwards[1]), horizontal_rule(0, 0, "solid"), vertical_rule(0, 0, "solid")],
        annotations=[better, *name_points(points, Ends(across, upwards, *_SMALLEST))],
    )


def _rule(ends: Sequence[float]) -> Interval:
    return Interval(0.0, ends[0], ends[1], 0)


def _range(differences: Any) -> list[float]:
    """The ends of an axis, with room for the quadrant that is better."""
    ends = [end for difference in differences for end in difference[:3]]
    span = np.nanmax([*ends, 0.0]) - np.nanmin([*ends, 0.0])
    return padded_range([*ends, 0.0, 0.25 * max(float(span), 1.0)])


def _difference(difference: Interval | None) -> Interval:
    assert difference is not None  # of a method that shares seeds with the baseline
    return difference


def _name(row: Standing) -> str:
    name = " = ".join(row.names)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _origin() -> Trace:
    return {
        "type": "scatter",
        "x": [0],
        "y": [0],
        "mode": "markers",
        "marker": {"symbol": "circle-open", "color": GREY, "size": 9, "line": {"width": 2}},
        "hoverinfo": "skip",
    }


def _cross(row: Standing, style: Style) -> Trace:
    worst, mean = _difference(row.worst.difference), _difference(row.mean.difference)
    name = chart_text(" = ".join(row.names))
    return {
        "type": "scatter",
        "x": [mean.mean],
        "y": [worst.mean],
        **{f"error_{axis}": _bar(interval, style) for axis, interval in (("x", mean), ("y", worst)) if interval.bounded},
        "name": name,
        "mode": "markers",
        "marker": style.marker | {"size": 10, "line": {"color": style.colour, "width": 1.5}},
        "hovertemplate": f"{name}<br>worst task {worst:+z.1f}<br>mean {mean:+z.1f}<extra></extra>",
    }


def _bar(interval: Interval, style: Style) -> dict[str, Any]:
    ends = {"array": [interval.high - interval.mean], "arrayminus": [interval.mean - interval.low], "symmetric": False}
    return {"type": "data", "color": style.colour, "thickness": 2, "width": 0} | ends


def _seeds(facts: Facts, row: Standing, style: Style) -> Trace:
    """The seeds themselves, where they are too few for an interval."""
    case = facts.case
    by_scope = [scope.points(case, row.name) - scope.points(case, case.baseline) for scope in (MEAN, WORST)]
    pairs = [(x, y) for x, y in zip(*by_scope, strict=True) if not math.isnan(x + y)]
    return {
        "type": "scatter",
        "x": [x for x, _ in pairs],
        "y": [y for _, y in pairs],
        "mode": "markers",
        "marker": style.marker | {"size": 5, "opacity": 0.6},
        "hoverinfo": "skip",
    }
