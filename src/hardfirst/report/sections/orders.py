"""The sections of a study of orders: what a task's place does to it, and hard tasks first against easy ones."""

import html
import math
from collections.abc import Callable

import numpy as np

from hardfirst.report.blocks import Section, count, paragraphs, place
from hardfirst.report.figures import BLUE, GREY, Figure, _axis, _layout, _place, reach
from hardfirst.report.model.case import Array, Case, order_of
from hardfirst.report.model.summary import mean_task
from hardfirst.report.sections.tables import cells, table
from hardfirst.report.text.interval_text import points_of
from hardfirst.statistics import (
    Interval,
    holm,
    mean_interval,
    paired_interval,
    position_effects,
    position_test,
    sign_flip,
    worst_task,
)

HARD, EASY = "hard_first", "easy_first"
_ALPHA = 0.05


def sections(case: Case) -> list[Section]:
    """What is there to show of orders; nothing where no orders were compared."""
    if not case.orders:
        return []
    chart = place(
        "places", "Effect of a task's place, in points", "Means over seeds with 95% intervals; place 1 is the first."
    )
    where = Section(
        "What a task's place does to it", (paragraphs(_reading(case)), _places(case), chart), {"places": _figure(case)}
    )
    return [where, Section("Hard tasks first, or easy ones?", (_contrast(case),))] if _both(case) else [where]


def sentences(case: Case) -> list[str]:
    """What the study says of places, and of hard tasks first against easy ones; nothing where no orders were compared."""
    return [*_on_places(case), *_on_difficulty(case)] if case.orders else []


# Places


def _points(case: Case, task: str) -> Array:
    """[seeds, orders]: the task's test KPI × 100."""
    column = case.tasks.index(task)
    return np.stack([case.points(method)[:, column] for method in case.orders], axis=1)


def _standing(case: Case, task: str) -> list[int]:
    """[orders]: where the task stands."""
    return [order.index(task) for order in case.orders.values()]


def _effects(case: Case, task: str) -> tuple[Interval, ...]:
    return position_effects(_points(case, task), _standing(case, task))


def _tests(case: Case) -> dict[str, float]:
    """By task, the p-value that its place does nothing to it, Holm-corrected over the tasks."""
    raw = [position_test(_points(case, task), _standing(case, task)) for task in case.tasks]
    return dict(zip(case.tasks, holm(raw).tolist(), strict=True))


def _on_places(case: Case) -> list[str]:
    tests = _tests(case)
    found = [task for task, p in tests.items() if p <= _ALPHA]
    each = ", ".join(f"{task} {_p(p)}" for task, p in tests.items())
    test = f"permutation p, Holm-corrected over {count(len(tests), 'task')}"
    if not found:
        return [f"No task's place in the order makes a difference to it that can be told from chance ({test}: {each})."]
    return [
        f"Its place in the order makes a difference to {', '.join(found)} ({test}: {each}).",
        *(_range(case, task) for task in found),
    ]


def _range(case: Case, task: str) -> str:
    effects = [(effect, number) for number, effect in enumerate(_effects(case, task), start=1) if effect.n]
    (worst, first), (best, last) = min(effects), max(effects)
    return (
        f"{task} does best in place {last} ({points_of(best, '+')}, against its mean over all orders) and worst in place "
        f"{first} ({points_of(worst, '+')})."
    )


def _reading(case: Case) -> list[str]:
    tasks, orders = len(case.tasks), len(case.orders)
    every = orders == math.factorial(tasks)
    which = "all that there are" if every else "those of a Latin square, in which each task has each place once"
    return [
        f"{count(orders, 'order')} of {count(tasks, 'task')} were run with equal weights, {which}. An effect is a task's "
        "test KPI in the orders that have it in a place, less its KPI on the average of all orders with the same seed.",
        "The test is by permutation: if the order did nothing to a task, the runs of a seed could as well have belonged to "
        f"each other's orders. p is Holm-corrected over {count(tasks, 'task')}.",
    ]


def _places(case: Case) -> str:
    tests = _tests(case)
    head = ["Task", "p", *(f"Place {number}" for number in range(1, len(case.tasks) + 1))]
    rows = [
        ("", cells(html.escape(task), [_p(tests[task]), *(f"{effect:+z.1f}" for effect in _effects(case, task))]))
        for task in case.tasks
    ]
    caption = "Effect of a task's place on its own test KPI, in points: mean over seeds with its 95% interval."
    return table("Effect of a task's place by task", caption, head, rows)


