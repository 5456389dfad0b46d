"""The charts, as plotly.js reads them: small multiples, one panel for each task.

A figure is a plain dict: `panels` (their number), `height` (of one, in pixels), `data`, `layout` and, where one panel is not
to be as wide as the page, `width`. `x` and `y` are the names of the axes, `labels` those of the lines 0, -1, … of a panel,
and with `table`, what the panels are of, the page offers the lines as a table as well. How many panels stand side by side,
which of them have the names, and in which colours text and grid lines are drawn depends on the reader's screen, so page.js
decides it.
"""

import html
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hardfirst.records import Record
from hardfirst.report.model.case import EQUAL, Array, Case
from hardfirst.report.model.summary import Row, Summary

if TYPE_CHECKING:
    import plotly.graph_objects as go

Figure = dict[str, Any]

# Told apart by eyes that lack one kind of cone, and at least 3:1 against both a white and a near-black page.
BLUE = "#2f7fd6"
_PALETTE = (BLUE, "#d55e00", "#00a078", "#cc79a7")
GREY = "#7d8590"
_DASHES = ("solid", "dash", "dashdot", "longdash")
_LONGEST_TITLE, _LONGEST_LABEL = 38, 20
_SHADED = 4  # bands that may lie over each other before they have to be fainter
_COLUMNS, _PANEL_WIDTH, _ROW_GAP, _COLUMN_GAP = 3, 330, 62, 0.16  # of a figure outside the page
_IN_POINTS = ("task", "worst", "mean")
_MARGIN = {"l": 50, "r": 20, "t": 40, "b": 55}
_CHARACTER, _SWATCH, _LINE = 7, 60, 22  # what an entry of the legend takes, in pixels


class Style(NamedTuple):
    """How a method looks in every figure."""

    colour: str
    dash: str

    @property
    def symbol(self) -> str:
        """Stands for the method where there are points and no lines."""
        return {"solid": "circle", "dash": "square", "dashdot": "diamond", "longdash": "x", "dot": "circle-open"}[self.dash]


def styles(methods: Iterable[str], baseline: str = EQUAL) -> dict[str, Style]:
    """A fixed look for each method: the baseline dotted and grey, since all others are read against it."""
    looks = [Style(colour, dash) for dash in _DASHES for colour in _PALETTE]
    others = itertools.cycle(looks)
    return {method: Style(GREY, "dot") if method == baseline else next(others) for method in methods}


def intervals(summary: Summary, looks: Mapping[str, Style] | None = None) -> Figure | None:
    """The table as dots with intervals: a panel for each row of KPIs that has a value, in it a line for each method.

    A dotted rule stands at the mean of the baseline, a dashed one at that of single-task networks.

    Args:
        summary: the table.
        looks: each method's; `styles` of the methods unless given.

    Returns:
        The figure; None where no run has a test KPI.
    """
    looks = looks or styles(summary.methods, summary.baseline)
    rows = [row for row in summary.rows if row.kind in _IN_POINTS and any(cell.kpi.n for cell in row.cells.values())]
    if not rows:
        return None
    data, layout = [], _layout([row.name for row in rows])
    layout["hovermode"] = "closest"
    layout["shapes"] = []
    for panel, row in enumerate(rows):
        rules = _references(row, summary)
        layout["shapes"] += [_rule(panel, at, dash) for dash, at in rules.items()]
        data += [_dot(panel, row, method, -line, looks[method]) for line, method in enumerate(summary.methods)]
        layout[_axis("xaxis", panel)] = {"nticks": 6, "range": _reach(row, rules.values())}
        layout[_axis("yaxis", panel)] = {
            "range": [0.6 - len(summary.methods), 0.6],
            "showticklabels": False,
            "showgrid": False,
            "fixedrange": True,
        }
    names = {"x": "points", "labels": [short(method, _LONGEST_LABEL) for method in summary.methods]}
    return {"panels": len(rows), "height": 24 + 20 * len(summary.methods), "data": data, "layout": layout} | names


def _references(row: Row, summary: Summary) -> dict[str, float]:
    """Where rules stand, by how they are dashed."""
    base = row.cells[summary.baseline].kpi.mean if summary.baseline in row.cells else np.nan
    alone = summary.single[row.name].mean if row.name in summary.single else np.nan
    return {dash: at for dash, at in {"dot": base, "dash": alone}.items() if not np.isnan(at)}


def validation_points(record: Record, task: str) -> Array:
    """[epochs]: the task's validation KPI × 100."""
    return 100 * np.array(record.curve(task, "validation_kpi"))


