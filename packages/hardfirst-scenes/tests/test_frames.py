"""The frames of `scenes`: geometry and labels by hand, and the rendering where the engine is installed."""

import hashlib
import itertools
import math
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import time
import warnings
import zlib
from base64 import b64decode
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst_scenes import _engine, _frames, _sample_page
from hardfirst_scenes._agreement import measure
from hardfirst_scenes._frames import MAPS, SIZES, SOURCE, SPLITS, Frames, Share, frames, maps
from hardfirst_scenes._geometry import (
    CEILING,
    FLOOR,
    HEIGHT,
    NOTHING,
    SKY,
    WALL,
    WIDTH,
    Camera,
    Plan,
    View,
    cast,
    inside,
    read_plan,
)
from hardfirst_scenes._labels import IGNORE, STEP, Buffers, Object, boxes, targets

installed = pytest.mark.skipif(not SOURCE.ready and not os.environ.get("CI"), reason=f"needs: {SOURCE.install}")
MIDDLE = WIDTH // 2


# The geometry: rooms made by hand. A column's ray is an eighth of a pixel right of its left edge, a row's in its middle.


def ray(column: int) -> float:
    return (column + 0.125 - 80) / 80


def slope(row: int) -> float:
    return (row + 0.5 - 60) / 96


def plan_of(*lines: tuple[tuple[int, int], tuple[int, int], int, int], **options: object) -> Plan:
    """Lines from, to, the sector to the right and the one to the left; every step and lintel has a texture."""
    count = 1 + max(max(line[2:]) for line in lines)
    plan = Plan(
        ends=np.array([line[:2] for line in lines], float),
        sectors=np.array([line[2:] for line in lines]),
        steps=np.ones((len(lines), 2), bool),
        lintels=np.ones((len(lines), 2), bool),
        curtains=np.zeros(len(lines), bool),
        sky=np.zeros((count, 2), bool),
        heights=np.tile([0.0, 128.0], (count, 1)),
    )
    return plan._replace(**{name: np.array(value) for name, value in options.items()})


def room(**options: object) -> Plan:
    """A room from (0, 0) to (256, 256)."""
    corners = [(0, 0), (0, 256), (256, 256), (256, 0)]
    return plan_of(*((corners[place - 1], corners[place], 0, -1) for place in range(4)), **options)


def two_rooms(**options: object) -> Plan:
    """Two rooms beside each other, parted by the line at x = 256, which is the last and seen from its right."""
    first = [((0, 0), (0, 256), 0, -1), ((0, 256), (256, 256), 0, -1), ((256, 0), (0, 0), 0, -1)]
    second = [((256, 256), (512, 256), 1, -1), ((512, 256), (512, 0), 1, -1), ((512, 0), (256, 0), 1, -1)]
    return plan_of(*first, *second, ((256, 256), (256, 0), 0, 1), **options)


EAST = Camera(128.0, 128.0, 41.0, 0.0)


def column_of(view: View, column: int = MIDDLE) -> list[tuple[int, int]]:
    """The surfaces of a column from above, each with the row where it begins."""
    surface = view.surface[:, column]
    starts = [0, *(np.flatnonzero(np.diff(surface)) + 1)]
    return [(int(surface[row]), int(row)) for row in starts]


def test_a_square_room() -> None:
    view = cast(room(), room().heights, EAST)
    # the wall is 128 away: its top 87 above the eye, 65 rows, out of sight; its foot 41 below, 30.75 rows below row 60
    assert column_of(view) == [(WALL, 0), (FLOOR, 90)]
    assert view.depth[:90, MIDDLE].tolist() == [128.0] * 90
    np.testing.assert_allclose(view.depth[90:, MIDDLE], [41 / slope(row) for row in range(90, HEIGHT)])
    np.testing.assert_allclose(view.normal[0, MIDDLE], (0, 0, 1), atol=1e-9)
    np.testing.assert_allclose(view.normal[HEIGHT - 1, MIDDLE], (0, 1, 0), atol=1e-9)
    assert set(np.unique(view.surface)) == {WALL, FLOOR}


