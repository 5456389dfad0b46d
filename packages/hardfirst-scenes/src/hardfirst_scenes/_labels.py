"""A frame's targets: what the plan says is there, where the engine's own buffers bear it out, and the objects before it.

The engine gives two witnesses. Its depth buffer has steps of `STEP` units, of which walls and sky reach 63; its buffer of
labels says of each pixel whether it is of a wall, of a floor or ceiling, or of an object. A pixel keeps its class, depth and
normal if both agree with the plan. It becomes a wall if a curtain hangs there, as deep as the engine says; else it is
ignored. That happens on edges, where they may differ by a pixel, and where a map plays a trick not known to `_geometry`.

Classes: 0 wall, 1 floor, 2 ceiling, 3 sky, 4 monster, 5 item: 58.6, 24.6, 8.7, 4.5, 1.9 and 0.25 percent of the training
split's pixels. An item is what a player can pick up. Trees, pillars, lamps, barrels and the dead have no class, only depth:
all of them together are 0.7 percent, a few pixels for each kind, and nothing that one look would call the same. Spectres are
monsters that nobody can see, and have none either. Another 0.7 percent are ignored because plan and engine differ.

An object's box is what is visible of it: the extent of its pixels among the labels. The box that `state.labels` gives is the
same unless another object stands before it, whose pixels that box includes. Boxes with a side under 4 pixels or with fewer
than 12 pixels are left out, and are no objects to a detector, though their pixels keep their class: they are far away or
hidden but for a strip, and at that size a box that is wrong by one pixel both ways overlaps the right one by less than half.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardfirst_scenes._geometry import CEILING, FLOOR, NOTHING, UNITS, WALL, Camera, Floats, View, turned

CLASSES = ("wall", "floor", "ceiling", "sky", "monster", "item")
KINDS = ("monster", "item")  # of boxes
IGNORE = 255
MOST_BOXES = 20  # a frame, of which the largest are kept; none has more than 18
LEAST_SIDE, LEAST_PIXELS = 4, 12

STEP = 7.18  # units, of the engine's depth buffer
_BEHIND_WALL, _BEHIND_FLAT = 0.2, 1.5  # steps that its figures lag behind, found by comparing
_FARTHEST_WALL, _FARTHEST_FLAT = 63, 255  # its last steps
_UPRIGHT, _FLAT = 0, 1  # among the labels: a wall or sky, a floor or ceiling; objects have higher values

_ITEMS = ("Ammo", "Armor", "Artifact", "Health", "Key", "Powerup", "Weapon")  # the engine's categories
_INVISIBLE = ("Spectre",)


class Object(NamedTuple):
    """An object in a frame: its value among the labels, what the engine calls it, and where it is on the plan."""

    value: int
    name: str
    category: str
    x: float
    y: float


class Buffers(NamedTuple):
    """What the engine gives for a frame: depth in steps and labels, both uint8 [rows, columns], and the objects."""

    depth: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    objects: Sequence[Object]


class Targets(NamedTuple):
    """A frame's targets.

    Args:
        classes: uint8 [rows, columns], `IGNORE` for none.
        depth: along the camera's axis in metres, float16 [rows, columns], 0 where it is unknown: sky, and what is ignored.
        normals: unit vectors × 127, right, up and backwards, int8 [3, rows, columns]; 0 where there is none.
        boxes: x1, y1, x2, y2, the second pair outside, and a place in `KINDS`: float32 [`MOST_BOXES`, 5], filled up with -1.
    """

    classes: NDArray[np.uint8]
    depth: NDArray[np.float16]
    normals: NDArray[np.int8]
    boxes: NDArray[np.float32]


def targets(view: View, camera: Camera, buffers: Buffers) -> Targets:
    """A frame's targets, from what the plan and the engine say."""
    surface, depth, normal = borne_out(view, buffers)
    for found in buffers.objects:
        pixels = buffers.labels == found.value
        kind = kind_of(found)
        if kind is not None:
            surface[pixels] = CLASSES.index(KINDS[kind])
        depth[pixels] = _ahead(found, camera)
    unknown = ~np.isfinite(depth) | (depth <= 0)
    return Targets(
        classes=surface,
        depth=np.where(unknown, 0, depth / UNITS).astype(np.float16),
        normals=np.round(normal * 127).astype(np.int8).transpose(2, 0, 1),
        boxes=boxes(buffers),
    )


