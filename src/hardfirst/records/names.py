"""The names that a study gives to its runs, as they stand in study.json."""

from typing import Literal

Role = Literal["method", "static", "grid", "single", "control", "order"]

EQUAL = "equal"
OWN = "own"
"""What a problem's first network is called."""

STATIC = "static weights"
SINGLE = "single-task"
GRID = "grid of static weights"
ORDER = "order of tasks"
ORDERS = "orders of tasks"
EASY, RAW, FROZEN = "easy first", "raw weights", "frozen average"
