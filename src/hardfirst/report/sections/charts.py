"""The section of charts: test KPIs with intervals, and validation KPIs and weights over epochs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from hardfirst.records import Record
from hardfirst.report.blocks import Chart, Section, key
from hardfirst.report.figures import (
    Figure,
    Style,
    Styles,
    Trace,
    chart_text,
    padded_range,
    panel_axes,
    small_multiples,
    vertical_rule,
)
from hardfirst.report.model.case import Case
from hardfirst.report.model.summary import Row, Summary, summary
from hardfirst.statistics.intervals import Array

_IN_POINTS = ("task", "worst", "mean")
_LONGEST_LABEL = 20
_OPAQUE_BANDS = 4  # bands that may overlap before they have to be fainter

EpochPoint = tuple[int, float, float, float]
"""Epoch, mean, lowest and highest value over seeds."""


def section(case: Case, styles: Styles) -> Section | None:
    """The charts that have something to show; None if no run has reached a first epoch."""
    charts = [chart for chart in (_intervals(case, styles), _validation(case, styles), _weights(case, styles)) if chart]
    return Section("Charts", (key(case.methods, styles), *charts)) if charts else None


def _intervals(case: Case, styles: Styles) -> Chart | None:
    figure = interval_figure(summary(case), styles) if len(case.runs) > 1 else None
    return None if figure is None else Chart("intervals", "Test KPI in points", _intervals_caption(case), figure)


def _validation(case: Case, styles: Styles) -> Chart | None:
    figure = curves_figure(case, validation_points, styles)
    caption = f"Each panel has its own scale. {_drawn_text(case)}".rstrip()
    return None if figure is None else Chart("validation", "Validation KPI in points, over epochs", caption, figure)


def _weights(case: Case, styles: Styles) -> Chart | None:
    if len(case.tasks) == 1 or case.orders:  # one task has all the weight, and orders are compared under equal weights
        return None
    figure = curves_figure(case, weight_share, styles, shared_axis=True)
    caption = (
        "A task's effective weight is the mean over an epoch's steps of ∂total/∂loss, whatever the method: what its "
        f"gradient was in fact multiplied with. All panels have the same scale. {_drawn_text(case)}".rstrip()
    )
    return (
        None
        if figure is None
        else Chart("weights", "Share of the effective weight in per cent, over epochs", caption, figure)
    )


def _intervals_caption(case: Case) -> str:
    mean = "Mean over seeds with its 95% interval" if len(case.seeds) > 1 else "One seed, so there are no intervals"
    rule = f" The dotted rule stands at the mean of {case.against}." if case.compares else ""
    single = " The dashed rule stands at the mean of single-task networks." if case.single else ""
    return f"{mean}; the numbers are those of the table of test KPIs.{rule}{single} Each panel has its own scale."


def _drawn_text(case: Case) -> str:
    """What lines and bands are, and which runs they show."""
    over_seeds = "Lines are means over seeds, bands reach from the lowest to the highest seed. "
    finished = "Only runs that finished are drawn; where none of a method's did, all of them."
    all_finished = all(record.outcome == "finished" for record in case.method_runs)
    return (over_seeds if len(case.seeds) > 1 else "") + ("" if all_finished else finished)


# Test KPIs


def interval_figure(summary: Summary, styles: Styles) -> Figure | None:
    """The table as points with intervals: a panel for each row of KPIs that has a value, in it a line for each method.

    A dotted rule stands at the mean of the baseline, a dashed one at that of single-task networks. None if no run has a
    test KPI.
    """
    rows = [row for row in summary.rows if row.kind in _IN_POINTS and any(cell.kpi.n for cell in row.cells.values())]
    if not rows:
        return None
    rules = [_rule_positions(row, summary) for row in rows]
    methods = len(summary.methods)
    y_axis = {"range": [0.6 - methods, 0.6], "showticklabels": False, "showgrid": False, "fixedrange": True}
    return small_multiples(
        [row.name for row in rows],
        [
            _interval_trace(panel, row, method, -line, styles[method])
            for panel, row in enumerate(rows)
            for line, method in enumerate(summary.methods)
        ],
        height=24 + 20 * methods,
        x_axes=[
            {"nticks": 6, "range": padded_range([*positions.values(), *_ends(row)])}
            for row, positions in zip(rows, rules, strict=True)
        ],
        y_axes=y_axis,
        hovermode="closest",
        shapes=[vertical_rule(panel, at, dash) for panel, positions in enumerate(rules) for dash, at in positions.items()],
        x="points",
        labels=[chart_text(method, _LONGEST_LABEL) for method in summary.methods],
    )


def _rule_positions(row: Row, summary: Summary) -> dict[str, float]:
    """Where rules stand, by their dash."""
    base = row.cells[summary.baseline].kpi.mean if summary.baseline in row.cells else np.nan
    single = summary.single[row.name].mean if row.name in summary.single else np.nan
    return {dash: at for dash, at in {"dot": base, "dash": single}.items() if not np.isnan(at)}


def _ends(row: Row) -> Iterable[float]:
    return (end for cell in row.cells.values() for end in cell.kpi[:3])


def _interval_trace(panel: int, row: Row, method: str, line: int, style: Style) -> Trace:
    kpi, name = row.cells[method].kpi, chart_text(method)
    trace = {
        **panel_axes(panel),
        "name": name,
        "x": [kpi.mean] if kpi.n else [],
        "y": [line] if kpi.n else [],
        "mode": "markers",
        "marker": style.marker | {"size": 8},
        "hovertemplate": f"{name}: {kpi:z.1f}, n = {kpi.n}<extra></extra>",
    }
    if kpi.n > 1:
        spread = {"array": [kpi.high - kpi.mean], "arrayminus": [kpi.mean - kpi.low], "symmetric": False}
        trace["error_x"] = {"type": "data", "color": style.colour, "thickness": 2, "width": 0, **spread}
    return trace


# Over epochs


def validation_points(record: Record, task: str) -> Array:
    """[epochs]: the task's validation KPI × 100."""
    return 100 * np.array(record.curve(task, "validation_kpi"))