def borne_out(view: View, buffers: Buffers) -> tuple[NDArray[np.uint8], Floats, Floats]:
    """The view's surfaces, depths and normals where the engine agrees, else `IGNORE`, infinity and 0; curtains are walls."""
    right = agreement(view, buffers)
    surface = np.where(right, view.surface, IGNORE).astype(np.uint8)
    depth = np.where(right, view.depth, np.inf)
    normal = np.where(right[..., None], view.normal, 0)
    for curtain in view.curtains:
        hung = np.isfinite(curtain.depth) & (surface == IGNORE) & (buffers.labels == _UPRIGHT)
        hung &= _near(_steps(np.full_like(surface, WALL), curtain.depth), buffers.depth)
        surface[hung] = WALL
        depth[hung] = curtain.depth[hung]
        normal[hung] = curtain.normal[hung]
    return surface, depth, normal


def agreement(view: View, buffers: Buffers) -> NDArray[np.bool_]:
    """Where the engine sees the same kind of surface as the view, to within a step and 5 percent as deep: [rows, columns].

    Curtains and objects do not count as the same.
    """
    kind = np.where(_flat(view.surface), _FLAT, _UPRIGHT)
    same: NDArray[np.bool_] = (buffers.labels == kind) & (view.surface != NOTHING)
    same &= _near(_steps(view.surface, view.depth), buffers.depth)
    return same


def _flat(surface: NDArray[np.uint8]) -> NDArray[np.bool_]:
    flat: NDArray[np.bool_] = (surface == FLOOR) | (surface == CEILING)
    return flat


def _steps(surface: NDArray[np.uint8], depth: Floats) -> Floats:
    """The engine's figures for surfaces at depths in units."""
    wall = ~_flat(surface)
    behind = np.where(wall, _BEHIND_WALL, _BEHIND_FLAT)
    return np.floor(depth / STEP - behind).clip(0, np.where(wall, _FARTHEST_WALL, _FARTHEST_FLAT))


def _near(expected: Floats, found: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.abs(expected - found) <= 1 + 0.05 * found


def _ahead(found: Object, camera: Camera) -> float:
    """An object's depth in units: its picture stands upright and faces the camera."""
    return float(turned(np.array([found.x - camera.x, found.y - camera.y]), camera.angle)[1])


def kind_of(found: Object) -> int | None:
    """The object's place in `KINDS`, or None if it is something else."""
    if found.name in _INVISIBLE or found.name.startswith("Dead"):
        return None
    if found.category == "Monster":
        return KINDS.index("monster")
    return KINDS.index("item") if found.category in _ITEMS else None


def boxes(buffers: Buffers) -> NDArray[np.float32]:
    """The boxes of the visible monsters and items that are large enough: float32 [`MOST_BOXES`, 5], largest first."""
    found = []
    for each in buffers.objects:
        rows, columns = np.nonzero(buffers.labels == each.value)
        kind = kind_of(each)
        if kind is None or len(rows) < LEAST_PIXELS:
            continue
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        if min(box[2] - box[0], box[3] - box[1]) >= LEAST_SIDE:
            found.append((*box, kind))
    found.sort(key=lambda box: ((box[0] - box[2]) * (box[3] - box[1]), *box))
    padded = np.full((MOST_BOXES, 5), -1, np.float32)
    if found:
        padded[: len(found)] = found[:MOST_BOXES]
    return padded
