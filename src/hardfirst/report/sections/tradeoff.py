"""The figure of the first screen: what each method changes on two measures, such as the worst task and the mean."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hardfirst.report.figures import (
    Figure,
    Style,
    Trace,
    chart_text,
    horizontal_rule,
    note,
    padded_range,
    quadrant,
    ring,
    shortened,
    single_panel,
    vertical_rule,
)
from hardfirst.report.labels import Ends, Point, name_points
from hardfirst.statistics import Interval

_HEIGHT, _SMALLEST = 300, (270.0, 240.0)  # pixels, of the figure and of its panel on a phone
_LONGEST, _LONGEST_TITLE = 28, 48


class Spot(NamedTuple):
    """A method in the figure.

    Args:
        name: the method's.
        style: its colour and symbol.
        x: its change of the measure across, in points.
        y: its change of the measure upwards.
        parts: what these are means of, such as seeds, as small marks: changes of both measures.
    """

    name: str
    style: Style
    x: Interval
    y: Interval
    parts: Sequence[tuple[float, float]] = ()


def tradeoff_figure(
    spots: Sequence[Spot],
    against: str,
    *,
    across: str = "mean over tasks",
    upwards: str = "worst task",
    limit: float | None = None,
) -> Figure:
    """A cross of intervals for each method.

    Args:
        spots: the methods.
        against: what they are compared with, in words.
        across: the measure whose changes run from left to right.
        upwards: the measure whose changes run upwards.
        limit: the least change across that is allowed, drawn as a dashed line. Default: no line.
    """
    limits = [] if limit is None else [limit]
    x_range = _range([spot.x for spot in spots], [*limits, *(x for spot in spots for x, _ in spot.parts)])
    y_range = _range([spot.y for spot in spots], [y for spot in spots for _, y in spot.parts])
    # the rules through 0, which no name may cross
    origin = Point(_rule(x_range), _rule(y_range), against)
    points = [*(Point(spot.x, spot.y, shortened(spot.name, _LONGEST)) for spot in spots), origin]
    better = note("better on both", x_range[1], y_range[1], xanchor="right", yanchor="top")
    rules = [horizontal_rule(0, 0, "solid"), vertical_rule(0, 0, "solid"), *(vertical_rule(0, at, "dash") for at in limits)]
    return single_panel(
        [*(_parts(spot) for spot in spots if spot.parts), _origin(), *(_cross(spot, across, upwards) for spot in spots)],
        height=_HEIGHT,
        width=760,
        x_axis=_axis(across, x_range),
        y_axis=_axis(upwards, y_range),
        shapes=[quadrant(x_range[1], y_range[1]), *rules],
        annotations=[better, *name_points(points, Ends(x_range, y_range, *_SMALLEST))],
    )


def _axis(measure: str, ends: Sequence[float]) -> dict[str, Any]:
    title = chart_text(f"{measure}, change in points", _LONGEST_TITLE)
    return {"range": list(ends), "nticks": 7, "title": {"text": title, "standoff": 6}}


def _rule(ends: Sequence[float]) -> Interval:
    return Interval(0.0, ends[0], ends[1], 0)


def _range(intervals: Iterable[Interval], others: Iterable[float]) -> list[float]:
    """The ends of an axis, with room for the quadrant that is better."""
    ends = [*(end for interval in intervals for end in interval[:3]), *others]
    span = np.nanmax([*ends, 0.0]) - np.nanmin([*ends, 0.0])
    return padded_range([*ends, 0.0, 0.25 * max(float(span), 1.0)])


def _origin() -> Trace:
    return {
        "type": "scatter",
        "x": [0],
        "y": [0],
        "mode": "markers",
        "marker": ring(9, width=2),
        "hoverinfo": "skip",
    }


def _cross(spot: Spot, across: str, upwards: str) -> Trace:
    name, style = chart_text(spot.name), spot.style
    bars = {f"error_{axis}": _bar(interval, style) for axis, interval in (("x", spot.x), ("y", spot.y)) if interval.bounded}
    return {
        "type": "scatter",
        "x": [spot.x.mean],
        "y": [spot.y.mean],
        **bars,
        "name": name,
        "mode": "markers",
        "marker": style.marker | {"size": 10, "line": {"color": style.colour, "width": 1.5}},
        "hovertemplate": f"{name}<br>{upwards} {spot.y:+z.1f}<br>{across} {spot.x:+z.1f}<extra></extra>",
    }


def _bar(interval: Interval, style: Style) -> dict[str, Any]:
    ends = {"array": [interval.high - interval.mean], "arrayminus": [interval.mean - interval.low], "symmetric": False}
    return {"type": "data", "color": style.colour, "thickness": 2, "width": 0} | ends


def _parts(spot: Spot) -> Trace:
    return {
        "type": "scatter",
        "x": [x for x, _ in spot.parts],
        "y": [y for _, y in spot.parts],
        "mode": "markers",
        "marker": spot.style.marker | {"size": 5, "opacity": 0.6},
        "hoverinfo": "skip",
    }
