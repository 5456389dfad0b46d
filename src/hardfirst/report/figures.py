"""Charts as plotly.js reads them: small multiples, one panel for each task, method or kind of example.

A figure is a plain dict: `panels` (their number), `height` (of one, in pixels), `data`, `layout` and, if one panel should be
narrower than the page, `width`. `x` and `y` are the names of the axes. With `below`, panels come in pairs, the second below
the first, and `below` names its y axis. With `table`, what the panels are of, the page offers the values as a table too. The
reader's screen decides how many panels fit side by side, which of them carry names, and in which colours text and grid lines
are drawn, so page.js does that.
"""

import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from hardfirst.records.names import EQUAL

Figure = dict[str, Any]
Trace = dict[str, Any]
Axes = Mapping[str, Any] | Sequence[Mapping[str, Any]]

BLUE = "#2f7fd6"
GREY = "#7d8590"
# Distinguishable with any kind of colour blindness, and at least 3:1 against both a white and a near-black page.
_PALETTE = (BLUE, "#d55e00", "#00a078", "#cc79a7")
_DASHES = ("solid", "dash", "dashdot", "longdash")
_SYMBOLS = {"solid": "circle", "dash": "square", "dashdot": "diamond", "longdash": "x", "dot": "circle-open"}
_LONGEST_TITLE = 38

SIZES = {"row_gap": 62, "pair_gap": 40, "column_gap": 0.16, "character": 7, "legend_entry": 60, "legend_line": 22}
"""Sizes that the page's script and `plotly_figure` share: the gap between rows of panels, in pixels, which holds the upper
panel's tick labels and the lower one's title, and that of panels in pairs; the gap between columns, in panel widths; and a
legend's sizes, in pixels.
"""


class Style(NamedTuple):
    """How a method looks in every figure."""

    colour: str
    dash: str

    @property
    def symbol(self) -> str:
        """The method's marker in charts of points."""
        return _SYMBOLS[self.dash]

    @property
    def line(self) -> dict[str, str]:
        """The method's line, without its width."""
        return {"color": self.colour, "dash": self.dash}

    @property
    def marker(self) -> dict[str, str]:
        """The method's marker, without its size."""
        return {"symbol": self.symbol, "color": self.colour}


Styles = Mapping[str, Style]
"""By method."""


def styles(methods: Iterable[str], baseline: str = EQUAL) -> dict[str, Style]:
    """A fixed style for each method; the baseline is dotted and grey, since all others are compared with it.

    Neighbours differ in colour and in dash, so that a print in grey tells them apart.
    """
    turns = ((colour, (colour + shift) % len(_DASHES)) for shift in range(len(_DASHES)) for colour in range(len(_PALETTE)))
    others = itertools.cycle(Style(_PALETTE[colour], _DASHES[dash]) for colour, dash in turns)
    return {method: Style(GREY, "dot") if method == baseline else next(others) for method in methods}


def small_multiples(
    titles: Sequence[str],
    data: Sequence[Trace],
    *,
    height: int,
    x_axes: Axes,
    y_axes: Axes,
    hovermode: str = "x unified",
    shapes: Sequence[Mapping[str, Any]] | None = None,
    **names: Any,
) -> Figure:
    """A figure with one panel for each title.

    Args:
        titles: the panels'.
        data: traces, each with its `panel_axes`.
        height: of a panel.
        x_axes: the settings of each panel's x axis, or of all of them.
        y_axes: likewise.
        hovermode: plotly's.
        shapes: plotly's.
        names: the figure's `x`, `y`, `below` and `table`.
    """
    layout: dict[str, Any] = {
        "showlegend": False,
        "hovermode": hovermode,
        "annotations": [_title(panel, title) for panel, title in enumerate(titles)],
    }
    if shapes is not None:
        layout["shapes"] = list(shapes)
    for panel in range(len(titles)):
        for name, axes in (("xaxis", x_axes), ("yaxis", y_axes)):
            layout[axis(name, panel)] = dict(axes if isinstance(axes, Mapping) else axes[panel])
    return {"panels": len(titles), "height": height, "data": list(data), "layout": layout} | names


