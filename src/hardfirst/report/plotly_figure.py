"""The page's charts as plotly figures, for notebooks and files."""

from typing import TYPE_CHECKING, Any

from hardfirst.report.figures import SIZES, Figure, axis

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLUMNS, _PANEL_WIDTH = 3, 330
_MARGIN = {"l": 50, "r": 20, "t": 40, "b": 55}


def with_legend(figure: Figure) -> Figure:
    """The figure with one legend entry for each name; the page itself has its own keys and shows no legend."""
    seen: set[str] = set()
    data = []
    for trace in figure["data"]:
        name = trace.get("name")
        group = {"legendgroup": name} if name else {}
        data.append(trace | group | {"showlegend": bool(name) and name not in seen})
        seen.add(name)
    return figure | {"data": data}


def plotly_figure(figure: Figure) -> "go.Figure":
    """The figure for plotly without the page's script: up to three panels side by side, the legend below them."""
    import plotly.graph_objects as go

    figure = with_legend(figure)
    each = 2 if "below" in figure else 1  # panels of a cell, one below the other
    columns = min(_COLUMNS, figure["panels"] // each)
    rows = each * -(-figure["panels"] // each // columns)
    gap = SIZES["pair_gap" if each > 1 else "row_gap"]
    width = figure.get("width", _COLUMNS * _PANEL_WIDTH if columns == 1 else columns * _PANEL_WIDTH)
    step = figure["height"] + gap
    names = [trace["name"] for trace in figure["data"] if trace["showlegend"]]
    length = sum(SIZES["legend_entry"] + SIZES["character"] * len(name) for name in names)
    below = _MARGIN["b"] + (SIZES["legend_line"] * -(-length // width) if names else 0)
    grid = {"rows": rows, "columns": columns, "subplots": _cells(figure["panels"], each, rows, columns)}
    layout: dict[str, Any] = {
        "template": "plotly_white",
        "grid": grid | {"xgap": SIZES["column_gap"], "ygap": gap / step},
        "width": width,
        "height": rows * step - gap + _MARGIN["t"] + below,
        "margin": _MARGIN | {"b": below},
        "showlegend": bool(names),
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "yref": "container", "y": 0, "yanchor": "bottom"},
    }
    drawn = go.Figure({"data": figure["data"], "layout": figure["layout"] | layout})
    drawn.update_layout(_axis_names(figure, columns, each))
    return drawn.update_xaxes(zeroline=False).update_yaxes(zeroline=False)


def _cells(panels: int, each: int, rows: int, columns: int) -> list[list[str]]:
    """Which axes stand in which cell of the grid, as page.js places them."""
    grid = [[""] * columns for _ in range(rows)]
    for panel in range(panels):
        place = panel // each
        grid[each * (place // columns) + panel % each][place % columns] = axis("x", panel) + axis("y", panel)
    return grid


def _axis_names(figure: Figure, columns: int, each: int) -> Figure:
    """The axes' names, as page.js places them: below the last panel of each column, and left of the first column."""
    layout: Figure = {}
    for panel in range(figure["panels"]):
        place = panel // each
        if "x" in figure and panel % each == each - 1 and place + columns >= figure["panels"] // each:
            layout[axis("xaxis", panel)] = {"title": {"text": figure["x"]}}
        name = figure.get("below" if panel % each else "y")
        if name and place % columns == 0:
            layout[axis("yaxis", panel)] = {"title": {"text": name}}
    return layout