def weight_share(record: Record, task: str) -> Array:
    """[epochs]: the task's share of the sum of all effective weights, in per cent; NaN where it had no label.

    Shares are comparable between methods, while the size of the weights acts like a learning rate.
    """
    weights = np.array([record.curve(name, "weight") for name in record.tasks])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(100 * weights[record.tasks.index(task)] / np.nansum(weights, axis=0))


def curves_figure(
    case: Case, value: Callable[[Record, str], Array], styles: Styles, *, shared_axis: bool = False
) -> Figure | None:
    """A value over epochs: a panel for each task, a line for each method with a band over its seeds.

    Args:
        case: the runs. The finished ones are drawn, or all of a method's runs if none finished.
        value: (record, task) → one value per epoch.
        styles: of the methods.
        shared_axis: whether the panels have one scale, which begins at zero.

    Returns:
        The figure; None if no run has a value.
    """
    opacity = 0.16 * min(1, _OPAQUE_BANDS / len(case.methods))
    longest = max(len(record.epochs) for record in case.runs.values())
    data = [
        trace
        for panel, task in enumerate(case.tasks)
        for method in case.methods
        for trace in _curve(
            panel,
            method,
            _over_seeds([value(record, task) for record in case.finished(method) or case.of(method)]),
            styles[method],
            opacity,
        )
    ]
    if not any(trace["x"] for trace in data):
        return None
    return small_multiples(
        case.tasks,
        data,
        height=170,
        x_axes={"dtick": max(1, round(longest / 5)), "range": [0.5, longest + 0.5]},
        y_axes=[{"nticks": 5} | _scale(panel, shared_axis) for panel in range(len(case.tasks))],
        x="epoch",
        y="per cent" if shared_axis else "points",
        table="task",
    )


def _scale(panel: int, shared: bool) -> dict[str, Any]:
    if not shared:
        return {}
    return {"rangemode": "tozero"} | ({"matches": "y"} if panel else {})


def _over_seeds(runs: Sequence[Array]) -> list[EpochPoint]:
    points = []
    for epoch in range(max((len(run) for run in runs), default=0)):
        values = [float(run[epoch]) for run in runs if epoch < len(run) and np.isfinite(run[epoch])]
        if values:
            points.append((epoch + 1, sum(values) / len(values), min(values), max(values)))
    return points


def _curve(panel: int, method: str, points: Sequence[EpochPoint], style: Style, opacity: float) -> list[Trace]:
    epochs = [epoch for epoch, *_ in points]
    lowest, highest = [low for *_, low, _ in points], [high for *_, high in points]
    band = {
        **panel_axes(panel),
        "x": epochs + epochs[::-1],
        "y": highest + lowest[::-1],
        "fill": "toself",
        "fillcolor": _transparent(style.colour, opacity),
        "mode": "lines",
        "line": {"width": 0},
        "hoverinfo": "skip",
    }
    mean = {
        **panel_axes(panel),
        "name": chart_text(method),
        "x": epochs,
        "y": [mean for _, mean, *_ in points],
        "mode": "lines" if len(epochs) > 1 else "markers",
        "line": style.line | {"width": 2},
        "marker": {"color": style.colour},
        "hovertemplate": "%{y:.2f}",
    }
    return [band, mean] if lowest != highest else [mean]


def _transparent(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
