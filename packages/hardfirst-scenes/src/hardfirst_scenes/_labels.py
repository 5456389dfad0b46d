"""Targets of a frame: the surfaces predicted by the floor plan and confirmed by the engine, and the objects before them.

The engine gives two independent observations of each pixel. Its depth buffer has steps of `STEP` units, of which walls and
sky reach 63. Its label buffer distinguishes walls, floors or ceilings, and objects. A pixel keeps the plan's class, depth
and normal if both agree with the plan. If a curtain hangs there at the engine's depth, it becomes a wall; otherwise it is
ignored. Pixels are ignored at edges, where the two may differ by one pixel, and where a map uses a trick that `_view` does
not reproduce.

Classes: 0 wall, 1 floor, 2 ceiling, 3 sky, 4 monster, 5 item: 58.6%, 24.6%, 8.7%, 4.5%, 1.9% and 0.25% of the training
split's pixels. An item is something that a player can pick up. Trees, pillars, lamps, barrels and the dead have no class,
only depth: together they are 0.7%, a few pixels of each kind, and look too different for one class. Spectres are invisible
monsters, and have no class either. Another 0.7% are ignored because plan and engine differ.

An object's box is the extent of its visible pixels in the label buffer. The box in `state.labels` is the same unless another
object is in front, whose pixels that box includes. Boxes with a side below 4 pixels or with fewer than 12 pixels are left
out, but their pixels keep their class: those objects are far away or mostly hidden, and at that size a box that is wrong by
one pixel in both directions overlaps the right one by less than half.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardfirst_scenes._floor_plan import UNITS_PER_METRE, Bools, Floats
from hardfirst_scenes._view import CEILING, FLOOR, NOTHING, WALL, Bytes, Camera, View, to_camera

CLASSES = ("wall", "floor", "ceiling", "sky", "monster", "item")
KINDS = ("monster", "item")  # of boxes
IGNORE = 255
MOST_BOXES = 20  # per frame, the largest ones; no frame has more than 18
LEAST_SIDE, LEAST_PIXELS = 4, 12

STEP = 7.18  # units per step of the engine's depth buffer
_WALL_LAG, _FLAT_LAG = 0.2, 1.5  # the engine's depths are too small by this many steps, measured by comparison
_LAST_WALL_STEP, _LAST_FLAT_STEP = 63, 255
_UPRIGHT, _FLAT = 0, 1  # labels of walls and sky, of floors and ceilings; objects have higher values

_ITEMS = ("Ammo", "Armor", "Artifact", "Health", "Key", "Powerup", "Weapon")  # the engine's categories
_INVISIBLE = ("Spectre",)


class Object(NamedTuple):
    """An object in a frame: its value in the label buffer, the engine's name and category, and its position on the plan."""

    value: int
    name: str
    category: str
    x: float
    y: float


class Buffers(NamedTuple):
    """The engine's buffers of a frame: depth in steps and labels, both uint8 [rows, columns], and the visible objects."""

    depth: Bytes
    labels: Bytes
    objects: Sequence[Object]


class Targets(NamedTuple):
    """The targets of a frame.

    Args:
        classes: uint8 [rows, columns]; `IGNORE` is unlabelled.
        depth: along the camera's axis in metres, float16 [rows, columns]; 0 is unlabelled: sky and ignored pixels.
        normals: unit vectors × 127 (right, up, backwards), int8 [3, rows, columns]; 0 is unlabelled.
        boxes: x1, y1, x2, y2 with an exclusive end, and an index in `KINDS`: float32 [`MOST_BOXES`, 5]; unused rows are -1.
    """

    classes: Bytes
    depth: NDArray[np.float16]
    normals: NDArray[np.int8]
    boxes: NDArray[np.float32]


