"""Names that a study gives to its runs, as stored in study.json."""

from collections.abc import Sequence
from typing import Literal

Role = Literal["method", "static", "grid", "single", "control", "order", "candidate"]

EQUAL = "equal"
"""Equal weights: the baseline of a comparison of methods."""
OWN = "own"
"""A problem's own first network."""

STATIC = "static weights"
"""Static weights chosen from a grid by the criterion: in older studies, and where one task alone has a KPI."""
STATIC_FOR = {"worst": "static weights (worst task)", "mean": "static weights (mean)"}
"""By headline measure, the static weights chosen from a grid for it."""
STATIC_CRITERION = "static weights (criterion)"
"""Static weights chosen from a grid by the criterion, where that is none of the headline measures."""
SINGLE = "single-task"
TREES = "gradient-boosted trees"
GRID = "grid of static weights"
ORDER = "order of tasks"
ORDERS = "orders of tasks"
HARD_TASKS, AVERAGE, RATE = "hard tasks", "average of dtp", "learning rate"
"""What the first runs of a search are for; a criterion of hard tasks has a run for these as well."""
WINNER = "winner"
"""The row that counts the fresh runs of a search's winner."""
EASY, RAW, FROZEN = "easy first", "raw weights", "frozen average"
"""Controls of DTP."""
NO_RESTART, NO_ANNEALING = "no restart", "no annealing"
"""Controls of `hard_first`."""
HARD_FIRST, EASY_FIRST = "hard_first", "easy_first"
"""Orders of tasks by measured difficulty."""


def static_by_measure(names: Sequence[str]) -> dict[str, str]:
    """By headline measure, and "criterion" if a study chose by another one, which of these static weights are for it.

    >>> static_by_measure(["static weights (mean)", "static weights (worst task)"])
    {'worst': 'static weights (worst task)', 'mean': 'static weights (mean)'}
    >>> static_by_measure(["static weights"])
    {'worst': 'static weights', 'mean': 'static weights'}
    """
    headline = {measure: name if name in names else names[0] for measure, name in STATIC_FOR.items()} if names else {}
    return headline | ({"criterion": STATIC_CRITERION} if STATIC_CRITERION in names else {})


def joined(names: Sequence[str]) -> str:
    """Return the names of identical methods as one.

    >>> joined(["equal", "static weights (mean)"])
    'equal = static weights (mean)'
    >>> joined(["static weights (mean)", "static weights (worst task)"])
    'static weights (mean, worst task)'
    """
    static = [name for name in names if name in (*STATIC_FOR.values(), STATIC_CRITERION)]
    chosen = [name.removeprefix(f"{STATIC} (").removesuffix(")") for name in static]
    others = [name for name in names if name not in static]
    return " = ".join([*others, *([f"{STATIC} ({', '.join(chosen)})"] if chosen else [])])