def single_panel(
    data: Sequence[Trace], *, height: int, width: int, x_axis: Mapping[str, Any], y_axis: Mapping[str, Any], **layout: Any
) -> Figure:
    """A figure with one panel of this width, where hovering shows the closest point."""
    base = {"showlegend": False, "hovermode": "closest", "xaxis": dict(x_axis), "yaxis": dict(y_axis)}
    return {"panels": 1, "height": height, "width": width, "data": list(data), "layout": base | layout}


def panel_axes(panel: int) -> Trace:
    """The part of a trace that places it in a panel."""
    return {"type": "scatter", "xaxis": axis("x", panel), "yaxis": axis("y", panel)}


def axis(name: str, panel: int) -> str:
    """The name of a panel's axis: plotly.js counts axes from 1 and omits the number of the first."""
    return f"{name}{panel + 1}" if panel else name


def quadrant(x: float, y: float) -> dict[str, Any]:
    """The area between 0 and a point with positive coordinates, in the colour of what is better."""
    ends = {"x0": 0, "x1": x, "y0": 0, "y1": y}
    return {"type": "rect", "layer": "below", "fillcolor": "rgba(0,160,120,0.12)", "line": {"width": 0}} | ends


def note(text: str, x: float, y: float, **settings: Any) -> dict[str, Any]:
    """A text at a point of a single panel."""
    base = {"text": chart_text(text), "x": x, "y": y, "showarrow": False, "font": {"size": 12, "color": GREY}}
    return base | settings


def vertical_rule(panel: int, at: float, dash: str = "dot") -> dict[str, Any]:
    """A thin vertical line across a panel."""
    ends = {"x0": at, "x1": at, "y0": 0, "y1": 1}
    return _rule(dash) | {"xref": axis("x", panel), "yref": f"{axis('y', panel)} domain"} | ends


def horizontal_rule(panel: int, at: float, dash: str = "dot") -> dict[str, Any]:
    """A thin horizontal line across a panel."""
    ends = {"x0": 0, "x1": 1, "y0": at, "y1": at}
    return _rule(dash) | {"xref": f"{axis('x', panel)} domain", "yref": axis("y", panel)} | ends


def segment(x: float, low: float, high: float) -> dict[str, Any]:
    """A thin dotted vertical line between two points of a single panel."""
    return _rule("dot") | {"x0": x, "x1": x, "y0": low, "y1": high}


def padded_range(ends: Iterable[float]) -> list[float]:
    """From the lowest to the highest value, without NaN, with a margin: plotly.js leaves none beyond an error bar."""
    values = [end for end in ends if not math.isnan(end)]
    margin = 0.06 * (max(values) - min(values)) or 1.0
    return [min(values) - margin, max(values) + margin]


def chart_text(text: str, longest: int | None = None) -> str:
    """Text for plotly.js, which reads simple markup in it; shortened if it is too long.

    >>> chart_text("a < b, and so on", 6)
    'a &lt; b…'
    """
    return html.escape(text if longest is None else shortened(text, longest))


def shortened(text: str, longest: int) -> str:
    """The text, or as much of it as there is room for."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def ring(size: float, width: float = 1.5) -> dict[str, Any]:
    """A grey marker around a point."""
    return {"symbol": "circle-open", "color": GREY, "size": size, "line": {"width": width}}


def _rule(dash: str) -> dict[str, Any]:
    return {"type": "line", "layer": "below", "line": {"color": GREY, "dash": dash, "width": 1}}


def _title(panel: int, text: str) -> dict[str, Any]:
    return {
        "text": chart_text(text, _LONGEST_TITLE),
        "xref": f"{axis('x', panel)} domain",
        "yref": f"{axis('y', panel)} domain",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"size": 13},
    }
