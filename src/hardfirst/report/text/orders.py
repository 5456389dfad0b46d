"""A study of orders of tasks: its statistics and what they say, in sentences."""

import numpy as np

from hardfirst.records.names import EASY_FIRST, HARD_FIRST
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.case import Case, order_of
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text import headline as text
from hardfirst.report.text.headline import Headline
from hardfirst.report.text.interval_text import bounds_text, count_text, listed, p_text, points_text
from hardfirst.report.text.tiles import Tile
from hardfirst.statistics import (
    Interval,
    fewest_seeds,
    holm,
    number_text,
    paired_interval,
    position_effects,
    position_test,
    sign_flip,
)
from hardfirst.statistics.intervals import Array

_ALPHA = 0.05


def sentences(case: Case) -> list[str]:
    """What the study says of places, and of hard tasks first against easy ones; empty if it compared no orders."""
    return [*_on_places(case), *_on_difficulty(case)] if case.orders else []


def headline(answer: Answer) -> Headline:
    """Whether a task's place matters to it, then how hard tasks first compare with easy ones, and both with the baseline."""
    case = answer.case
    found = text.headline(answer)
    against = [found.lead] if answer.paired else []
    return Headline(_lead(case), (*_difficulty(case), *against, *found.rest))


def _lead(case: Case) -> str:
    affected = affected_tasks(case)
    if not affected:
        return f"The order of tasks is not shown to matter to any of {count_text(len(case.tasks), 'task')}."
    if len(affected) > 1:
        return f"The order of tasks matters to {listed(affected)}."
    best, worst = (f"{place} ({number_text(effect.mean, '+z.1f')})" for effect, place in _best_and_worst(case, affected[0]))
    return (
        f"The order of tasks matters to `{affected[0]}`: it does best in place {best} and worst in place {worst}, against "
        "its mean over all orders."
    )


def affected_tasks(case: Case) -> list[str]:
    """The tasks whose place makes a difference to them, by the corrected test."""
    return [task for task, p in place_tests(case).items() if p <= _ALPHA]


def _best_and_worst(case: Case, task: str) -> tuple[tuple[Interval, int], tuple[Interval, int]]:
    """The greatest and the least effect of a place, each with the place."""
    effects = [(effect, place) for place, effect in enumerate(place_effects(case, task), start=1) if effect.n]
    return max(effects), min(effects)


def _difficulty(case: Case) -> list[str]:
    if not compares_difficulty(case):
        return []
    found = {scope: contrast(case, scope) for scope in (MEAN, WORST)}
    clauses = [
        f"{number_text(interval.mean, '+z.1f')}{bounds_text(interval, '+')} {scope.where}, p = {p_text(p)}"
        for scope, (interval, p) in found.items()
    ]
    few = max(interval.n for interval, _ in found.values()) < fewest_seeds(1)
    differ = any(p <= _ALPHA for _, p in found.values())
    verb = "differs from" if differ else "cannot be told apart from"
    what = "Hard tasks first − easy tasks first" if few else f"Hard tasks first {verb} easy tasks first"
    return [f"{what}: {' and '.join(clauses)}{'; too few seeds to tell' if few else ''}."]


def contrast(case: Case, scope: Scope) -> tuple[Interval, float]:
    """Hard tasks first − easy tasks first in points, and the p-value of the sign-flip test."""
    hard, easy = scope.points(case, HARD_FIRST), scope.points(case, EASY_FIRST)
    return paired_interval(hard, easy), sign_flip(hard - easy)


def tiles(case: Case) -> tuple[Tile, ...]:
    """To how many tasks the order matters, and what hard tasks first change."""
    affected = len(affected_tasks(case))
    found = [Tile("Tasks whose place matters to them", f"{affected} of {len(case.tasks)}", "permutation test, corrected")]
    if compares_difficulty(case):
        for scope, label in ((WORST, "Worst task"), (MEAN, "Mean over tasks")):
            interval, _ = contrast(case, scope)
            note = f"{bounds_text(interval, '+').strip()} points, {count_text(interval.n, 'seed')}".strip()
            found.append(Tile(f"{label}, hard first − easy first", number_text(interval.mean, "+z.1f"), note))
    return tuple(found)


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
        *(_places_text(case, task) for task in affected),
    ]


def _places_text(case: Case, task: str) -> str:
    (best, last), (worst, first) = _best_and_worst(case, task)
    return (
        f"{task} does best in place {last} ({points_text(best, '+')}, against its mean over all orders) and worst in place "
        f"{first} ({points_text(worst, '+')})."
    )


def _on_difficulty(case: Case) -> list[str]:
    if not compares_difficulty(case):
        return []
    return [f"Hard tasks first is {order_text(case, HARD_FIRST)}.", *(_decision(case, scope) for scope in (MEAN, WORST))]


def _decision(case: Case, scope: Scope) -> str:
    difference, p = contrast(case, scope)
    what = "cannot be told apart from"
    if p <= _ALPHA:
        what = "is above" if difference.mean > 0 else "is below"
    difference_text = points_text(difference, "+")
    return f"{HARD_FIRST} {what} {EASY_FIRST} {scope.where}: {difference_text}, sign-flip p = {p_text(p)}."
