"""The section on the starvation gap: which tasks lose by sharing, and whether a method gives them more weight."""

import math
from collections.abc import Mapping

import numpy as np

from hardfirst.records.names import EQUAL, SINGLE
from hardfirst.report.blocks import (
    Chart,
    Content,
    Paragraphs,
    Section,
    Table,
    TableCell,
    TableRow,
    interval_cell,
    method_cell,
    number_cell,
    row,
    table,
)
from hardfirst.report.figures import (
    Figure,
    Style,
    Styles,
    Trace,
    chart_text,
    horizontal_rule,
    padded_range,
    panel_axes,
    small_multiples,
    vertical_rule,
)
from hardfirst.report.model.case import Case
from hardfirst.statistics import Interval, gap_correlation, mean_interval, starvation_gap
from hardfirst.statistics.intervals import Array

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
_FEWEST_TASKS = 3  # for a correlation
_LEAST_SPREAD = 0.005  # of weights that are worth drawing


def section(case: Case, styles: Styles) -> Section | None:
    """Each task's gap and weights; None without single-task networks and equal weights that share a seed."""
    if not case.single or EQUAL not in case.methods:
        return None
    gaps = dict(zip(case.tasks, starvation_gap(case.single_points(), case.points(EQUAL)), strict=True))
    if not any(gap.n for gap in gaps.values()):
        return None
    weights = {method: means for method in case.others if not np.isnan(means := _mean_weights(case, method)).all()}
    blocks = (Paragraphs(_reading(case, weights)), _table(case, gaps, weights, styles))
    drawn = {method: means for method, means in weights.items() if np.nanmax(means) - np.nanmin(means) > _LEAST_SPREAD}
    if not drawn:
        return Section("Who is starved?", blocks)
    heading = "Mean weight against the starvation gap in points"
    return Section("Who is starved?", (*blocks, Chart("starvation", heading, _CHART, _figure(gaps, drawn, styles))))


def _reading(case: Case, weights: Weights) -> tuple[str, ...]:
    """How to read the table."""
    correlation = _CORRELATION if len(case.tasks) >= _FEWEST_TASKS else ""
    return (_READING, _WEIGHTS + correlation) if weights else (_READING,)


def _mean_weights(case: Case, method: str) -> Array:
    """[tasks]: the task's weight relative to the mean over tasks, averaged over seeds."""
    return np.array([mean_interval(by_seed).mean for by_seed in case.weights(method).T])


# The table


def _table(case: Case, gaps: Gaps, weights: Weights, styles: Styles) -> Table:
    n = max(gap.n for gap in gaps.values())
    methods = [method_cell(method, styles, "weight") for method in weights]
    rows = [
        _row(case, task, gap, [means[index] for means in weights.values()], n)
        for index, (task, gap) in enumerate(gaps.items())
    ]
    if weights and len(case.tasks) >= _FEWEST_TASKS:
        means = [gap.mean for gap in gaps.values()]
        correlations = [number_cell(gap_correlation(each, means), "+z.2f") for each in weights.values()]
        rows.append(row("correlation with the gap", ["", "", "", *correlations], over_tasks=True))
    head: list[Content] = ["Task", SINGLE, "equal weights", TableCell("Gap", f"n = {n}"), *methods]
    return table("Starvation gap and weights by task", _caption(gaps), head, rows)


def _caption(gaps: Gaps) -> str:
    if all(gap.n < 2 for gap in gaps.values()):
        return "Test KPI and gap in points, of one seed."
    return (
        "Test KPI and gap in points: means over seeds with 95% intervals; the gap is paired by seed. Each interval stands "
        f"alone: among {len(gaps)} tasks some may leave out 0 by chance."
    )


def _row(case: Case, task: str, gap: Interval, weights: list[float], n: int) -> TableRow:
    column = case.tasks.index(task)
    kpis = [mean_interval(points[:, column]) for points in (case.single_points(), case.points(EQUAL))]
    gap_cell = interval_cell(gap, "+z.1f", n, note="starved" if gap.low > 0 else "")
    weight_cells = [number_cell(weight, ".2f") for weight in weights]
    return row(task, [*(interval_cell(kpi, "z.1f", n) for kpi in kpis), gap_cell, *weight_cells])


# The chart


def _figure(gaps: Gaps, weights: Weights, styles: Styles) -> Figure:
    """A panel for each method."""
    across = padded_range([0, *(end for gap in gaps.values() for end in gap[:3])])
    upwards = padded_range([0, 1, *(weight for means in weights.values() for weight in means)])
    return small_multiples(
        list(weights),
        [_trace(panel, gaps, means, styles[method]) for panel, (method, means) in enumerate(weights.items())],
        height=200,
        x_axes={"nticks": 6, "range": across},
        y_axes={"nticks": 5, "range": upwards},
        hovermode="closest",
        # no gap, and an equal share
        shapes=[rule for panel in range(len(weights)) for rule in (vertical_rule(panel, 0), horizontal_rule(panel, 1))],
        x="gap, points",
        y="weight",
    )


def _trace(panel: int, gaps: Gaps, weights: Array, style: Style) -> Trace:
    """The tasks that have both a gap and a weight."""
    shown = [
        (task, gap, float(weight))
        for (task, gap), weight in zip(gaps.items(), weights, strict=True)
        if gap.n and not math.isnan(weight)
    ]
    half = [gap.high - gap.mean if gap.n > 1 else 0 for _, gap, _ in shown]
    return {
        **panel_axes(panel),
        "x": [gap.mean for _, gap, _ in shown],
        "y": [weight for *_, weight in shown],
        "error_x": {"type": "data", "array": half, "color": style.colour, "thickness": 1, "width": 0},
        "text": [f"{chart_text(task)}: gap {gap:+z.1f}, weight {weight:.2f}" for task, gap, weight in shown],
        "mode": "markers",
        "marker": style.marker | {"size": 8},
        "hovertemplate": "%{text}<extra></extra>",
    }
