"""The section on two tasks against each other: which methods static weights cannot reach."""

from collections.abc import Mapping, Sequence

from hardfirst._spec import format_value
from hardfirst.records.names import EQUAL
from hardfirst.report.blocks import Chart, Paragraphs, Section, key
from hardfirst.report.figures import GREY, Figure, Style, Styles, Trace, chart_text, padded_range, ring, single_panel
from hardfirst.report.model.case import Case, given_weights
from hardfirst.statistics import Interval, differences, mean_interval, pareto_front

Point = tuple[Interval, Interval]
Points = Mapping[str, Point]
"""By method or grid point, both tasks' test KPI."""

_CAPTION = (
    "Test KPI in points, one task against the other: means over seeds, with 95% intervals of each where there are several "
    "seeds. The methods look as in the key. "
)
_REFERENCE = "Static weights from the grid, and equal weights among them, are joined by the grey line. "
_RING = "What no other mean dominates has a ring."


def section(case: Case, styles: Styles) -> Section | None:
    """Test KPIs of the methods and of the grid of static weights; None unless there are two tasks and two points to show."""
    points = _points(case)
    if len(points) < 2:
        return None
    on_front = pareto_front([[interval.mean for interval in point] for point in points.values()])
    front = [name for name, is_on in zip(points, on_front, strict=True) if is_on]
    shown = [method for method in case.methods if method in points]
    caption = _CAPTION + (_REFERENCE if case.grid else "") + _RING
    heading = f"{case.tasks[1]} against {case.tasks[0]}"
    blocks = (
        Paragraphs(_sentences(case, points, front)),
        key(shown, styles, markers=True),
        Chart("pareto", heading, caption, _figure(case, points, front, styles)),
    )
    return Section("Pareto front", blocks)


def _points(case: Case) -> Points:
    """The methods and grid points with a test KPI of both tasks."""
    if len(case.tasks) != 2:
        return {}
    columns = {name: case.points(name).T for name in dict.fromkeys((*case.methods, *case.grid))}
    points = {name: (mean_interval(first), mean_interval(second)) for name, (first, second) in columns.items()}
    return {name: point for name, point in points.items() if point[0].n and point[1].n}


def _reference(case: Case, points: Points) -> list[str]:
    """The static weights of the grid, along the first task."""
    static = [name for name in dict.fromkeys((EQUAL, *case.grid)) if name in points] if case.grid else []
    return sorted(static, key=lambda name: (points[name][0].mean, -points[name][1].mean))


def _sentences(case: Case, points: Points, front: Sequence[str]) -> tuple[str, ...]:
    methods = [name for name in front if name in case.methods]
    static = [name for name in front if name in case.grid and name != EQUAL]
    others = [f"{len(static)} of the {len(set(case.grid) - {EQUAL})} unequal static weights from the grid"] if static else []
    on_front = f"On the Pareto front of all means: {', '.join(methods + others)}."
    reference = _reference(case, points)
    if not reference:
        return on_front, "There is no grid of static weights in this comparison to compare the methods with."
    rivals = [name for name in case.methods if name in points and name not in (*reference, *case.static.values())]
    beaten = [name for name in rivals if any(_dominates(points[static], points[name]) for static in reference)]
    left = [name for name in rivals if name not in beaten and name not in front]
    return (
        on_front,
        *([f"Dominated by static weights: {', '.join(beaten) or 'no method'}."] if rivals else []),
        *([f"Dominated by other methods alone: {', '.join(left)}."] if left else []),
        "This goes by means alone: where intervals overlap, other seeds may order them otherwise.",
    )


def _dominates(point: Point, other: Point) -> bool:
    gaps = differences([own.mean for own in point], [its.mean for its in other])
    return bool(gaps.min() >= 0 and gaps.max() > 0)


# The chart


def _figure(case: Case, points: Points, front: Sequence[str], styles: Styles) -> Figure:
    reference = _reference(case, points)
    x_axis, y_axis = (
        {
            "title": {"text": chart_text(case.tasks[task])},
            "nticks": 6,
            "range": padded_range(end for point in points.values() for end in point[task][:3]),
        }
        for task in range(2)
    )
    data = [_reference_line([points[name] for name in reference], reference)] if reference else []
    data.append(_rings([points[name] for name in front]))
    data += [_marker(method, points[method], styles[method]) for method in case.methods if method in points]
    return single_panel(data, height=420, width=720, x_axis=x_axis, y_axis=y_axis)


def _reference_line(points: Sequence[Point], names: Sequence[str]) -> Trace:
    return {
        **_positions(points),
        "name": "static weights from the grid",
        "text": [chart_text(_weights_text(name)) for name in names],
        "mode": "lines+markers",
        "line": {"color": GREY, "width": 1},
        "marker": {"color": GREY, "size": 6},
        "hovertemplate": "%{text}: %{x:.1f}, %{y:.1f}<extra></extra>",
    }


def _weights_text(name: str) -> str:
    """The weights of a grid point by task; its name if they have none."""
    weights = given_weights(name)
    return ", ".join(f"{task}={format_value(weight)}" for task, weight in weights.items()) or name


def _rings(points: Sequence[Point]) -> Trace:
    return {
        **_positions(points),
        "name": "on the Pareto front",
        "mode": "markers",
        "marker": ring(19),
        "hoverinfo": "skip",
    }


def _marker(method: str, point: Point, style: Style) -> Trace:
    name, values = chart_text(method), ", ".join(f"{interval:z.1f}" for interval in point)
    return {
        **_positions([point]),
        **{
            f"error_{axis}": _spread(interval, style) for axis, interval in zip("xy", point, strict=True) if interval.bounded
        },
        "name": name,
        "mode": "markers",
        "marker": style.marker | {"size": 10, "line": {"color": style.colour, "width": 1.5}},
        "hovertemplate": f"{name}: {values}, n = {point[0].n}<extra></extra>",
    }


def _positions(points: Sequence[Point]) -> Trace:
    return {"type": "scatter", "x": [first.mean for first, _ in points], "y": [second.mean for _, second in points]}


def _spread(interval: Interval, style: Style) -> dict[str, object]:
    return {"type": "data", "color": style.colour, "thickness": 1.5, "width": 0, "array": [interval.high - interval.mean]}