def weight_share(record: Record, task: str) -> Array:
    """[epochs]: the task's share of the sum of all tasks' effective weights, in per cent; NaN where it had no label.

    A share, since methods differ in the size of their weights, which is a matter of the learning rate.
    """
    weights = np.array([record.curve(name, "weight") for name in record.tasks])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(100 * weights[record.tasks.index(task)] / np.nansum(weights, axis=0))


def curves(
    case: Case,
    value: Callable[[Record, str], Array],
    *,
    shared_axis: bool = False,
    looks: Mapping[str, Style] | None = None,
) -> Figure | None:
    """A value of the epoch lines over epochs: a panel for each task, a line for each method with a band over its seeds.

    Args:
        case: the runs. Those that finished are drawn; all of a method's runs where none did.
        value: (record, task) to one value per epoch.
        shared_axis: whether the panels have one scale, beginning at zero.
        looks: each method's; `styles` of the methods unless given.

    Returns:
        The figure; None where no run has a value.
    """
    looks = looks or styles(case.methods, case.baseline)
    data, layout = [], _layout(case.tasks)
    opacity = 0.16 * min(1, _SHADED / len(case.methods))
    longest = max(len(record.epochs) for record in case.runs.values())
    for panel, task in enumerate(case.tasks):
        for method in case.methods:
            drawn = case.finished(method) or case.of(method)
            data += _line(panel, method, _over_seeds([value(record, task) for record in drawn]), looks[method], opacity)
        layout[_axis("xaxis", panel)] = {"dtick": max(1, round(longest / 5)), "range": [0.5, longest + 0.5]}
        layout[_axis("yaxis", panel)] = {"nticks": 5} | _scale(panel, shared_axis)
    if not any(trace["x"] for trace in data):
        return None
    names = {"x": "epoch", "y": "per cent" if shared_axis else "points", "table": "task"}
    return {"panels": len(case.tasks), "height": 170, "data": data, "layout": layout} | names


def _scale(panel: int, shared: bool) -> dict[str, Any]:
    if not shared:
        return {}
    return {"rangemode": "tozero"} | ({"matches": "y"} if panel else {})


def _over_seeds(runs: list[Array]) -> list[tuple[int, float, float, float]]:
    """(epoch, mean, lowest, highest) for every epoch in which any run has a value."""
    points = []
    for epoch in range(max((len(run) for run in runs), default=0)):
        known = [float(run[epoch]) for run in runs if epoch < len(run) and np.isfinite(run[epoch])]
        if known:
            points.append((epoch + 1, sum(known) / len(known), min(known), max(known)))
    return points