def targets(view: View, camera: Camera, buffers: Buffers) -> Targets:
    """Compute a frame's targets from the view of the floor plan and the engine's buffers."""
    surface, depth, normal = confirmed(view, buffers)
    for thing in buffers.objects:
        pixels = buffers.labels == thing.value
        kind = kind_of(thing)
        if kind is not None:
            surface[pixels] = CLASSES.index(KINDS[kind])
        depth[pixels] = _depth_of(thing, camera)
    unlabelled = ~np.isfinite(depth) | (depth <= 0)
    return Targets(
        classes=surface,
        depth=np.where(unlabelled, 0, depth / UNITS_PER_METRE).astype(np.float16),
        normals=np.round(normal * 127).astype(np.int8).transpose(2, 0, 1),
        boxes=boxes(buffers),
    )


def confirmed(view: View, buffers: Buffers) -> tuple[Bytes, Floats, Floats]:
    """Return the view's surfaces, depths and normals where the engine agrees; elsewhere `IGNORE`, infinity and 0.

    Curtains become walls.
    """
    agrees = agreement(view, buffers)
    surface = np.where(agrees, view.surface, IGNORE).astype(np.uint8)
    depth = np.where(agrees, view.depth, np.inf)
    normal = np.where(agrees[..., None], view.normal, 0)
    for curtain in view.curtains:  # nearest first; a pixel that one of them explains is no longer IGNORE for the next
        covered = np.isfinite(curtain.depth) & (surface == IGNORE) & (buffers.labels == _UPRIGHT)
        covered &= _close(_steps(np.full_like(surface, WALL), curtain.depth), buffers.depth)
        surface[covered] = WALL
        depth[covered] = curtain.depth[covered]
        normal[covered] = curtain.normal[covered]
    return surface, depth, normal


def agreement(view: View, buffers: Buffers) -> Bools:
    """Return where the engine sees the same kind of surface as the view at the same depth: bool [rows, columns].

    Depths may differ by one step and 5%. Curtains and objects count as different.
    """
    kind = np.where(_is_flat(view.surface), _FLAT, _UPRIGHT)
    agrees: Bools = (buffers.labels == kind) & (view.surface != NOTHING)
    agrees &= _close(_steps(view.surface, view.depth), buffers.depth)
    return agrees


def _is_flat(surface: Bytes) -> Bools:
    flat: Bools = (surface == FLOOR) | (surface == CEILING)
    return flat


def _steps(surface: Bytes, depth: Floats) -> Floats:
    """Convert depths in units to the steps of the engine's depth buffer."""
    wall = ~_is_flat(surface)
    lag = np.where(wall, _WALL_LAG, _FLAT_LAG)
    return np.floor(depth / STEP - lag).clip(0, np.where(wall, _LAST_WALL_STEP, _LAST_FLAT_STEP))


def _close(expected: Floats, measured: Bytes) -> Bools:
    return np.abs(expected - measured) <= 1 + 0.05 * measured


def _depth_of(thing: Object, camera: Camera) -> float:
    """Return an object's depth in units. All pixels share it: the engine draws a flat picture that faces the camera."""
    return float(to_camera(np.array([thing.x - camera.x, thing.y - camera.y]), camera.angle)[1])


def kind_of(thing: Object) -> int | None:
    """Return the object's index in `KINDS`, or None if it is neither."""
    if thing.name in _INVISIBLE or thing.name.startswith("Dead"):
        return None
    if thing.category == "Monster":
        return KINDS.index("monster")
    return KINDS.index("item") if thing.category in _ITEMS else None


def boxes(buffers: Buffers) -> NDArray[np.float32]:
    """Return the boxes of the visible monsters and items that are large enough, largest first: float32 [`MOST_BOXES`, 5]."""
    rows = []
    for thing in buffers.objects:
        y, x = np.nonzero(buffers.labels == thing.value)
        kind = kind_of(thing)
        if kind is None or len(y) < LEAST_PIXELS:
            continue
        box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
        if min(box[2] - box[0], box[3] - box[1]) >= LEAST_SIDE:
            rows.append((*box, kind))
    rows.sort(key=lambda box: ((box[0] - box[2]) * (box[3] - box[1]), *box))  # by negative area
    padded = np.full((MOST_BOXES, 5), -1, np.float32)
    if rows:
        padded[: len(rows)] = rows[:MOST_BOXES]
    return padded
