"""The figure of the first screen: what each method changes on the worst task and on the mean over tasks."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from hardfirst.report.figures import (
    GREY,
    Figure,
    Style,
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
from hardfirst.statistics import Interval

_HEIGHT, _SMALLEST = 300, (270.0, 240.0)  # pixels, of the figure and of its panel on a phone
_LONGEST = 28


class Spot(NamedTuple):
    """A method in the figure.

    Args:
        name: the method's.
        style: its colour and symbol.
        mean: its change of the mean over tasks, in points.
        worst: its change of the worst task.
        parts: what these are means of, such as seeds, as small marks: changes of the mean and of the worst task.
    """

    name: str
    style: Style
    mean: Interval
    worst: Interval
    parts: Sequence[tuple[float, float]] = ()


def tradeoff_figure(spots: Sequence[Spot], against: str) -> Figure:
    """A cross of intervals for each method: the mean over tasks across, the worst task upwards.

    Args:
        spots: the methods.
        against: what they are compared with, in words.
    """
    across = _range([*(spot.mean for spot in spots)], [x for spot in spots for x, _ in spot.parts])
    upwards = _range([*(spot.worst for spot in spots)], [y for spot in spots for _, y in spot.parts])
    # the rules through 0, which no name may cross
    origin = Point(_rule(across), _rule(upwards), against)
    points = [*(Point(spot.mean, spot.worst, _short(spot.name)) for spot in spots), origin]
    better = note("better on both", across[1], upwards[1], xanchor="right", yanchor="top")
    return single_panel(
        [*(_parts(spot) for spot in spots if spot.parts), _origin(), *map(_cross, spots)],
        height=_HEIGHT,
        width=760,
        x_axis={"range": across, "nticks": 7, "title": {"text": "mean over tasks, change in points", "standoff": 6}},
        y_axis={"range": upwards, "nticks": 7, "title": {"text": "worst task, change in points", "standoff": 6}},
        shapes=[quadrant(across[1], upwards[1]), horizontal_rule(0, 0, "solid"), vertical_rule(0, 0, "solid")],
        annotations=[better, *name_points(points, Ends(across, upwards, *_SMALLEST))],
    )


def _rule(ends: Sequence[float]) -> Interval:
    return Interval(0.0, ends[0], ends[1], 0)


def _range(intervals: Iterable[Interval], others: Iterable[float]) -> list[float]:
    """The ends of an axis, with room for the quadrant that is better."""
    ends = [*(end for interval in intervals for end in interval[:3]), *others]
    span = np.nanmax([*ends, 0.0]) - np.nanmin([*ends, 0.0])
    return padded_range([*ends, 0.0, 0.25 * max(float(span), 1.0)])


def _short(name: str) -> str:
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


def _cross(spot: Spot) -> Trace:
    name, style = chart_text(spot.name), spot.style
    bars = {
        f"error_{axis}": _bar(interval, style)
        for axis, interval in (("x", spot.mean), ("y", spot.worst))
        if interval.bounded
    }
    return {
        "type": "scatter",
        "x": [spot.mean.mean],
        "y": [spot.worst.mean],
        **bars,
        "name": name,
        "mode": "markers",
        "marker": style.marker | {"size": 10, "line": {"color": style.colour, "width": 1.5}},
        "hovertemplate": f"{name}<br>worst task {spot.worst:+z.1f}<br>mean {spot.mean:+z.1f}<extra></extra>",
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
