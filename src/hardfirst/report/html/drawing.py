"""A figure with one panel of points as an inline SVG, for where no script runs."""

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from hardfirst.report.figures import Figure, Trace
from hardfirst.statistics import number_text

_WIDTH = 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 44
_INK = "currentColor"  # of the page or notebook around it, light or dark
_UNSEEN = "rgba(0,0,0,0)"


class Line(NamedTuple):
    """A straight line; `opacity` is that of its colour."""

    x1: float
    y1: float
    x2: float
    y2: float
    colour: str
    width: float
    opacity: float = 1


class Mark(NamedTuple):
    """A point, by its upper left corner; `size` is that of its symbol."""

    x: float
    y: float
    size: float
    style: Mapping[str, str]


class Text(NamedTuple):
    """A text; `anchor` is SVG's, and `turned` whether it reads upwards."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    colour: str = _INK
    turned: bool = False


class Drawing(NamedTuple):
    """The shapes to draw, in pixels from the upper left.

    Args:
        label: what it shows, for screen readers.
        width: of all.
        height: of all.
        areas: the rectangles that are tinted, each as x, y, width, height and colour.
        lines: drawn below the points.
        marks: the points.
        texts: names of points, axes and ticks.
    """

    label: str
    width: float
    height: float
    areas: tuple[tuple[float, float, float, float, str], ...]
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    texts: tuple[Text, ...]


class _Panel:
    """Turns values into pixels."""

    def __init__(self, figure: Figure) -> None:
        layout = figure["layout"]
        self.x_axis, self.y_axis = layout["xaxis"], layout["yaxis"]
        self.left, self.right, self.top, self.bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _TOP + figure["height"]

    def x(self, value: float) -> float:
        low, high = self.x_axis["range"]
        return float(round(self.left + (value - low) / (high - low) * (self.right - self.left), 1))

    def y(self, value: float) -> float:
        low, high = self.y_axis["range"]
        return float(round(self.bottom - (value - low) / (high - low) * (self.bottom - self.top), 1))


def drawing(figure: Figure, label: str) -> Drawing:
    """The figure in pixels.

    Args:
        figure: from `figures.single_panel`, of points that may have error bars; annotations are names.
        label: what it shows.
    """
    panel, layout = _Panel(figure), figure["layout"]
    shapes, notes = layout.get("shapes", ()), layout.get("annotations", ())
    lines = [*_grid(panel), *(_rule(panel, shape) for shape in shapes if shape["type"] == "line"), *_leaders(panel, notes)]
    marks: list[Mark] = []
    for trace in figure["data"]:
        lines += [*_bars(panel, trace), *_path(panel, trace)]
        marks += _marks(panel, trace)
    areas = tuple(_area(panel, shape) for shape in shapes if shape["type"] == "rect")
    texts = (*_ticks(panel), *_titles(panel), *_notes(panel, notes))
    return Drawing(label, _WIDTH, panel.bottom + _BOTTOM, areas, tuple(lines), tuple(marks), texts)


# The panel


def _area(panel: _Panel, shape: Mapping[str, Any]) -> tuple[float, float, float, float, str]:
    (left, right), (bottom, top) = ((panel.x(shape[f"x{end}"]) for end in "01"), (panel.y(shape[f"y{end}"]) for end in "01"))
    return left, top, round(right - left, 1), round(bottom - top, 1), shape["fillcolor"]


def _rule(panel: _Panel, shape: Mapping[str, Any]) -> Line:
    if "domain" in shape.get("xref", ""):
        y = panel.y(shape["y0"])
        return Line(panel.left, y, panel.right, y, shape["line"]["color"], 1)
    x = panel.x(shape["x0"])
    return Line(x, panel.top, x, panel.bottom, shape["line"]["color"], 1)


def _grid(panel: _Panel) -> Iterator[Line]:
    for value in _x_ticks(panel):
        yield Line(panel.x(value), panel.top, panel.x(value), panel.bottom, _INK, 1, 0.12)
    for value in tick_values(panel.y_axis["range"]):
        yield Line(panel.left, panel.y(value), panel.right, panel.y(value), _INK, 1, 0.12)


def _ticks(panel: _Panel) -> Iterator[Text]:
    for value, text in _x_ticks(panel).items():
        yield Text(panel.x(value), panel.bottom + 16, text)
    for value in tick_values(panel.y_axis["range"]):
        yield Text(panel.left - 6, panel.y(value) + 4, number_text(value, "+g" if value else "g"), "end")


def _x_ticks(panel: _Panel) -> dict[float, str]:
    """The texts below the axis, by value: its own, or round numbers."""
    if "ticktext" in panel.x_axis:
        return dict(zip(panel.x_axis["tickvals"], panel.x_axis["ticktext"], strict=True))
    return {value: number_text(value, "+g" if value else "g") for value in tick_values(panel.x_axis["range"])}


def _titles(panel: _Panel) -> Iterator[Text]:
    yield Text((panel.left + panel.right) / 2, panel.bottom + 36, panel.x_axis["title"]["text"])
    yield Text(14, (panel.top + panel.bottom) / 2, panel.y_axis["title"]["text"], turned=True)


def _notes(panel: _Panel, notes: Iterable[Mapping[str, Any]]) -> Iterator[Text]:
    """Texts at their points, or as far from these as they say."""
    for each in notes:
        x, y = panel.x(each["x"]) + each.get("ax", 0), panel.y(each["y"]) + each.get("ay", 0)
        anchor = {"left": "start", "right": "end"}.get(each.get("xanchor", ""), "middle")
        below = 15 if each.get("yanchor") == "top" else 4
        yield Text(round(x, 1), round(y + below, 1), html.unescape(each["text"]), anchor, each["font"].get("color", _INK))


def _leaders(panel: _Panel, notes: Iterable[Mapping[str, Any]]) -> Iterator[Line]:
    """Lines from points to texts that stand apart."""
    for each in notes:
        x, y = panel.x(each["x"]), panel.y(each["y"])
        if each.get("showarrow") and each["arrowcolor"] != _UNSEEN:
            yield Line(x, y, round(x + each["ax"], 1), round(y + each["ay"], 1), each["arrowcolor"], each["arrowwidth"])


def tick_values(ends: Sequence[float]) -> list[float]:
    """Round numbers between the ends of an axis, about six of them.

    >>> tick_values([-9.3, 21.0])
    [-5.0, 0.0, 5.0, 10.0, 15.0, 20.0]
    """
    rough = (ends[1] - ends[0]) / 7
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(ends[0] / step), math.floor(ends[1] / step)
    return [round(number * step, 10) + 0.0 for number in range(first, last + 1)]


# Points


def _bars(panel: _Panel, trace: Trace) -> Iterator[Line]:
    for index, (x, y) in enumerate(zip(trace["x"], trace["y"], strict=True)):
        for name, at in (("error_x", x), ("error_y", y)):
            if name not in trace:
                continue
            ends = (at - trace[name]["arrayminus"][index], at + trace[name]["array"][index])
            low, high = ((panel.x(end), panel.y(y)) if name == "error_x" else (panel.x(x), panel.y(end)) for end in ends)
            yield Line(*low, *high, trace[name]["color"], 2)


def _path(panel: _Panel, trace: Trace) -> Iterator[Line]:
    """The lines between a trace's points, if it has any."""
    if "lines" not in trace["mode"]:
        return
    points = [(panel.x(x), panel.y(y)) for x, y in zip(trace["x"], trace["y"], strict=True) if not math.isnan(y)]
    for start, end in pairwise(points):
        yield Line(*start, *end, trace["line"]["color"], trace["line"]["width"], trace.get("opacity", 1))


def _marks(panel: _Panel, trace: Trace) -> Iterator[Mark]:
    style, size = trace["marker"], trace["marker"]["size"] + 1.0
    for x, y in zip(trace["x"], trace["y"], strict=True):
        look = {"symbol": style["symbol"], "colour": style["color"]}
        yield Mark(round(panel.x(x) - size / 2, 1), round(panel.y(y) - size / 2, 1), size, look)
