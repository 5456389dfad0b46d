"""A study of orders of tasks: its statistics and what they say, in sentences."""

import numpy as np

from hardfirst.records.names import EASY_FIRST, HARD_FIRST
from hardfirst.report.model.case import Case, order_of
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.interval_text import count_text, p_text, points_text
from hardfirst.statistics import Interval, holm, paired_interval, position_effects, position_test, sign_flip
from hardfirst.statistics.intervals import Array

_ALPHA = 0.05


def sentences(case: Case) -> list[str]:
    """What the study says of places, and of hard tasks first against easy ones; empty if it compared no orders."""
    return [*_on_places(case), *_on_difficulty(case)] if case.orders else []


def place_effects(case: Case, task: str) -> tuple[Interval, ...]:
    """The effect of each place on the task's test KPI, in points."""
    return position_effects(*_points_and_positions(case, task))


def place_tests(case: Case) -> dict[str, float]:
    """By task, the p-value of the hypothesis that its place has no effect on it, Holm-corrected over the tasks."""
    raw = [position_test(*_points_and_positions(case, task)) for task in case.tasks]
    return dict(zip(case.tasks, holm(raw).tolist(), strict=True))


def compares_difficulty(case: Case) -> bool:
    """Whether the study ran hard tasks first and easy tasks first."""
    return HARD_FIRST in case.methods and EASY_FIRST in case.methods


def order_text(case: Case, method: str) -> str:
    """The method's order of tasks."""
    return " → ".join(order_of(case.of(method)[0]))


def _points_and_positions(case: Case, task: str) -> tuple[Array, list[int]]:
    """[seeds, orders]: the task's test KPI × 100; [orders]: its position."""
    column = case.tasks.index(task)
    points = np.stack([case.points(method)[:, column] for method in case.orders], axis=1)
    return points, [order.index(task) for order in case.orders.values()]


def _on_places(case: Case) -> list[str]:
    tests = place_tests(case)
    affected = [task for task, p in tests.items() if p <= _ALPHA]
    each = ", ".join(f"{task} {p_text(p)}" for task, p in tests.items())
    test = f"permutation p, Holm-corrected over {count_text(len(tests), 'task')}"
    if not affected:
        return [f"No task's place in the order makes a difference to it that can be told from chance ({test}: {each})."]
    return [
        f"Its place in the order makes a difference to {', '.join(affected)} ({test}: {each}).",
        *(_best_and_worst(case, task) for task in affected),
    ]


def _best_and_worst(case: Case, task: str) -> str:
    effects = [(effect, number) for number, effect in enumerate(place_effects(case, task), start=1) if effect.n]
    (worst, first), (best, last) = min(effects), max(effects)
    return (
        f"{task} does best in place {last} ({points_text(best, '+')}, against its mean over all orders) and worst in place "
        f"{first} ({points_text(worst, '+')})."
    )


def _on_difficulty(case: Case) -> list[str]:
    if not compares_difficulty(case):
        return []
    return [f"Hard tasks first is {order_text(case, HARD_FIRST)}.", *(_decision(case, scope) for scope in (MEAN, WORST))]


def _decision(case: Case, scope: Scope) -> str:
    hard, easy = scope.points(case, HARD_FIRST), scope.points(case, EASY_FIRST)
    difference, p = paired_interval(hard, easy), sign_flip(hard - easy)
    what = "cannot be told apart from"
    if p <= _ALPHA:
        what = "is above" if difference.mean > 0 else "is below"
    difference_text = points_text(difference, "+")
    return f"{HARD_FIRST} {what} {EASY_FIRST} {scope.where}: {difference_text}, sign-flip p = {p_text(p)}."