def _figure(case: Case) -> Figure:
    """A panel for each task, a point for each place."""
    effects = [_effects(case, task) for task in case.tasks]
    ends = [0.0, *(end for found in effects for effect in found for end in effect[:3])]
    data = [
        {
            **_place(panel),
            "name": "",
            "x": list(range(1, len(found) + 1)),
            "y": [effect.mean for effect in found],
            "error_y": {
                "array": [_half(effect) for effect in found],
                "color": GREY,
                "thickness": 1.5,
                "width": 4,
            },
            "mode": "lines+markers",
            "line": {"color": BLUE, "width": 1.5, "dash": "dot"},
            "marker": {"color": BLUE, "size": 7},
            "hovertemplate": "place %{x}: %{y:+.1f}",
        }
        for panel, found in enumerate(effects)
    ]
    layout = _layout(case.tasks)
    layout["shapes"] = [_level(panel) for panel in range(len(effects))]
    for panel, found in enumerate(effects):
        layout[_axis("xaxis", panel)] = {"tickvals": list(range(1, len(found) + 1)), "range": [0.7, len(found) + 0.3]}
        layout[_axis("yaxis", panel)] = {"range": reach(ends), "nticks": 6}
    return {"panels": len(effects), "height": 220, "data": data, "layout": layout, "x": "place", "y": "points"}


def _half(effect: Interval) -> float:
    return 0.0 if math.isnan(effect.high) else effect.high - effect.mean


def _level(panel: int) -> dict[str, object]:
    """A line at no effect."""
    return {
        "type": "line",
        "layer": "below",
        "xref": f"{_axis('x', panel)} domain",
        "yref": _axis("y", panel),
        "x0": 0,
        "x1": 1,
        "y0": 0,
        "y1": 0,
        "line": {"color": GREY, "dash": "dot", "width": 1},
    }


# Hard tasks first against easy ones


def _both(case: Case) -> bool:
    return HARD in case.methods and EASY in case.methods


def _order(case: Case, method: str) -> str:
    return " → ".join(order_of(case.of(method)[0]))


def _on_difficulty(case: Case) -> list[str]:
    if not _both(case):
        return []
    found = [_decided(case, mean_task, "on the mean over tasks"), _decided(case, worst_task, "on the worst task")]
    return [f"Hard tasks first is {_order(case, HARD)}.", *found]


def _decided(case: Case, over_tasks: Callable[[Array], Array], where: str) -> str:
    hard, easy = over_tasks(case.points(HARD)), over_tasks(case.points(EASY))
    difference, p = paired_interval(hard, easy), sign_flip(hard - easy)
    what = "cannot be told apart from"
    if p <= _ALPHA:
        what = "is above" if difference.mean > 0 else "is below"
    return f"{HARD} {what} {EASY} {where}: {points_of(difference, '+')}, sign-flip p = {_p(p)}."


def _contrast(case: Case) -> str:
    hard, easy = case.points(HARD), case.points(EASY)
    values = [(task, hard[:, column], easy[:, column]) for column, task in enumerate(case.tasks)]
    over = [("worst task", worst_task(hard), worst_task(easy)), ("mean over tasks", mean_task(hard), mean_task(easy))]
    rows = [("", _row(*each)) for each in values] + [("over-tasks", _row(*each)) for each in over]
    caption = (
        "Test KPI in points with tasks in the order of the validation KPIs of hard sharing, the lowest first or the highest "
        "first: means over seeds with 95% intervals. Differences are paired by seed; p is that of the sign-flip test, not "
        "corrected for the number of rows."
    )
    head = ["Task", f"{HARD}<small>{html.escape(_order(case, HARD))}</small>"]
    head += [f"{EASY}<small>{html.escape(_order(case, EASY))}</small>", "Difference", "p"]
    return table("Hard tasks first against easy tasks first", caption, head, rows)


def _row(name: str, hard: Array, easy: Array) -> str:
    difference = f"{paired_interval(hard, easy):+z.1f}"
    return cells(
        html.escape(name),
        [f"{mean_interval(hard):z.1f}", f"{mean_interval(easy):z.1f}", difference, _p(sign_flip(hard - easy))],
    )


def _p(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
