"""The section that sets two tasks against each other: which methods lie beyond what static weights reach."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hardfirst.report.blocks import Section, paragraphs, place
from hardfirst.report.figures import GREY, Figure, Style, reach
from hardfirst.report.model.case import EQUAL, Case
from hardfirst.report.sections import charts
from hardfirst.statistics import Interval, mean_interval, pareto_front

Means = Mapping[str, tuple[Interval, Interval]]

_CAPTION = (
    "Test KPI in points, one task against the other: means over seeds, with 95% intervals of each where there are several "
    "seeds. The methods look as in the key. "
)
_REFERENCE = "Static weights from the grid, and equal weights among them, are joined by the grey line. "
_RING = "What no other mean dominates has a ring."


def section(case: Case, looks: Mapping[str, Style]) -> Section | None:
    """Test KPIs of the methods and of the grid of static weights; None unless there are two tasks and two points to show."""
    found = _means(case)
    if len(found) < 2:
        return None
    front = [name for name, on in zip(found, pareto_front(_centres(found)), strict=True) if on]
    caption = _CAPTION + (_REFERENCE if case.grid else "") + _RING
    blocks = (
        paragraphs(_sentences(case, found, front)),
        charts.key([method for method in case.methods if method in found], looks, points=True),
        place("pareto", f"{html.escape(case.tasks[1])} against {html.escape(case.tasks[0])}", caption),
    )
    return Section("Pareto front", blocks, {"pareto": _figure(case, found, front, looks)})


def _means(case: Case) -> Means:
    """Both tasks' test KPI in points, for each method and grid point that has one."""
    if len(case.tasks) != 2:
        return {}
    columns = {name: case.points(name).T for name in dict.fromkeys((*case.methods, *case.grid))}
    means = {name: (mean_interval(first), mean_interval(second)) for name, (first, second) in columns.items()}
    return {name: both for name, both in means.items() if both[0].n and both[1].n}


def _centres(means: Means) -> list[list[float]]:
    return [[interval.mean for interval in both] for both in means.values()]


def _reference(case: Case, means: Means) -> list[str]:
    """The static weights of the grid, along the first task."""
    static = [name for name in dict.fromkeys((EQUAL, *case.grid)) if name in means] if case.grid else []
    return sorted(static, key=lambda name: (means[name][0].mean, -means[name][1].mean))


def _sentences(case: Case, means: Means, front: Sequence[str]) -> list[str]:
    on = [name for name in front if name in case.methods]
    static = [name for name in front if name in case.grid and name != EQUAL]
    others = [f"{len(static)} of the {len(set(case.grid) - {EQUAL})} unequal static weights from the grid"] if static else []
    sentences = [f"On the Pareto front of all means: {', '.join(on + others)}."]
    reference = _reference(case, means)
    if not reference:
        sentences.append("There is no grid of static weights in this comparison to hold the methods against.")
        return sentences
    rivals = [name for name in case.methods if name in means and name not in (*reference, case.static)]
    beaten = [name for name in rivals if any(_dominates(means[static], means[name]) for static in reference)]
    left = [name for name in rivals if name not in beaten and name not in front]
    if rivals:
        sentences.append(f"Dominated by static weights: {', '.join(beaten) or 'no method'}.")
    if left:
        sentences.append(f"Dominated by other methods alone: {', '.join(left)}.")
    return [*sentences, "This goes by means alone: where intervals overlap, other seeds may order them otherwise."]


def _dominates(one: tuple[Interval, Interval], other: tuple[Interval, Interval]) -> bool:
    differences = [mine.mean - its.mean for mine, its in zip(one, other, strict=True)]
    return min(differences) >= 0 and max(differences) > 0


def _figure(case: Case, means: Means, front: Sequence[str], looks: Mapping[str, Style]) -> Figure:
    reference = _reference(case, means)
    shown = [method for method in case.methods if method in means]
    ends = [[end for both in means.values() for end in both[task][:3]] for task in range(2)]
    layout = {
        "showlegend": False,
        "hovermode": "closest",
        **{
            f"{axis}axis": {"title": {"text": html.escape(task)}, "nticks": 6, "range": reach(found)}
            for axis, task, found in zip("xy", case.tasks, ends, strict=True)
        },
    }
    data = [_line(case, means, reference)] if reference else []
    data += [_ring(means, front), *(_point(method, means[method], looks[method]) for method in shown)]
    return {"panels": 1, "height": 420, "width": 720, "data": data, "layout": layout}


def _line(case: Case, means: Means, reference: Sequence[str]) -> dict[str, Any]:
    return {
        **_at([means[name] for name in reference]),
        "name": "static weights from the grid",
        "text": [html.escape(_weights(name)) for name in reference],
        "mode": "lines+markers",
        "line": {"color": GREY, "width": 1},
        "marker": {"color": GREY, "size": 6},
        "hovertemplate": "%{text}: %{x:.1f}, %{y:.1f}<extra></extra>",
    }


def _weights(name: str) -> str:
    """What a grid point gives to each task."""
    return ", ".join(re.findall(r"weights\.([^,]+)", name)) or name


def _ring(means: Means, front: Sequence[str]) -> dict[str, Any]:
    return {
        **_at([means[name] for name in front]),
        "name": "on the Pareto front",
        "mode": "markers",
        "marker": {"symbol": "circle-open", "color": GREY, "size": 19, "line": {"width": 1.5}},
        "hoverinfo": "skip",
    }


def _point(method: str, both: tuple[Interval, Interval], look: Style) -> dict[str, Any]:
    name, values = html.escape(method), ", ".join(f"{interval:z.1f}" for interval in both)
    return {
        **_at([both]),
        **{f"error_{axis}": _spread(interval, look) for axis, interval in zip("xy", both, strict=True) if interval.n > 1},
        "name": name,
        "mode": "markers",
        "marker": {"symbol": look.symbol, "color": look.colour, "size": 10, "line": {"color": look.colour, "width": 1.5}},
        "hovertemplate": f"{name}: {values}, n = {both[0].n}<extra></extra>",
    }


def _at(points: Sequence[tuple[Interval, Interval]]) -> dict[str, Any]:
    return {"type": "scatter", "x": [first.mean for first, _ in points], "y": [second.mean for _, second in points]}


def _spread(interval: Interval, look: Style) -> dict[str, Any]:
    return {"type": "data", "color": look.colour, "thickness": 1.5, "width": 0, "array": [interval.high - interval.mean]}
