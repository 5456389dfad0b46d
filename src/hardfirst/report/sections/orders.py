"""The sections of a study of orders: the effect of a task's place, and hard tasks first against easy ones."""

import math

from hardfirst.records.names import EASY_FIRST, HARD_FIRST
from hardfirst.report.blocks import (
    Chart,
    Fold,
    Look,
    Paragraphs,
    Section,
    Table,
    TableCell,
    TableRow,
    interval_cell,
    row,
    table,
)
from hardfirst.report.figures import BLUE, GREY, Figure, Trace, horizontal_rule, padded_range, panel_axes, small_multiples
from hardfirst.report.model.case import Case
from hardfirst.report.model.scopes import MEAN, WORST
from hardfirst.report.text.interval_text import count_text, p_text
from hardfirst.report.text.orders import compares_difficulty, order_text, place_effects, place_tests
from hardfirst.statistics import Interval, mean_interval, paired_interval, sign_flip
from hardfirst.statistics.intervals import Array


def sections(case: Case) -> list[Section]:
    """The sections on orders; empty if no orders were compared."""
    if not case.orders:
        return []
    caption = f"Means over seeds{_spread(case)}; place 1 is the first."
    chart = Chart("places", "Effect of a task's place, in points", caption, _figure(case))
    blocks = (_place_table(case), chart, Fold("How effects are measured and tested", (Paragraphs(_reading(case)),)))
    parts = [Section("What a task's place does to it", blocks, anchor="order", short="Places")]
    if compares_difficulty(case):
        parts.append(Section("Hard tasks first, or easy ones?", (_contrast_table(case),)))
    return parts


# Places


def _reading(case: Case) -> tuple[str, ...]:
    tasks, orders = count_text(len(case.tasks), "task"), len(case.orders)
    every = orders == math.factorial(len(case.tasks))
    which = "all that there are" if every else "those of a Latin square, in which each task has each place once"
    return (
        f"{count_text(orders, 'order')} of {tasks} were run with equal weights, {which}. An effect is a task's "
        "test KPI in the orders that have it in a place, less its KPI on the average of all orders with the same seed.",
        "The test is by permutation: if the order did nothing to a task, the runs of a seed could as well have belonged to "
        f"each other's orders. p is Holm-corrected over {tasks}.",
    )


def _ordered(case: Case) -> list[str]:
    """The tasks whose place matters most first."""
    tests = place_tests(case)
    return sorted(case.tasks, key=lambda task: math.inf if math.isnan(tests[task]) else tests[task])


def _spread(case: Case) -> str:
    return " with 95% intervals" if len(case.seeds) >= 3 else ""


def _place_table(case: Case) -> Table:
    tests = place_tests(case)
    head = ["Task", "p", *(f"Place {number}" for number in range(1, len(case.tasks) + 1))]
    rows = [
        row(task, [_p_cell(tests[task]), *(interval_cell(effect, "+z.1f") for effect in place_effects(case, task))])
        for task in _ordered(case)
    ]
    caption = f"Effect of a task's place on its own test KPI, in points: mean over seeds{_spread(case)}."
    return table("Effect of a task's place by task", caption, head, rows)


def _p_cell(p: float) -> TableCell:
    return TableCell(p_text(p), value=None if math.isnan(p) else p)


def _figure(case: Case) -> Figure:
    """A panel for each task, a point for each place."""
    effects = [place_effects(case, task) for task in _ordered(case)]
    ends = [0.0, *(end for by_place in effects for effect in by_place for end in effect[:3])]
    places = len(case.tasks)
    return small_multiples(
        _ordered(case),
        [_trace(panel, by_place) for panel, by_place in enumerate(effects)],
        height=220,
        x_axes={"tickvals": list(range(1, places + 1)), "range": [0.7, places + 0.3]},
        y_axes={"range": padded_range(ends), "nticks": 6},
        shapes=[horizontal_rule(panel, 0) for panel in range(len(effects))],
        x="place",
        y="points",
    )


def _trace(panel: int, effects: tuple[Interval, ...]) -> Trace:
    half = [0.0 if math.isnan(effect.high) else effect.high - effect.mean for effect in effects]
    return {
        **panel_axes(panel),
        "name": "",
        "x": list(range(1, len(effects) + 1)),
        "y": [effect.mean for effect in effects],
        "error_y": {"array": half, "color": GREY, "thickness": 1.5, "width": 4},
        "mode": "lines+markers",
        "line": {"color": BLUE, "width": 1.5, "dash": "dot"},
        "marker": {"color": BLUE, "size": 7},
        "hovertemplate": "place %{x}: %{y:+.1f}",
    }


# Hard tasks first against easy ones


def _contrast_table(case: Case) -> Table:
    hard, easy = case.points(HARD_FIRST), case.points(EASY_FIRST)
    rows = [_contrast_row(task, hard[:, column], easy[:, column]) for column, task in enumerate(case.tasks)]
    for scope in (WORST, MEAN):
        rows.append(_contrast_row(scope.title, scope.over_tasks(hard), scope.over_tasks(easy), "over-tasks"))
    caption = (
        "Test KPI in points with tasks in the order of the validation KPIs of hard sharing, the lowest first or the highest "
        "first: means over seeds with 95% intervals. Differences are paired by seed; p is that of the sign-flip test, not "
        "corrected for the number of rows."
    )
    orders = [TableCell(method, order_text(case, method)) for method in (HARD_FIRST, EASY_FIRST)]
    return table("Hard tasks first against easy tasks first", caption, ["Task", *orders, "Difference", "p"], rows)


def _contrast_row(name: str, hard: Array, easy: Array, look: Look = "") -> TableRow:
    cells = [
        interval_cell(mean_interval(hard), "z.1f"),
        interval_cell(mean_interval(easy), "z.1f"),
        interval_cell(paired_interval(hard, easy), "+z.1f"),
        _p_cell(sign_flip(hard - easy)),
    ]
    return row(name, cells, look)
