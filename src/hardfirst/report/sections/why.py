"""Why a method gains: whether its weights go to the starved tasks, and what its controls show."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from hardfirst.report.blocks import (
    Block,
    Chart,
    Content,
    Paragraphs,
    Section,
    Table,
    TableCell,
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
from hardfirst.report.labels import Ends, Point, name_points
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.case import Case
from hardfirst.report.sections import controls
from hardfirst.report.text.interval_text import count_text, listed
from hardfirst.statistics import Interval, gap_correlation, mean_interval, number_text
from hardfirst.statistics.intervals import Array

Weights = Mapping[str, Array]
"""By method, [tasks], × an equal share."""

_FEWEST_TASKS = 3  # for a correlation
_LEAST_SPREAD = 0.005  # of weights that are worth drawing
_PANEL, _SMALLEST = 230, (250.0, 180.0)  # pixels: the height of a panel, and the size that names have to fit into
_CAPTION = (
    "A point is a task. Further to the right, it loses more by sharing (single-task − equal weights, in points); further "
    "up, the method gives it more weight. Bars are 95% t intervals of the gap."
)


def section(facts: Answer, styles: Styles) -> Section | None:
    """Starvation against weight, and the controls; None if there is neither."""
    blocks = [*_starvation(facts, styles), *controls.blocks(facts.case)]
    return Section("Why", tuple(blocks), anchor="why", short="Why") if blocks else None


def _starvation(facts: Answer, styles: Styles) -> list[Block]:
    if not facts.gaps:
        return []
    weights = {
        row.name: means for row in facts.board.rows if not np.isnan(means := _mean_weights(facts.case, row.name)).all()
    }
    drawn = {method: means for method, means in weights.items() if np.nanmax(means) - np.nanmin(means) > _LEAST_SPREAD}
    words = Paragraphs((*_starved(facts), *_given(facts, drawn)))
    if not drawn:
        return [words]
    chart = Chart(
        "starvation",
        "Weight against starvation gap",
        _CAPTION,
        _figure(facts, drawn, styles),
        _numbers(facts, weights, styles),
    )
    return [words, chart]


def _mean_weights(case: Case, method: str) -> Array:
    """[tasks]: the task's weight relative to the mean over tasks, averaged over seeds."""
    return np.array([mean_interval(by_seed).mean for by_seed in case.weights(method).T])


# The sentences


def _starved(facts: Answer) -> list[str]:
    measured = {task: gap for task, gap in facts.gaps.items() if gap.bounded}
    if not measured:
        return []
    starved = facts.starved
    if not starved:
        task = max(measured, key=lambda task: measured[task].mean)
        return [f"No task is shown to be starved; the largest gap is that of `{task}`, {measured[task]:+z.1f} points."]
    most = starved[0]
    verb, whose = ("is", "its") if len(starved) == 1 else ("are", "their")
    return [
        f"{len(starved)} of {count_text(len(measured), 'task')} {verb} starved: a network of {whose} own does better, for "
        f"`{most}` by {facts.gaps[most]:z.1f} points."
    ]


def _given(facts: Answer, weights: Weights) -> list[str]:
    """To which task the leading method gives most, and whether its weights follow the gap."""
    method = facts.lead.name if facts.lead and facts.lead.name in weights else next(iter(weights), None)
    if method is None:
        return []
    tasks = facts.case.tasks
    most = int(np.nanargmax(weights[method]))
    sentence = f"`{method}` gives `{tasks[most]}` {weights[method][most]:.1f} times an equal share"
    correlations = {name: _correlation(facts, means) for name, means in weights.items()}
    if not math.isnan(correlations[method]):
        found = correlations[method]
        verb = "follow" if found > 0.5 else "go against" if found < -0.3 else "hardly follow"
        sentence += f"; its weights {verb} the starvation gap (correlation {number_text(found, '+.2f')})"
    against = [name for name, value in correlations.items() if value < -0.3 and name != method]
    rest = [f"Those of {listed(against)} go to the tasks that lose least."] if against else []
    return [" ".join([f"{sentence}.", *rest])]


def _correlation(facts: Answer, means: Array) -> float:
    gaps = [facts.gaps[task].mean if task in facts.gaps else math.nan for task in facts.case.tasks]
    return gap_correlation(means, gaps)


# The numbers


def _numbers(facts: Answer, weights: Weights, styles: Styles) -> Table:
    rows = [
        row(
            task,
            [TableCell(f"{gap:+z.1f}", value=gap.mean), *(number_cell(means[index], ".2f") for means in weights.values())],
        )
        for index, task in enumerate(facts.case.tasks)
        if (gap := facts.gaps.get(task))
    ]
    if len(facts.case.tasks) >= _FEWEST_TASKS:
        correlations = [number_cell(_correlation(facts, means), "+z.2f") for means in weights.values()]
        rows.append(row("correlation with the gap", ["", *correlations], "over-tasks"))
    head: list[Content] = ["Task", "Gap, points", *(method_cell(method, styles, "weight") for method in weights)]
    return table("Starvation gap and weights by task", "", head, rows)


# The chart


def _figure(facts: Answer, weights: Weights, styles: Styles) -> Figure:
    """A panel for each method."""
    across = padded_range([0, *(end for gap in facts.gaps.values() for end in gap[:3])])
    upwards = padded_range([0, 1, *(weight for means in weights.values() for weight in means)])
    points = {method: _points(facts, means) for method, means in weights.items()}
    figure = small_multiples(
        list(weights),
        [_trace(panel, points[method], styles[method]) for panel, method in enumerate(weights)],
        height=_PANEL,
        x_axes={"nticks": 6, "range": across},
        y_axes={"nticks": 5, "range": upwards},
        hovermode="closest",
        # no gap, and an equal share
        shapes=[rule for panel in range(len(weights)) for rule in (vertical_rule(panel, 0), horizontal_rule(panel, 1))],
        x="starvation gap, points",
        y="weight, × equal share",
    )
    ends = Ends(across, upwards, *_SMALLEST)
    for panel, method in enumerate(weights):
        figure["layout"]["annotations"] += name_points(points[method], ends, panel)
    return figure


def _points(facts: Answer, weights: Array) -> list[Point]:
    """The tasks that have both a gap and a weight; the most starved get their names first."""
    shown = [
        Point(facts.gaps[task], Interval(float(weight), math.nan, math.nan, 0), task)
        for task, weight in zip(facts.case.tasks, weights, strict=True)
        if task in facts.gaps and not math.isnan(weight)
    ]
    return sorted(shown, key=lambda point: -point.x.mean)


def _trace(panel: int, points: Sequence[Point], style: Style) -> Trace:
    half = [point.x.high - point.x.mean if point.x.bounded else 0 for point in points]
    return {
        **panel_axes(panel),
        "x": [point.x.mean for point in points],
        "y": [point.y.mean for point in points],
        "error_x": {"type": "data", "array": half, "color": style.colour, "thickness": 1, "width": 0},
        "text": [chart_text(point.name) for point in points],
        "mode": "markers",
        "marker": style.marker | {"size": 8},
        "hovertemplate": "%{text}: gap %{x:+.1f}, weight %{y:.2f}<extra></extra>",
    }
