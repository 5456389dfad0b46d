"""The targets of a room made by hand, from what the engine would see, and of objects in it."""

import numpy as np
import pytest
from rooms import EAST, MIDDLE, room, two_rooms

from hardfirst_scenes._labels import IGNORE, STEP, Buffers, Object, boxes, targets
from hardfirst_scenes._view import HEIGHT, SKY, WALL, WIDTH, View, cast


def seen(view: View, *objects: Object) -> Buffers:
    """Buffers that bear out a view: walls lag a fifth of a step behind, floors and ceilings one and a half."""
    wall = (view.surface == WALL) | (view.surface == SKY)
    steps = np.floor(view.depth / STEP - np.where(wall, 0.2, 1.5)).clip(0, np.where(wall, 63, 255))
    return Buffers(steps.astype(np.uint8), (~wall).astype(np.uint8), objects)


IMP = Object(200, "DoomImp", "Monster", 192.0, 128.0)


def test_what_the_engine_bears_out_is_kept() -> None:
    view = cast(room(), np.array([[0.0, 64.0]]), EAST)
    found = targets(view, EAST, seen(view))
    assert np.array_equal(found.classes, view.surface)
    assert found.depth[60, MIDDLE] == 4  # metres
    assert found.depth.dtype == np.float16
    np.testing.assert_allclose(found.depth, view.depth / 32, rtol=1e-3)
    assert found.normals.shape == (3, HEIGHT, WIDTH)
    assert found.normals[:, 60, MIDDLE].tolist() == [0, 0, 127]
    assert found.normals[:, 0, MIDDLE].tolist() == [0, -127, 0]
    assert (found.boxes == -1).all()


def test_what_the_engine_does_not_bear_out_is_ignored() -> None:
    view = cast(room(), np.array([[0.0, 64.0]]), EAST)
    buffers = seen(view)
    buffers.depth[50, 10] += 4  # deeper
    buffers.depth[50, 11] += 1  # within a step
    buffers.labels[50, 12] = 1  # a floor
    buffers.labels[118, 12] = 0  # a wall
    found = targets(view, EAST, buffers)
    assert {tuple(place) for place in np.argwhere(found.classes == IGNORE)} == {(50, 10), (50, 12), (118, 12)}
    assert (found.depth[found.classes == IGNORE] == 0).all()
    assert (found.normals[:, found.classes == IGNORE] == 0).all()


def test_sky_is_a_class_without_depth() -> None:
    view = cast(room(sky=[[False, True]]), np.array([[0.0, 64.0]]), EAST)
    found = targets(view, EAST, seen(view))
    sky = view.surface == SKY
    assert sky.any()
    assert (found.classes[sky] == 3).all()
    assert (found.depth[sky] == 0).all()
    assert (found.depth[~sky] > 0).all()
    assert (found.normals[:, sky] == 0).all()


def test_curtains_are_walls_where_the_engine_sees_them() -> None:
    view = cast(two_rooms(curtains=[False] * 6 + [True]), np.array([[0.0, 128.0], [16.0, 64.0]]), EAST)
    buffers = seen(view)
    bar = np.zeros((HEIGHT, WIDTH), bool)
    bar[:, 70:75] = True
    hung = bar & np.isfinite(view.curtains[0].depth)
    buffers.depth[hung], buffers.labels[hung] = int(128 / STEP - 0.2), 0
    buffers.depth[5, 5] = 63  # where no curtain hangs
    buffers.depth[76, 5], buffers.labels[76, 5] = int(128 / STEP - 0.2), 1  # as deep, and flat
    found = targets(view, EAST, buffers)
    assert (found.classes[hung] == WALL).all()
    assert (found.depth[hung] == 4).all()
    assert (found.normals[:, hung] == np.array([[0], [0], [127]])).all()
    assert found.depth[60, 69] == 12  # next to it
    assert found.classes[5, 5] == IGNORE
    assert found.classes[76, 5] == IGNORE


def test_objects() -> None:
    view = cast(room(), room().heights, EAST)
    objects = [
        IMP,
        Object(201, "Medikit", "Health", 160.0, 140.0),
        Object(202, "BigTree", "Vegetation", 224.0, 128.0),
        Object(203, "Spectre", "Monster", 192.0, 100.0),
        Object(204, "DeadDoomImp", "Monster", 192.0, 100.0),
    ]
    buffers = seen(view, *objects)
    for place, each in enumerate(objects):
        buffers.labels[40:60, 20 * place : 20 * place + 10] = each.value
    found = targets(view, EAST, buffers)
    assert [int(found.classes[50, 20 * place]) for place in range(5)] == [4, 5, IGNORE, IGNORE, IGNORE]
    assert [float(found.depth[50, 20 * place]) for place in range(5)] == [2, 1, 3, 2, 2]
    assert (found.normals[:, 40:60, 0:10] == 0).all()
    assert found.boxes[:3].tolist() == [[0, 40, 10, 60, 0], [20, 40, 30, 60, 1], [-1] * 5]


def test_boxes_are_what_is_visible() -> None:
    view = cast(room(), room().heights, EAST)
    buffers = seen(view, IMP, Object(201, "DoomImp", "Monster", 170.0, 128.0))
    buffers.labels[40:60, 20:30] = 200
    buffers.labels[30:80, 25:60] = 201  # stands before it
    assert boxes(buffers)[:3].tolist() == [[25, 30, 60, 80, 0], [20, 40, 25, 60, 0], [-1] * 5]


@pytest.mark.parametrize(
    ("rows", "columns", "kept"), [(4, 4, True), (3, 20, False), (20, 3, False), (4, 3, False), (0, 0, False)]
)
def test_tiny_boxes_are_left_out(rows: int, columns: int, kept: bool) -> None:
    buffers = seen(cast(room(), room().heights, EAST), IMP)
    buffers.labels[40 : 40 + rows, 20 : 20 + columns] = 200
    assert (boxes(buffers)[0, 4] == 0) == kept


def test_boxes_with_few_pixels_are_left_out() -> None:
    buffers = seen(cast(room(), room().heights, EAST), IMP)
    buffers.labels[40:44, 20:24] = 200
    buffers.labels[41:43, 21:23] = 0  # a ring of 12
    assert boxes(buffers)[0].tolist() == [20, 40, 24, 44, 0]
    buffers.labels[40, 20] = 0
    assert (boxes(buffers) == -1).all()


def test_the_largest_boxes_are_kept() -> None:
    objects = [Object(100 + place, "DoomImp", "Monster", 192.0, 128.0) for place in range(24)]
    buffers = seen(cast(room(), room().heights, EAST), *objects)
    for place, each in enumerate(objects):
        buffers.labels[10 : 20 + place, 6 * place : 6 * place + 5] = each.value
    found = boxes(buffers)
    assert found.shape == (20, 5)
    assert found[:, 3].tolist() == [43 - place for place in range(20)]