def _line(
    panel: int, method: str, points: list[tuple[int, float, float, float]], style: Style, opacity: float
) -> list[dict[str, Any]]:
    epochs = [epoch for epoch, *_ in points]
    lowest, highest = [low for *_, low, _ in points], [high for *_, high in points]
    band = {
        **_place(panel),
        "x": epochs + epochs[::-1],
        "y": highest + lowest[::-1],
        "fill": "toself",
        "fillcolor": _transparent(style.colour, opacity),
        "mode": "lines",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    mean = {
        **_place(panel),
        "name": html.escape(method),
        "x": epochs,
        "y": [mean for _, mean, *_ in points],
        "mode": "lines" if len(epochs) > 1 else "markers",
        "line": {"color": style.colour, "dash": style.dash, "width": 2},
        "marker": {"color": style.colour},
        "hovertemplate": "%{y:.2f}",
    }
    return [band, mean] if lowest != highest else [mean]


def _dot(panel: int, row: Row, method: str, line: int, style: Style) -> dict[str, Any]:
    kpi = row.cells[method].kpi
    dot = {
        **_place(panel),
        "name": html.escape(method),
        "x": [kpi.mean] if kpi.n else [],
        "y": [line] if kpi.n else [],
        "mode": "markers",
        "marker": {"color": style.colour, "size": 8, "symbol": style.symbol},
        "hovertemplate": f"{html.escape(method)}: {kpi:z.1f}, n = {kpi.n}<extra></extra>",
    }
    if kpi.n > 1:
        spread = {"array": [kpi.high - kpi.mean], "arrayminus": [kpi.mean - kpi.low], "symmetric": False}
        dot["error_x"] = {"type": "data", "color": style.colour, "thickness": 2, "width": 0, **spread}
    return dot


def _reach(row: Row, rules: Iterable[float]) -> list[float]:
    return reach([*rules, *(end for cell in row.cells.values() for end in cell.kpi[:3])])


def reach(ends: Iterable[float]) -> list[float]:
    """From the lowest to the highest that is no NaN, with a margin; plotly.js leaves none beyond an error bar."""
    known = [end for end in ends if not np.isnan(end)]
    margin = 0.06 * (max(known) - min(known)) or 1.0
    return [min(known) - margin, max(known) + margin]


def _rule(panel: int, at: float, dash: str) -> dict[str, Any]:
    return {
        "type": "line",
        "layer": "below",
        "xref": _axis("x", panel),
        "yref": f"{_axis('y', panel)} domain",
        "x0": at,
        "x1": at,
        "y0": 0,
        "y1": 1,
        "line": {"color": GREY, "dash": dash, "width": 1},
    }


def _layout(titles: Iterable[str]) -> dict[str, Any]:
    return {
        "showlegend": False,
        "hovermode": "x unified",
        "annotations": [_title(panel, title) for panel, title in enumerate(titles)],
    }


def _title(panel: int, text: str) -> dict[str, Any]:
    return {
        "text": short(text, _LONGEST_TITLE),
        "xref": f"{_axis('x', panel)} domain",
        "yref": f"{_axis('y', panel)} domain",
        "x": 0,
        "y": 1,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 4,
        "showarrow": False,
        "font": {"size": 13},
    }


def short(text: str, longest: int) -> str:
    """The text as plotly.js wants it, its end left out where it is too long."""
    return html.escape(text if len(text) <= longest else text[: longest - 1] + "…")


def _place(panel: int) -> dict[str, Any]:
    return {"type": "scatter", "xaxis": _axis("x", panel), "yaxis": _axis("y", panel)}


def _axis(name: str, panel: int) -> str:
    """plotly.js counts axes from 1 and leaves the first one's number out."""
    return f"{name}{panel + 1}" if panel else name


def _transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def keyed(figure: Figure) -> Figure:
    """The figure with one entry of a legend for each name, for whoever shows one: the page itself has keys of its own."""
    seen: set[str] = set()
    data = []
    for trace in figure["data"]:
        name = trace.get("name")
        group = {"legendgroup": name} if name else {}
        data.append(trace | group | {"showlegend": bool(name) and name not in seen})
        seen.add(name)
    return figure | {"data": data}


def _axis_names(figure: Figure, columns: int) -> Figure:
    """The axes' names where page.js has them too: below the last panel of each column, and left of the first column."""
    layout: Figure = {}
    for panel in range(figure["panels"]):
        if "x" in figure and panel + columns >= figure["panels"]:
            layout[_axis("xaxis", panel)] = {"title": {"text": figure["x"]}}
        if "y" in figure and panel % columns == 0:
            layout[_axis("yaxis", panel)] = {"title": {"text": figure["y"]}}
        if "labels" in figure and panel % columns == 0:
            lines = {"tickvals": [-line for line in range(len(figure["labels"]))], "ticktext": figure["labels"]}
            layout[_axis("yaxis", panel)] = {"showticklabels": True} | lines
    return layout


def as_plotly(figure: Figure) -> "go.Figure":
    """The figure as plotly draws it without the page's help: up to three panels side by side, the legend below them."""
    import plotly.graph_objects as go

    figure = keyed(figure)
    columns = min(_COLUMNS, figure["panels"])
    rows = -(-figure["panels"] // columns)
    width = figure.get("width", _COLUMNS * _PANEL_WIDTH if columns == 1 else columns * _PANEL_WIDTH)
    step = figure["height"] + _ROW_GAP
    names = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    legend = _LINE * -(-sum(_SWATCH + _CHARACTER * len(name) for name in names) // width)
    below = (legend + _MARGIN["b"]) if names else _MARGIN["b"]
    layout = {
        "template": "plotly_white",
        "grid": {
            "rows": rows,
            "columns": columns,
            "pattern": "independent",
            "xgap": _COLUMN_GAP,
            "ygap": _ROW_GAP / step,
        },
        "width": width,
        "height": rows * step - _ROW_GAP + _MARGIN["t"] + below,
        "margin": _MARGIN | {"b": below},
        "showlegend": bool(names),
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"},
    }
    drawn = go.Figure({"data": figure["data"], "layout": figure["layout"] | layout})
    drawn.update_layout(_axis_names(figure, columns))
    return drawn.update_xaxes(zeroline=False).update_yaxes(zeroline=False)
