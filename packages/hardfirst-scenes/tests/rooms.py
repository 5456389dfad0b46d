"""Rooms made by hand. A column's ray is an eighth of a pixel right of its left edge, a row's in its middle."""

import numpy as np

from hardfirst_scenes._floor_plan import FloorPlan
from hardfirst_scenes._view import WIDTH, Camera, View

MIDDLE = WIDTH // 2


def ray(column: int) -> float:
    return (column + 0.125 - 80) / 80


def slope(row: int) -> float:
    return (row + 0.5 - 60) / 96


def plan_of(*lines: tuple[tuple[int, int], tuple[int, int], int, int], **options: object) -> FloorPlan:
    """Lines from, to, the sector to the right and the one to the left; every step and lintel has a texture."""
    count = 1 + max(max(line[2:]) for line in lines)
    plan = FloorPlan(
        ends=np.array([line[:2] for line in lines], float),
        sectors=np.array([line[2:] for line in lines]),
        steps=np.ones((len(lines), 2), bool),
        lintels=np.ones((len(lines), 2), bool),
        curtains=np.zeros(len(lines), bool),
        sky=np.zeros((count, 2), bool),
        heights=np.tile([0.0, 128.0], (count, 1)),
    )
    return plan._replace(**{name: np.array(value) for name, value in options.items()})


def room(**options: object) -> FloorPlan:
    """A room from (0, 0) to (256, 256)."""
    corners = [(0, 0), (0, 256), (256, 256), (256, 0)]
    return plan_of(*((corners[place - 1], corners[place], 0, -1) for place in range(4)), **options)


def two_rooms(**options: object) -> FloorPlan:
    """Two adjacent rooms, separated by the line at x = 256, which is the last and seen from its right."""
    first = [((0, 0), (0, 256), 0, -1), ((0, 256), (256, 256), 0, -1), ((256, 0), (0, 0), 0, -1)]
    second = [((256, 256), (512, 256), 1, -1), ((512, 256), (512, 0), 1, -1), ((512, 0), (256, 0), 1, -1)]
    return plan_of(*first, *second, ((256, 256), (256, 0), 0, 1), **options)


EAST = Camera(128.0, 128.0, 41.0, 0.0)


def column_of(view: View, column: int = MIDDLE) -> list[tuple[int, int]]:
    """The surfaces of a column from above, each with the row where it begins."""
    surface = view.surface[:, column]
    starts = [0, *(np.flatnonzero(np.diff(surface)) + 1)]
    return [(int(surface[row]), int(row)) for row in starts]