def test_a_ceiling_that_can_be_seen() -> None:
    # 23 above the eye: 17.25 rows above row 60 at the wall
    view = cast(room(), np.array([[0.0, 64.0]]), EAST)
    assert column_of(view) == [(CEILING, 0), (WALL, 42), (FLOOR, 90)]
    np.testing.assert_allclose(view.depth[:42, MIDDLE], [-23 / slope(row) for row in range(42)])
    np.testing.assert_allclose(view.normal[0, MIDDLE], (0, -1, 0), atol=1e-9)


def test_a_corner() -> None:
    # towards the corner both walls are met at 45 degrees, and depth is along the camera's axis
    view = cast(room(), room().heights, EAST._replace(angle=math.pi / 4))
    half = math.sqrt(0.5)
    for column, side in ((20, 1), (140, -1)):
        np.testing.assert_allclose(view.normal[0, column], (side * half, 0, half), atol=1e-9)
        np.testing.assert_allclose(view.depth[0, column], 128 / half / (1 + abs(ray(column))), rtol=1e-9)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_every_direction_is_alike(quarters: int) -> None:
    east = cast(room(), np.array([[0.0, 64.0]]), EAST)
    turned = cast(room(), np.array([[0.0, 64.0]]), EAST._replace(angle=quarters * math.pi / 2))
    assert np.array_equal(east.surface, turned.surface)
    np.testing.assert_allclose(east.depth, turned.depth, rtol=1e-6)
    np.testing.assert_allclose(east.normal, turned.normal, atol=1e-6)


