"""The section on the starvation gap: which tasks lose by sharing, and whether a method's extra weight goes to them."""

import html
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hardfirst.records.names import SINGLE
from hardfirst.report.blocks import Section, paragraphs, place
from hardfirst.report.figures import Figure, Style, _axis, _layout, _place, reach
from hardfirst.report.model.case import EQUAL, Array, Case
from hardfirst.report.sections.tables import cells, named, swatch, table, with_n
from hardfirst.statistics import Interval, gap_correlation, mean_interval, starvation_gap

Gaps = Mapping[str, Interval]
"""By task."""
Weights = Mapping[str, Array]
"""By method, [tasks]."""

_READING = (
    "The gap is what a task loses by sharing: the test KPI of its single-task network minus that under equal weights. A "
    "task is starved where the gap lies above 0 with its whole interval."
)
_WEIGHTS = "Weights are relative to a method's mean over tasks: above 1 a task gets more than an equal share."
_CORRELATION = (
    " A correlation of them with the gap near 1 says that the extra weight goes to the starved tasks, near −1 that it goes "
    "to the others, near 0 that it follows something else."
)
_CHART = (
    "A point is a task. The further to the right it stands, the more it loses by sharing; above the dotted line the method "
    "gives it more than an equal share."
)
_FEWEST = 3  # tasks of which a correlation says anything
_LEAST_SPREAD = 0.005  # of weights that are worth drawing
_GREY = "#7d8590"


def section(case: Case, looks: Mapping[str, Style]) -> Section | None:
    """Each task's gap and weights; None without single-task networks and equal weights that share a seed."""
    if not case.single or EQUAL not in case.methods:
        return None
    gaps = dict(zip(case.tasks, starvation_gap(case.single_points(), case.points(EQUAL)), strict=True))
    if not any(gap.n for gap in gaps.values()):
        return None
    weights = {method: found for method in case.others if not np.isnan(found := _weights(case, method)).all()}
    blocks = (paragraphs(_reading(case, weights)), _table(case, gaps, weights, looks))
    drawn = {method: found for method, found in weights.items() if np.nanmax(found) - np.nanmin(found) > _LEAST_SPREAD}
    if not drawn:
        return Section("Who is starved?", blocks)
    chart = place("starvation", "Mean weight against the starvation gap in points", _CHART)
    return Section("Who is starved?", (*blocks, chart), {"starvation": _figure(gaps, drawn, looks)})


def _reading(case: Case, weights: Weights) -> list[str]:
    """How to read the table."""
    correlation = _CORRELATION if len(case.tasks) >= _FEWEST else ""
    return [_READING, _WEIGHTS + correlation] if weights else [_READING]


def _weights(case: Case, method: str) -> Array:
    """[tasks]: the task's weight relative to the mean over tasks, averaged over seeds."""
    return np.array([mean_interval(by_seed).mean for by_seed in case.weights(method).T])


# The table


def _table(case: Case, gaps: Gaps, weights: Weights, looks: Mapping[str, Style]) -> str:
    n = max(gap.n for gap in gaps.values())
    methods = [f"{swatch(looks[method])}{named(method)}<small>weight</small>" for method in weights]
    head = ["Task", SINGLE, "equal weights", f"Gap<small>n = {n}</small>", *methods]
    kpis = zip(case.single_points().T, case.points(EQUAL).T, strict=True)
    rows = [
        (
            "",
            cells(html.escape(task), [*_kpis(pair, gaps[task], n), *(_weight(found[column]) for found in weights.values())]),
        )
        for column, (task, pair) in enumerate(zip(case.tasks, kpis, strict=True))
    ]
    if weights and len(case.tasks) >= _FEWEST:
        rows.append(("over-tasks", cells("correlation with the gap", ["", "", "", *_correlations(gaps, weights)])))
    return table("Starvation gap and weights by task", _caption(gaps), head, rows)


def _caption(gaps: Gaps) -> str:
    if all(gap.n < 2 for gap in gaps.values()):
        return "Test KPI and gap in points, of one seed."
    return (
        "Test KPI and gap in points: means over seeds with 95% intervals; the gap is paired by seed. Each interval stands "
        f"alone: among {len(gaps)} tasks some may leave out 0 by chance."
    )


def _kpis(pair: tuple[Array, Array], gap: Interval, n: int) -> list[str]:
    """The cells of the single-task network, of equal weights, and of the gap between them."""
    starved = "<small>starved</small>" if gap.low > 0 else ""
    return [*(with_n(mean_interval(points), "z.1f", n) for points in pair), with_n(gap, "+z.1f", n) + starved]


def _weight(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _correlations(gaps: Gaps, weights: Weights) -> list[str]:
    means = [gap.mean for gap in gaps.values()]
    found = [gap_correlation(each, means) for each in weights.values()]
    return ["–" if math.isnan(correlation) else f"{correlation:+z.2f}" for correlation in found]


# The chart


def _figure(gaps: Gaps, weights: Weights, looks: Mapping[str, Style]) -> Figure:
    layout, data = _layout(weights), []
    layout["hovermode"] = "closest"
    layout["shapes"] = [shape for panel in range(len(weights)) for shape in _rules(panel)]
    across = reach([0, *(end for gap in gaps.values() for end in gap[:3])])
    upwards = reach([0, 1, *(weight for found in weights.values() for weight in found)])
    for panel, (method, found) in enumerate(weights.items()):
        data.append(_points(panel, gaps, found, looks[method]))
        layout[_axis("xaxis", panel)] = {"nticks": 6, "range": across}
        layout[_axis("yaxis", panel)] = {"nticks": 5, "range": upwards}
    names = {"x": "gap, points", "y": "weight"}
    return {"panels": len(weights), "height": 200, "data": data, "layout": layout} | names


def _points(panel: int, gaps: Gaps, weights: Array, look: Style) -> dict[str, Any]:
    """The tasks that have both a gap and a weight."""
    shown = [
        (task, gap, float(weight))
        for (task, gap), weight in zip(gaps.items(), weights, strict=True)
        if gap.n and not math.isnan(weight)
    ]
    half = [gap.high - gap.mean if gap.n > 1 else 0 for _, gap, _ in shown]
    return {
        **_place(panel),
        "x": [gap.mean for _, gap, _ in shown],
        "y": [weight for *_, weight in shown],
        "error_x": {"type": "data", "array": half, "color": look.colour, "thickness": 1, "width": 0},
        "text": [f"{html.escape(task)}: gap {gap:+z.1f}, weight {weight:.2f}" for task, gap, weight in shown],
        "mode": "markers",
        "marker": {"symbol": look.symbol, "color": look.colour, "size": 8},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _rules(panel: int) -> list[dict[str, Any]]:
    """No gap, and an equal share."""
    line = {"type": "line", "layer": "below", "line": {"color": _GREY, "dash": "dot", "width": 1}}
    x, y = _axis("x", panel), _axis("y", panel)
    return [
        {**line, "xref": x, "yref": f"{y} domain", "x0": 0, "x1": 0, "y0": 0, "y1": 1},
        {**line, "xref": f"{x} domain", "yref": y, "x0": 0, "x1": 1, "y0": 1, "y1": 1},
    ]
