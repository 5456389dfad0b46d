"""Where the names of points stand in a chart, so that none covers another."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_CHARACTER, _LINE, _MARKER = 6.4, 13.0, 7.0  # pixels, of text of 11 or 12 pixels
_SIDES = {
    "middle right": (1, 0),
    "middle left": (-1, 0),
    "top center": (0, 1),
    "bottom center": (0, -1),
    "top right": (1, 1),
    "bottom right": (1, -1),
    "top left": (-1, 1),
    "bottom left": (-1, -1),
}


class Place(NamedTuple):
    """A point's name, and its position as plotly.js calls it; the name is "" where there is no room for it."""

    text: str
    position: str


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "_Box") -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not beside and self.bottom < other.top and other.bottom < self.top


def place_labels(
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    across: Sequence[float],
    upwards: Sequence[float],
    size: tuple[float, float],
) -> list[Place]:
    """Give each name the first side of its point that is free.

    Args:
        points: x and y.
        names: of the points.
        across: the ends of the x axis.
        upwards: the ends of the y axis.
        size: of the panel, in pixels, as it may be on the smallest screen.
    """
    pixels = [(_scaled(x, across, size[0]), _scaled(y, upwards, size[1])) for x, y in points]
    taken = [_Box(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER) for x, y in pixels]
    places = []
    for (x, y), name in zip(pixels, names, strict=True):
        free = next((side for side, box in _boxes(x, y, name) if _fits(box, taken, size)), None)
        places.append(Place(name if free else "", free or "middle right"))
        if free:
            taken.append(dict(_boxes(x, y, name))[free])
    return places


def _scaled(value: float, ends: Sequence[float], length: float) -> float:
    return length * (value - ends[0]) / (ends[1] - ends[0]) if not math.isnan(value) else -1e6


def _boxes(x: float, y: float, name: str) -> Iterator[tuple[str, _Box]]:
    width = _CHARACTER * len(name)
    for side, (right, up) in _SIDES.items():
        left = x + (right - 1) * width / 2 + right * _MARKER
        bottom = y + (up - 1) * _LINE / 2 + up * _MARKER
        yield side, _Box(left, bottom, left + width, bottom + _LINE)


def _fits(box: _Box, taken: Sequence[_Box], size: tuple[float, float]) -> bool:
    inside = box.left >= 0 and box.bottom >= 0 and box.right <= size[0] and box.top <= size[1]
    return inside and not any(box.overlaps(other) for other in taken)