def test_right_is_right() -> None:
    # nearer to the southern wall, which is on the right when one looks east, and faces left
    view = cast(room(), room().heights, EAST._replace(y=32.0))
    np.testing.assert_allclose(view.normal[0, WIDTH - 1], (-1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(view.depth[0, WIDTH - 1], 32 / ray(WIDTH - 1), rtol=1e-9)


def test_a_step_and_a_lintel() -> None:
    # the opening is 128 away, from 16 to 64; behind it are a floor at 16, a ceiling at 64 and a wall 384 away
    heights = np.array([[0.0, 128.0], [16.0, 64.0]])
    view = cast(two_rooms(), heights, EAST)
    # rows of the lintel's lower edge 60 - 17.25, of the far wall 60 - 5.75 to 60 + 6.25, of the step 60 + 18.75
    assert column_of(view) == [(WALL, 0), (CEILING, 42), (WALL, 54), (FLOOR, 66), (WALL, 78), (FLOOR, 90)]
    found = {row: float(view.depth[row, MIDDLE]) for row in (10, 60, 80)}
    assert found == pytest.approx({10: 128.0, 60: 384.0, 80: 128.0})
    assert view.depth[70, MIDDLE] == pytest.approx(25 / slope(70))
    assert view.depth[100, MIDDLE] == pytest.approx(41 / slope(100))


def test_a_step_without_a_texture_is_not_there() -> None:
    heights = np.array([[0.0, 128.0], [16.0, 64.0]])
    bare = np.ones((7, 2), bool)
    bare[6, 0] = False
    view = cast(two_rooms(steps=bare), heights, EAST)
    assert column_of(view) == [(WALL, 0), (CEILING, 42), (WALL, 54), (FLOOR, 66)]
    assert view.depth[80, MIDDLE] == pytest.approx(25 / slope(80))  # the floor behind goes on
    assert view.depth[100, MIDDLE] == pytest.approx(41 / slope(100))
    from_behind = cast(two_rooms(steps=bare), heights[::-1], EAST._replace(x=384.0, angle=math.pi))
    assert (WALL, 78) in column_of(from_behind)  # its other side has one


def test_a_lintel_without_a_texture_is_not_there() -> None:
    heights = np.array([[0.0, 128.0], [16.0, 64.0]])
    bare = np.ones((7, 2), bool)
    bare[6, 0] = False
    view = cast(two_rooms(lintels=bare), heights, EAST)
    assert column_of(view)[0] == (CEILING, 0)
    assert view.depth[30, MIDDLE] == pytest.approx(-23 / slope(30))


def test_a_door_that_is_shut_is_a_wall() -> None:
    view = cast(two_rooms(), np.array([[0.0, 128.0], [0.0, 0.0]]), EAST)
    assert column_of(view) == [(WALL, 0), (FLOOR, 90)]
    assert view.depth[60, MIDDLE] == pytest.approx(128)


@pytest.mark.parametrize(
    ("near", "far"), [(128.0, 32.0), (128.0, 64.0), (64.0, 300.0)], ids=["below the eye", "lower", "higher"]
)
def test_sky_has_no_lintel_and_no_depth(near: float, far: float) -> None:
    view = cast(two_rooms(sky=[[False, True], [False, True]]), np.array([[0.0, near], [0.0, far]]), EAST)
    # the far wall reaches up to its own sky, or to the horizon where that is lower: 384 away, a quarter of a row a unit
    top = max(0, math.ceil(60 - max(0.0, far - 41) / 4 - 1))
    assert column_of(view) == ([(SKY, 0)] if top else []) + [(WALL, top), (FLOOR, 70)]
    assert (view.depth[top:70, MIDDLE] == 384).all()
    assert np.isinf(view.depth[:top, MIDDLE]).all()
    assert (view.normal[:top, MIDDLE] == 0).all()


def test_a_lower_ceiling_under_the_sky_has_a_lintel() -> None:
    view = cast(two_rooms(sky=[[False, True], [False, False]]), np.array([[0.0, 96.0], [0.0, 64.0]]), EAST)
    # the sky ends at 96, 55 above the eye: 41.25 rows
    assert column_of(view)[:3] == [(SKY, 0), (WALL, 18), (CEILING, 42)]


def test_sky_that_is_shut_hides_what_is_behind() -> None:
    view = cast(two_rooms(sky=np.ones((2, 2), bool)), np.array([[0.0, 128.0], [-64.0, -32.0]]), EAST)
    assert (view.surface == SKY).all()


def test_curtains_hang_in_the_opening() -> None:
    curtains = [False] * 6 + [True]
    view = cast(two_rooms(curtains=curtains), np.array([[0.0, 128.0], [16.0, 64.0]]), EAST)
    (curtain,) = view.curtains
    hung = np.flatnonzero(np.isfinite(curtain.depth[:, MIDDLE]))
    assert (hung[0], hung[-1]) == (42, 77)
    assert curtain.depth[60, MIDDLE] == 128
    np.testing.assert_allclose(curtain.normal[60, MIDDLE], (0, 0, 1), atol=1e-9)
    assert view.depth[60, MIDDLE] == pytest.approx(384)  # what is behind is seen all the same
    assert not cast(two_rooms(), np.array([[0.0, 128.0], [16.0, 64.0]]), EAST).curtains


def test_curtains_hang_within_a_sector_too() -> None:
    walls = [(*ends, right, left) for ends, (right, left) in zip(room().ends.astype(int), room().sectors, strict=True)]
    plan = plan_of(*walls, ((192, 0), (192, 256), 0, 0), curtains=[False] * 4 + [True])
    (curtain,) = cast(plan, plan.heights, EAST).curtains
    assert curtain.depth[60, MIDDLE] == 64
    assert inside(plan, 0, 128, 128)  # it is no outline


def test_rock_is_not_seen_from_within() -> None:
    # seen from outside, the near wall of the room is not there, and the step at its far end is
    view = cast(two_rooms(), np.array([[0.0, 128.0], [60.0, 128.0]]), Camera(-64.0, 128.0, 41.0, 0.0))
    assert view.depth[60, MIDDLE] == pytest.approx(320)
    assert view.depth[100, MIDDLE] == pytest.approx(41 / slope(100))
    assert (cast(room(), room().heights, Camera(-64.0, 128.0, 41.0, math.pi)).surface == NOTHING).all()


def test_normals_are_unit_vectors_that_face_the_camera() -> None:
    rng = np.random.default_rng(0)
    columns, rows = (np.arange(WIDTH) + 0.125 - 80) / 80, (np.arange(HEIGHT)[:, None] + 0.5 - 60) / 96
    towards = np.stack(np.broadcast_arrays(-columns, rows, 1.0), 2)  # from a pixel to the camera
    for _ in range(20):
        camera = Camera(*rng.uniform(10, 246, 2), 41.0, rng.uniform(0, 7))
        view = cast(two_rooms(), np.array([[0.0, 90.0], [16.0, 64.0]]), camera)
        np.testing.assert_allclose(np.linalg.norm(view.normal, axis=2), 1, atol=1e-9)
        assert ((view.normal * towards).sum(2) > -1e-2).all()
        assert (view.depth > 0).all()


def test_inside() -> None:
    plan = two_rooms()
    assert inside(plan, 0, 100, 100)
    assert not inside(plan, 1, 100, 100)
    assert inside(plan, 1, 300, 200)
    assert not inside(plan, 0, 100, 300)
    assert not inside(plan, 0, -100, 100)


def wad_of(name: str) -> bytes:
    """A WAD file with one map: a line with two sides, one of them with a middle texture, between a sector and the sky."""
    side = struct.Struct("<hh8s8s8sH")
    sector = struct.Struct("<hh8s8shhh")
    lumps = {
        "THINGS": b"",
        "LINEDEFS": struct.pack("<7H", 0, 1, 4, 0, 0, 0, 1) + struct.pack("<7H", 1, 0, 1, 0, 0, 1, 0xFFFF),
        "SIDEDEFS": side.pack(0, 0, b"-", b"STONE", b"-", 1) + side.pack(0, 0, b"WOOD", b"-", b"BARS", 0),
        "VERTEXES": struct.pack("<4h", -32, 64, 128, -256),
        "SEGS": b"",
        "SSECTORS": b"",
        "NODES": b"",
        "SECTORS": sector.pack(-8, 128, b"FLAT1", b"FLAT2", 160, 0, 0) + sector.pack(0, 256, b"FLAT1", b"F_SKY1", 160, 0, 0),
    }
    body, directory = b"", struct.pack("<ii8s", 12, 0, name.upper().encode())
    for lump, content in lumps.items():
        directory += struct.pack("<ii8s", 12 + len(body), len(content), lump.encode())
        body += content
    return struct.pack("<4sii", b"IWAD", 1 + len(lumps), 12 + len(body)) + body + directory


def test_a_map_is_read() -> None:
    plan = read_plan(wad_of("e1m1"), "e1m1")
    assert plan.ends.tolist() == [[[-32, 64], [128, -256]], [[128, -256], [-32, 64]]]
    assert plan.sectors.tolist() == [[1, 0], [0, -1]]
    assert plan.steps.tolist() == [[True, False], [False, False]]
    assert plan.lintels.tolist() == [[False, True], [True, False]]
    assert plan.curtains.tolist() == [True, False]  # what hangs before rock is the wall itself
    assert plan.sky.tolist() == [[False, False], [False, True]]
    assert plan.heights.tolist() == [[-8, 128], [0, 256]]
    with pytest.raises(InputError, match="There is no map 'map07'"):
        read_plan(wad_of("e1m1"), "map07")


# The labels: what the engine would say of the square room, and objects before it


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
    assert found.depth[60, 69] == 12  # beside it
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


# The splits


def test_the_splits_are_fixed_and_share_no_map() -> None:
    assert len(MAPS) == len(set(MAPS)) == 68
    by_split = {split: maps(split) for split in SPLITS}
    assert sorted(found for split in SPLITS for found in by_split[split]) == sorted(MAPS)
    assert {split: len(found) for split, found in by_split.items()} == {"train": 48, "validation": 7, "test": 13}
    names = [found.name for found in by_split["test"]]
    assert " ".join(names) == "e1m5 e2m1 e2m6 e3m2 e3m7 e4m3 e4m8 map04 map09 map14 map19 map24 map29"


def test_the_small_size_is_a_part_of_the_full_one() -> None:
    for split in SPLITS:
        assert set(maps(split, "small")) <= set(maps(split, "full"))
        assert SIZES["small"][split].frames <= SIZES["full"][split].frames
    count = {split: len(maps(split, "small")) * SIZES["small"][split].frames for split in SPLITS}
    assert count == {"train": 408, "validation": 98, "test": 156}


@installed
def test_no_two_maps_share_a_room() -> None:
    content = {path.name: path.read_bytes() for path in SOURCE.check()}
    corners = []  # two lines one after another
    for found in MAPS:
        ends = read_plan(content[found.wad], found.name).ends.reshape(-1, 4)
        corners.append({tuple(row) for row in np.concatenate([ends[:-1], ends[1:]], 1).tolist()})
    assert min(map(len, corners)) > 300
    assert max(len(one & other) for one, other in itertools.combinations(corners, 2)) < 10  # two blocks of 64 by 64


# The rendering: four maps, two frames each


TINY: Mapping[str, Share] = {"train": Share(24, 2), "validation": Share(7, 2), "test": Share(13, 2)}
TINY_MAPS = {"train": ["e1m1", "e4m9"], "validation": ["e1m3"], "test": ["e1m5"]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, list[tuple[int, int]], list[str], list[str]]:
    """The frames, what progress was told, the warnings, and what was left in the working directory and at home."""
    data, there, home = (tmp_path_factory.mktemp(name) for name in ("data", "there", "home"))
    told: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(_frames, "SIZES", {**SIZES, "small": TINY})
        patch.setenv("HARDFIRST_DATA", str(data))
        patch.setenv("HOME", str(home))
        patch.setattr(_frames, "_cores", lambda: 2)
        patch.chdir(there)
        found = frames("small", lambda done, total: told.append((done, total)))
    said = [str(each.message) for each in caught]
    left = [str(path) for folder in (there, home) for path in folder.rglob("*")]
    kept = sorted(path.name for folder in data.iterdir() for path in folder.iterdir())
    assert kept == [".lock", "small.pt"]
    return found, told, said, left


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for the tiny frames, whose checksum is taken to be right; one worker at a time."""
    monkeypatch.setattr(_frames, "SIZES", {**SIZES, "small": TINY})
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(_frames, "_cores", lambda: 1)
    monkeypatch.setattr(_frames, "_compare", lambda made, size: None)
    return _frames.frames_folder()


def part_of(tiny_frames: Frames, split: str, first: int = 0) -> dict[str, np.ndarray]:
    return {name: tensor[first : first + 2].numpy() for name, tensor in tiny_frames[split].items()}


def write_parts(folder: Path, tiny_frames: Frames) -> dict[str, Path]:
    """The files of the maps as they are when all but the last step is done."""
    (folder / "small").mkdir(parents=True)
    found = {}
    for split, names in TINY_MAPS.items():
        for place, name in enumerate(names):
            found[name] = folder / "small" / f"{name}.npz"
            _engine.write(found[name], part_of(tiny_frames, split, 2 * place))
    return found


def flat(found: Frames) -> dict[str, Tensor]:
    return {f"{split}.{name}": tensor for split, tensors in found.items() for name, tensor in tensors.items()}


def same(one: Frames, other: Frames) -> bool:
    return _frames.checksum(flat(one)) == _frames.checksum(flat(other))


@installed
def test_shapes_types_and_ranges(tiny: tuple[Frames, object, object, object]) -> None:
    assert {split: len(tensors["rgb"]) for split, tensors in tiny[0].items()} == {"train": 4, "validation": 2, "test": 2}
    for tensors in tiny[0].values():
        count = len(tensors["rgb"])
        assert {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} == {
            "rgb": (torch.uint8, (count, 3, 120, 160)),
            "classes": (torch.uint8, (count, 120, 160)),
            "depth": (torch.float16, (count, 120, 160)),
            "normals": (torch.int8, (count, 3, 120, 160)),
            "boxes": (torch.float32, (count, 20, 5)),
        }
        classes, depth, normals = tensors["classes"], tensors["depth"].float(), tensors["normals"].float().movedim(1, -1)
        assert set(classes.unique().tolist()) <= {0, 1, 2, 3, 4, 5, IGNORE}
        surfaces = classes <= CEILING
        assert ((depth > 0) & depth.isfinite())[surfaces].all()
        assert (depth[classes == SKY] == 0).all()
        assert ((normals.norm(dim=-1) - 127).abs() < 2)[surfaces].all()
        assert (normals[~surfaces] == 0).all()
        assert (normals[classes == FLOOR] == torch.tensor([0, 127, 0])).all()
        assert (normals[classes == CEILING] == torch.tensor([0, -127, 0])).all()


@installed
def test_boxes_touch_their_objects_on_all_sides(tiny: tuple[Frames, object, object, object]) -> None:
    found = 0
    for tensors in tiny[0].values():
        for classes, rows in zip(tensors["classes"], tensors["boxes"].long(), strict=True):
            for x1, y1, x2, y2, kind in rows[rows[:, 4] >= 0].tolist():
                crop = classes[y1:y2, x1:x2] == 4 + kind
                assert all(edge.any() for edge in (crop[0], crop[-1], crop[:, 0], crop[:, -1]))
                found += 1
    assert found >= 3


@installed
def test_progress_goes_from_none_to_all(tiny: tuple[object, list[tuple[int, int]], object, object]) -> None:
    told = tiny[1]
    assert (told[0], told[-1]) == ((0, 4), (4, 4))
    assert told == sorted(told)


@installed
def test_nothing_is_left_in_the_working_directory_nor_at_home(tiny: tuple[object, object, object, list[str]]) -> None:
    assert tiny[3] == []


@installed
def test_other_frames_than_expected_are_warned_of(tiny: tuple[Frames, object, list[str], object]) -> None:
    (said,) = tiny[2]
    assert _frames.checksum(flat(tiny[0])) in said
    assert _frames.CHECKSUMS["small"] in said
    assert "vizdoom is 1.3.2, expected 1.3.2" in said


@installed
def test_the_same_frames_in_another_process_and_whatever_their_number(
    tiny: tuple[Frames, object, object, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wad = next(path for path in SOURCE.check() if path.name == "freedoom1.wad")
    for count in (1, 3):
        found = _engine.render(wad, "e1m3", count)
        for name, expected in part_of(tiny[0], "validation").items():
            assert found[name][:2].tobytes() == expected[:count].tobytes(), name


@installed
@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="elsewhere the engine may round otherwise"
)
def test_these_are_the_frames_that_are_recorded(tiny: tuple[Frames, object, object, object]) -> None:
    # if this changes, so do all frames: raise REVISION, and record the checksums anew
    assert _frames.checksum(flat(tiny[0]))[:16] == "921127177b3c440c"


@installed
def test_a_rendering_that_was_killed_goes_on(tiny: tuple[Frames, object, object, object], elsewhere: Path) -> None:
    shares = {split: tuple(share) for split, share in TINY.items()}
    script = f"""
import os, signal
from hardfirst_scenes import _frames
_frames.SIZES = {{"small": {{split: _frames.Share(*share) for split, share in {shares}.items()}}}}
_frames._cores = lambda: 1
_frames.frames("small", lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done >= 2 else None)
"""
    temporary = elsewhere.parent.parent / "temporary"
    temporary.mkdir()
    killed = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "TMPDIR": str(temporary)})
    assert killed.returncode == -signal.SIGKILL
    assert _nobody_works_in(temporary)  # nor does the worker go on, or its engine
    parts = {path.stem for path in (elsewhere / "small").glob("*.npz")}
    assert {"e1m1", "e4m9"} <= parts
    assert len(parts) < 4

    doctored = part_of(tiny[0], "train")  # to see that it is not rendered again
    doctored["boxes"] = np.full_like(doctored["boxes"], 7)
    _engine.write(elsewhere / "small" / "e1m1.npz", doctored)
    found = frames("small")
    assert (found["train"]["boxes"][:2] == 7).all()
    found["train"]["boxes"][:2] = tiny[0]["train"]["boxes"][:2]
    assert same(found, tiny[0])


def _nobody_works_in(folder: Path) -> bool:
    """Whether soon no process has a working directory below the folder; true where that cannot be told."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        places = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            try:
                places.append(link.readlink())
            except OSError:  # it has ended, or is another user's
                continue
        if not any(place.is_relative_to(folder) for place in places):
            return True
    return False


@installed
def test_a_damaged_map_is_rendered_anew(tiny: tuple[Frames, object, object, object], elsewhere: Path) -> None:
    parts = write_parts(elsewhere, tiny[0])
    content = bytearray(parts["e1m5"].read_bytes())
    content[len(content) // 2] ^= 1
    parts["e1m5"].write_bytes(content)
    told = []
    with pytest.warns(UserWarning, match=r"e1m5\.npz could not be read and are rendered anew"):
        found = frames("small", lambda done, total: told.append(done))
    assert told[0] == 3
    assert same(found, tiny[0])


@installed
def test_damaged_frames_are_put_together_anew(tiny: tuple[Frames, object, object, object], elsewhere: Path) -> None:
    write_parts(elsewhere, tiny[0])
    told = []
    assert same(frames("small", lambda done, total: told.append((done, total))), tiny[0])
    assert told == [(4, 4)]  # nothing to render
    assert not (elsewhere / "small").exists()
    whole = elsewhere / "small.pt"
    whole.write_bytes(whole.read_bytes()[:-1000])
    write_parts(elsewhere, tiny[0])
    with pytest.warns(UserWarning, match=r"small\.pt could not be read and are rendered anew"):
        assert same(frames("small"), tiny[0])
    assert same(frames("small"), tiny[0])


@installed
def test_what_is_loaded_is_mapped_and_changes_stay_in_memory(
    tiny: tuple[Frames, object, object, object], elsewhere: Path
) -> None:
    write_parts(elsewhere, tiny[0])
    found = frames("small")
    found["train"]["rgb"].zero_()
    assert same(frames("small"), tiny[0])
    if sys.platform == "linux":
        assert str(elsewhere / "small.pt") in Path("/proc/self/maps").read_text()


@installed
def test_a_map_that_cannot_be_rendered_is_one_sentence(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_frames, "maps", lambda split, size: [_frames.Map("freedoom1.wad", "e9m9")])
    with pytest.raises(InputError, match=r"could not be rendered.*There is no map 'e9m9' in the WAD file\.$"):
        frames("small")


@installed
def test_where_nothing_can_be_kept_frames_are_rendered_all_the_same(
    tiny: tuple[Frames, object, object, object], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_frames, "_render", lambda folder, size, progress: flat(tiny[0]))
    elsewhere.parent.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept in .*, and are rendered at each start"):
        assert same(frames("small"), tiny[0])


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(InputError, match=r"To install it: pip install --no-deps vizdoom==1\.3\.2$"):
        frames("small")


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(InputError, match="Unknown size 'smal'; did you mean 'small'"):
        frames("smal")  # type: ignore[arg-type]


def test_frames_are_kept_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path / "mine"))
    assert _frames.frames_folder().parent == tmp_path / "mine"
    assert _frames.frames_folder().name.startswith("scenes-9.9-")
    monkeypatch.delenv("HARDFIRST_DATA")
    monkeypatch.setattr(_frames, "cache_folder", lambda: tmp_path / "cache")
    assert _frames.frames_folder().parent == tmp_path / "cache"


def test_vizdoom_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, hardfirst_scenes._sample_page; sys.exit('vizdoom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@installed
def test_the_camera_is_where_it_is_told_and_no_message_in_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wad = next(path for path in SOURCE.check() if path.name == "freedoom1.wad")
    with _engine.Game(wad, "e1m1") as game:
        assert len(game.objects) > 100
        for angle in (0.5, 3.0, -2.0):
            found = game.look(496.0, 712.0, angle)  # a secret, which the game announces
            assert found is not None
            assert (found.camera.x, found.camera.y) == (496.0, 712.0)
            assert math.cos(found.camera.angle - angle) > 1 - 1e-6
            assert (found.buffers.depth > 0).all()  # where something is written there is no depth


@installed
def test_the_plan_and_the_engine_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wad = next(path for path in SOURCE.check() if path.name == "freedoom1.wad")
    agreed, labelled = np.array(measure(wad, "e1m3", 30)).T
    assert np.median(agreed) > 0.99
    assert agreed.mean() > 0.96
    assert labelled.mean() > 0.99


# The page of samples


def test_the_page_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = torch.randint(0, 256, (3, 3, 120, 160), dtype=torch.uint8)
    boxes_of = torch.full((3, 20, 5), -1.0)
    boxes_of[:, 0] = torch.tensor([10.0, 20.0, 30.0, 50.0, 1.0])
    split = {
        "rgb": rgb,
        "classes": torch.full((3, 120, 160), IGNORE, dtype=torch.uint8),
        "depth": torch.zeros(3, 120, 160, dtype=torch.float16),
        "normals": torch.zeros(3, 3, 120, 160, dtype=torch.int8),
        "boxes": boxes_of,
    }
    monkeypatch.setattr(_sample_page, "frames", lambda size, progress: dict.fromkeys(SPLITS, split))
    page = _sample_page.write_sample_page(tmp_path / "page.html", count=2).read_text()
    assert page.count('<div class="frame">') == 6
    assert page.count('<rect x="10.5" y="20.5" width="19.0" height="29.0" stroke="rgb(255, 0, 170)"/>') == 6
    pictures = [b64decode(found) for found in re.findall(r"data:image/png;base64,([^\"]+)", page)]
    assert len(pictures) == 24
    assert np.array_equal(decoded(pictures[0]), rgb[0].permute(1, 2, 0).numpy())
    assert np.array_equal(decoded(pictures[4]), rgb[2].permute(1, 2, 0).numpy())
    assert (decoded(pictures[1]) == 0).all()
    assert (decoded(pictures[2]) == 0).all()
    assert (decoded(pictures[3]) == 128).all()


def test_the_colours_of_the_page() -> None:
    frame = {
        "classes": torch.zeros(120, 160, dtype=torch.uint8),
        "depth": torch.linspace(0.1, 100, 120 * 160).reshape(120, 160).half(),
        "normals": torch.zeros(3, 120, 160, dtype=torch.int8),
    }
    frame["classes"][:, 80:] = 5
    frame["normals"][1] = 127
    classes, depth, normals = _sample_page.panels(frame)
    assert classes[:, 0, 0].tolist() == list(_sample_page.COLOURS["wall"])
    assert classes[:, 0, 159].tolist() == list(_sample_page.COLOURS["item"])
    assert (depth[0].flatten().diff() >= 0).all()
    assert depth[0, 0, 0] > 40
    assert depth[0, 119, 159] == 255
    assert normals[:, 0, 0].tolist() == [128, 255, 128]


def decoded(picture: bytes) -> np.ndarray:
    """The pixels of a PNG file whose rows have no filter, [rows, columns, 3]."""
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        kind, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert struct.unpack(">I", picture[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        chunks[kind], at = data, at + 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:].reshape(height, width, 3)


def test_the_checksum_tells_names_types_shapes_and_values() -> None:
    tensors = {"a": torch.arange(6, dtype=torch.uint8)}
    others = [
        {"b": tensors["a"]},
        {"a": tensors["a"].view(torch.int8)},
        {"a": tensors["a"].reshape(2, 3)},
        {"a": tensors["a"].flip(0)},
    ]
    found = {_frames.checksum(each) for each in [tensors, *others]}
    assert len(found) == 5
    assert all(len(each) == len(hashlib.sha256().hexdigest()) for each in found)
