"""Validation KPIs and weights over epochs, of each task one above the other."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hardfirst.records import Record
from hardfirst.report.blocks import Block, Chart, Fold, Section, key
from hardfirst.report.figures import (
    Figure,
    Style,
    Styles,
    Trace,
    chart_text,
    horizontal_rule,
    panel_axes,
    small_multiples,
)
from hardfirst.report.model.answer import Answer
from hardfirst.statistics.intervals import Array

_OPEN = 3  # tasks that are shown at once
_OPAQUE_BANDS = 4  # bands that may overlap before they have to be fainter

EpochPoint = tuple[int, float, float, float]
"""Epoch, mean, lowest and highest value over seeds."""


def section(facts: Answer, styles: Styles) -> Section | None:
    """The tasks that moved most, and all others on demand; None if no run has reached a first epoch."""
    case = facts.case
    methods = [row.name for row in facts.board.rows if any(record.epochs for record in case.of(row.name))]
    if not methods:
        return None
    compared = any(row.tasks[task].difference for row in facts.board.rows for task in case.tasks)
    moved = sorted(case.tasks, key=lambda task: _interest(facts, task, compared=compared))
    shown = [task for task in case.tasks if task in moved[:_OPEN]]
    others = [task for task in case.tasks if task not in shown]
    weight = ", and below it the weight," if _has_weights(facts) else ""
    heading = f"Validation KPI{weight} over epochs"
    first = Chart("curves", heading, _caption(facts, methods), curves_figure(facts, shown, methods, styles))
    blocks: list[Block] = [key(methods, styles), first]
    if others:
        more = Chart("more-curves", "The same for the other tasks", "", curves_figure(facts, others, methods, styles))
        blocks.append(Fold(f"Show the other {len(others)} tasks" if len(others) > 1 else f"Show {others[0]} too", (more,)))
    which = "that moved most" if compared else "with the lowest KPI"
    name = f"Training curves: the {len(shown)} tasks {which}" if others else "Training curves"
    return Section(name, tuple(blocks), anchor="training", short="Curves")


def _interest(facts: Answer, task: str, *, compared: bool) -> float:
    """A sort key: minus the largest change of the task's test KPI, or its KPI if nothing is compared."""
    cells = [row.tasks[task] for row in facts.board.rows]
    changes = [cell.difference for cell in cells if cell.difference]
    values = [-abs(change.mean) for change in changes] if compared else [cell.kpi.mean for cell in cells]
    return min((value for value in values if not math.isnan(value)), default=math.inf)


def _caption(facts: Answer, methods: Sequence[str]) -> str:
    """What lines and bands are, and which runs they show."""
    case, parts = facts.case, ["KPI in points."]
    if _has_weights(facts):
        parts.append(
            "The weight is the mean over an epoch's steps of ∂total/∂loss, × an equal share: above 1 a task counts more."
        )
    for method in methods:
        if epochs := sorted({record.candidates[0]["epoch"] for record in case.of(method) if record.restarted}):
            parts.append(f"The network of {method} goes back to step 0 in epoch {', '.join(map(str, epochs))}.")
    if len(case.seeds) > 1:
        parts.append("Lines are means over seeds, bands reach from the lowest to the highest seed.")
    if any(record.outcome != "finished" for record in case.method_runs):
        parts.append("Only runs that finished are drawn; where none of a method's did, all of them.")
    return " ".join(parts)


def _has_weights(facts: Answer) -> bool:
    """One task has all the weight, and orders are compared under equal weights."""
    return len(facts.case.tasks) > 1 and not facts.case.orders


def validation_points(record: Record, task: str) -> Array:
    """[epochs]: the task's validation KPI × 100."""
    return 100 * np.array(record.curve(task, "validation_kpi"))


def relative_weight(record: Record, task: str) -> Array:
    """[epochs]: the task's effective weight relative to the mean over tasks; NaN where it had no label.

    That is comparable between methods, while the size of the weights acts like a learning rate.
    """
    weights = np.array([record.curve(name, "weight") for name in record.tasks])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(len(record.tasks) * weights[record.tasks.index(task)] / np.nansum(weights, axis=0))


def curves_figure(facts: Answer, tasks: Sequence[str], methods: Sequence[str], styles: Styles) -> Figure:
    """For each task its KPI over epochs and, if tasks have weights, its weight below it; a line and a band for each method.

    The finished runs are drawn, or all of a method's runs if none finished.
    """
    case, weighted = facts.case, _has_weights(facts)
    values = (validation_points, relative_weight) if weighted else (validation_points,)
    opacity = 0.16 * min(1, _OPAQUE_BANDS / len(methods))
    longest = max(len(record.epochs) for record in case.runs.values())
    data: list[Trace] = []
    y_axes: list[dict[str, Any]] = []
    for task in tasks:
        for number, value in enumerate(values):
            panel = len(y_axes)
            y_axes.append({"nticks": 4, "rangemode": "tozero"} if number else {"nticks": 5})
            for method in methods:
                runs = [value(record, task) for record in case.finished(method) or case.of(method)]
                data += _curve(panel, method, _over_seeds(runs), styles[method], opacity)
    titles = [title for task in tasks for title in (task, *[""] * weighted)]
    return small_multiples(
        titles,
        data,
        height=130 if weighted else 170,
        x_axes={"dtick": max(1, round(longest / 5)), "range": [0.5, longest + 0.5]},
        y_axes=y_axes,
        shapes=[horizontal_rule(panel, 1) for panel in range(1, len(titles), 2)] if weighted else [],
        x="epoch",
        y="KPI",
        table="task",
        **({"below": "weight"} if weighted else {}),
    )


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
