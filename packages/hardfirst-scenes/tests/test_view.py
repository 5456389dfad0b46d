"""Views of rooms made by hand."""

import math

import numpy as np
import pytest
from rooms import EAST, MIDDLE, column_of, plan_of, ray, room, slope, two_rooms

from hardfirst_scenes._floor_plan import inside
from hardfirst_scenes._view import CEILING, FLOOR, HEIGHT, NOTHING, SKY, WALL, WIDTH, Camera, cast


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
    assert view.depth[80, MIDDLE] == pytest.approx(25 / slope(80))  # the floor behind continues
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
