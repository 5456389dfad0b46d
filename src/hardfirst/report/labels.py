"""Where the names of points stand in a chart, so that none covers another, a point or an interval."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from hardfirst.report.figures import GREY, axis, chart_text
from hardfirst.statistics import Interval

_CHARACTER, _LINE, _MARKER, _BAR = 6.3, 14.0, 6.0, 2.0  # pixels
_SIZE = 11  # of the text
_NEAR = ((9, 0), (-9, 0), (0, 13), (0, -13), (8, 10), (8, -10), (-8, 10), (-8, -10))
_ANGLES = (20, -20, 50, -50, 80, -80, 130, -130, 160, -160)
_DISTANCES = (26, 40, 54, 68, 82, 96)


class Point(NamedTuple):
    """A point with its name, and with the intervals that are drawn through it."""

    x: Interval
    y: Interval
    name: str


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "_Box") -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not apart and self.bottom < other.top and other.bottom < self.top


class Ends(NamedTuple):
    """The ends of a panel's axes, and its size in pixels, as it may be on the smallest screen."""

    x: Sequence[float]
    y: Sequence[float]
    width: float
    height: float

    def pixels(self, x: float, y: float) -> tuple[float, float]:
        """Where a point stands, from the lower left corner."""
        across, up = (x - self.x[0]) / (self.x[1] - self.x[0]), (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.width * across, self.height * up


def name_points(points: Sequence[Point], ends: Ends, panel: int = 0) -> list[dict[str, Any]]:
    """An annotation for each point, with a line to it where the name stands apart.

    A name gets the first place that is free, or else one on an interval, so points that matter most come first.
    """
    bars = [box for point in points for box in _bars(point, ends)]
    taken = [_marker(point, ends) for point in points]
    annotations = []
    for point in points:
        places = list(_places(ends.pixels(point.x.mean, point.y.mean), point.name))
        free = [place for place in places if _fits(place[1], taken, ends)]
        best = next((place for place in free if _fits(place[1], bars, ends)), free[0] if free else None)
        if best:
            taken.append(best[1])
            annotations.append(_annotation(point, best[0], panel))
    return annotations


def _marker(point: Point, ends: Ends) -> _Box:
    x, y = ends.pixels(point.x.mean, point.y.mean)
    return _Box(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER)


def _bars(point: Point, ends: Ends) -> Iterator[_Box]:
    x, y = ends.pixels(point.x.mean, point.y.mean)
    if point.x.bounded:
        yield _Box(ends.pixels(point.x.low, 0)[0], y - _BAR, ends.pixels(point.x.high, 0)[0], y + _BAR)
    if point.y.bounded:
        yield _Box(x - _BAR, ends.pixels(0, point.y.low)[1], x + _BAR, ends.pixels(0, point.y.high)[1])


def _places(point: tuple[float, float], name: str) -> Iterator[tuple[tuple[float, float], _Box]]:
    """Offsets from the point, the nearest first, each with the box that the name then takes."""
    far = (
        (1.3 * distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle)))
        for distance in _DISTANCES
        for angle in _ANGLES
    )
    width = _CHARACTER * len(name)
    for right, up in (*_NEAR, *far):
        left = point[0] + right - (width / 2 if right == 0 else width if right < 0 else 0)
        middle = point[1] + up
        yield (right, up), _Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)


def _fits(box: _Box, taken: Sequence[_Box], ends: Ends) -> bool:
    inside = box.left >= 0 and box.bottom >= 0 and box.right <= ends.width and box.top <= ends.height
    return inside and not any(box.overlaps(other) for other in taken)


def _annotation(point: Point, away: tuple[float, float], panel: int) -> dict[str, Any]:
    right, up = away
    return {
        "text": chart_text(point.name),
        "x": point.x.mean,
        "y": point.y.mean,
        "xref": axis("x", panel),
        "yref": axis("y", panel),
        "ax": right,
        "ay": -up,
        "xanchor": "center" if right == 0 else "left" if right > 0 else "right",
        "yanchor": "middle",
        "showarrow": True,
        "arrowhead": 0,
        "arrowwidth": 0.8,
        "arrowcolor": GREY if away not in _NEAR else "rgba(0,0,0,0)",
        "borderpad": 0,
        "font": {"size": _SIZE},
    }
