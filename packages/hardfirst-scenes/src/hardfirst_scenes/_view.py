"""The view of a camera in a Doom map: surfaces, depth and normals, cast from the map's floor plan.

The camera is level, so each column of the image is one ray across the plan. The ray crosses lines, nearest first, and each
crossing narrows the range of rows through which more distant objects are visible. The engine draws in the same way, but its
depth buffer has coarse steps and it has no normals; here both are exact. `_agreement` measures how far the two agree: in
98.2% of a frame's pixels.

The camera's axes are x to the right, y upwards and z backwards, towards the viewer. Depth is measured along the camera's
axis, which is level. Heights appear 1.2 times as tall as they are, because the game was drawn for screens with such pixels.

Three conventions of the engine that maps rely on are reproduced:

- Between two sectors with open sky there is no upper wall, and the lower sky does not hide what is behind the higher one.
- A step without a texture is not drawn: the floor behind it extends to the camera.
- Bars and fences hang in the opening of a line ("curtains"). Which of their pixels are solid is not geometry.
"""

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardfirst_scenes._floor_plan import Floats, FloorPlan, Ints

Bytes: TypeAlias = NDArray[np.uint8]

WIDTH, HEIGHT = 160, 120  # pixels
FOCAL_X, FOCAL_Y = 80.0, 96.0  # pixels: a field of view of 90 degrees, and rows 1.2 times as tall

WALL, FLOOR, CEILING, SKY = range(4)
NOTHING = 255  # the ray has left the map

# Offsets, in pixels, of the engine's sample points: of rays, of edges between surfaces, and of the depth of floors and
# ceilings. These agree best with its buffers; half a pixel more or less doubles the number of pixels that differ.
_COLUMN, _EDGE, _ROW = 0.125, 1.0, 0.5
_NEAREST = 1e-3  # units


class Camera(NamedTuple):
    """A camera's position in units, and its direction in radians, anticlockwise from east."""

    x: float
    y: float
    z: float
    angle: float


class Curtain(NamedTuple):
    """An object that hangs in an opening: depth in units [rows, columns], infinite elsewhere; normals [rows, columns, 3]."""

    depth: Floats
    normal: Floats


class View(NamedTuple):
    """The view of a camera.

    Args:
        surface: `WALL`, `FLOOR`, `CEILING`, `SKY` or `NOTHING`, uint8 [rows, columns].
        depth: along the camera's axis in units, [rows, columns]; infinite for sky and nothing.
        normal: unit vectors (right, up, backwards), [rows, columns, 3]; zero for sky and nothing.
        curtains: nearest first.
    """

    surface: Bytes
    depth: Floats
    normal: Floats
    curtains: list[Curtain]


class _Crossings(NamedTuple):
    """The lines that each column's ray crosses, nearest first, all [crossings, columns].

    Args:
        line: the line's index; -1 if the column has fewer crossings.
        side: 0 if the line is seen from its right, 1 from its left.
        near: the sector on this side.
        far: the sector beyond; -1 is solid rock.
        depth: in units.
    """

    line: Ints
    side: Ints
    near: Ints
    far: Ints
    depth: Floats


def cast(plan: FloorPlan, heights: Floats, camera: Camera) -> View:
    """Compute the view of a camera in a map.

    Args:
        plan: the map's floor plan.
        heights: current heights of each sector's floor and ceiling in units, [sectors, 2].
        camera: in a sector, between its floor and its ceiling.
    """
    crossings = _crossings(plan, camera)
    bands = _bands(plan, heights, camera.z, crossings)
    part, crossing = _paint(bands[:, :_PARTS])

    columns = np.arange(WIDTH)
    near = crossings.near[crossing, columns]
    surface = np.array([FLOOR, CEILING, WALL, WALL, NOTHING], np.uint8)[part]  # in the order of the parts
    for flat, plane in ((_BELOW, 0), (_ABOVE, 1)):
        surface[(part == flat) & plan.sky[near, plane]] = SKY

    # A row's ray falls by `slope` per unit of depth, so it meets a level plane at the plane's relative height / slope.
    slope = (np.arange(HEIGHT)[:, None] + _ROW - HEIGHT / 2) / FOCAL_Y  # downwards; never 0, as rows are sampled at halves
    flats = (camera.z - heights[near, (part == _ABOVE).astype(int)]) / slope
    depth = np.select([surface == WALL, surface <= CEILING], [crossings.depth[crossing, columns], flats], np.inf)

    wall_normals = _wall_normals(plan, camera)
    normal = np.zeros((HEIGHT, WIDTH, 3))
    is_wall = surface == WALL
    normal[is_wall] = wall_normals[crossings.line[crossing, columns], crossings.side[crossing, columns]][is_wall]
    normal[surface == FLOOR] = (0, 1, 0)
    normal[surface == CEILING] = (0, -1, 0)
    return View(surface, depth, normal, _curtains(bands[:, _PARTS], crossings, wall_normals))


def _crossings(plan: FloorPlan, camera: Camera) -> _Crossings:
    """Find where the rays of all columns cross lines."""
    # In camera coordinates a ray is x = ray * z: one number per column, and z is the depth.
    x, z = to_camera(plan.ends - (camera.x, camera.y), camera.angle)  # [lines, 2]
    half_width = WIDTH / 2 / FOCAL_X
    # Drop lines behind the camera, outside its field of view, or with the same sector on both sides and no curtain.
    separates = (plan.sectors[:, 0] != plan.sectors[:, 1]) | plan.curtains
    in_front = (z > 0).any(1)
    in_view = (x < half_width * z + 1).any(1) & (x > -half_width * z - 1).any(1)
    candidates = np.flatnonzero(in_front & in_view & separates)
    x, z = x[candidates], z[candidates]

    ray = (np.arange(WIDTH) + _COLUMN - WIDTH / 2) / FOCAL_X
    offset = x[:, :, None] - z[:, :, None] * ray  # [lines, 2, columns]: signed distance of the ends to the right of each ray
    # A ray crosses a line if the ends are on different sides of it.
    line, column = np.nonzero((offset[:, 0] > 0) != (offset[:, 1] > 0))
    start, end = offset[line, 0, column], offset[line, 1, column]
    depth = z[line, 0] + start / (start - end) * (z[line, 1] - z[line, 0])
    # If the start is right of the ray, the line runs to the left, and the camera sees its left side.
    line, side = candidates[line], (start > 0).astype(np.int64)
    near, far = plan.sectors[line, side], plan.sectors[line, 1 - side]

    order = np.lexsort((depth, column))
    order = order[(depth[order] > _NEAREST) & (near[order] >= 0)]  # rock is invisible from within
    column = column[order]
    count = np.bincount(column, minlength=WIDTH)
    # The rank of each crossing in its column: its position in the sorted list minus where the column's crossings begin.
    rank = np.arange(len(column)) - (count.cumsum() - count)[column]

    def table(values: NDArray[Any], fill: float) -> NDArray[Any]:
        filled = np.full((max(1, int(count.max())), WIDTH), fill, values.dtype)
        filled[rank, column] = values[order]
        return filled

    return _Crossings(table(line, -1), table(side, 0), table(near, -1), table(far, -1), table(depth, np.inf))


# What is visible between one crossing and the next: the floor and the ceiling before the line, then the step and the lintel
# of its opening. A line before solid rock has no opening: its step reaches from the floor to the ceiling.
_BELOW, _ABOVE, _STEP, _LINTEL = range(4)
_PARTS = 4
_UNSEEN = 4


def _bands(plan: FloorPlan, heights: Floats, eye: float, crossings: _Crossings) -> Ints:
    """Compute the rows of each part at each crossing, [crossings, parts + 1, 2, columns]: the first, and one past the last.

    The parts are those above; the last entry is the remaining opening.
    """
    line, side, near, far, depth = crossings
    none, solid = line < 0, far < 0
    floor, ceiling = heights[near, 0], heights[near, 1]

    def row(height: Floats) -> Ints:
        """Return the first row below a height, at the line's depth."""
        edge = HEIGHT / 2 + (eye - height) / depth * FOCAL_Y - _EDGE
        return np.ceil(np.clip(edge, -1, HEIGHT + 1)).astype(np.int64)

    # Sky has no height. Its lower edge is the ceiling of the sector behind it, or the horizon if that is higher.
    # If the sector behind is closed (its ceiling is not above the near floor), the sky hides everything behind it.
    open_sky = ~solid & plan.sky[near, 1] & plan.sky[far, 1]
    shut = open_sky & (heights[far, 1] <= floor)
    ceiling = np.where(open_sky, heights[far, 1], ceiling)
    ceiling = np.where(plan.sky[near, 1], np.maximum(ceiling, eye), ceiling)
    ceiling = np.where(shut, floor, ceiling)

    # Rows grow downwards. Without a crossing the floor and the ceiling are out of the image, and nothing more is visible.
    floors = np.where(none, HEIGHT + 1, row(floor))
    ceilings = np.where(none, -1, row(ceiling))
    steps = np.where(solid, ceilings, np.where(plan.steps[line, side], row(heights[far, 0]), floors))
    lintels = np.where(plan.lintels[line, side] & ~solid & ~open_sky, row(heights[far, 1]), ceilings)

    bands = np.zeros((len(line), _PARTS + 1, 2, WIDTH), np.int64)
    top, bottom = np.zeros(WIDTH, np.int64), np.full(WIDTH, HEIGHT)  # the rows that are still open
    for number, band in enumerate(bands):
        below = floors[number].clip(top, bottom)
        above = ceilings[number].clip(top, below)
        step = np.where(none[number], below, steps[number].clip(above, below))
        lintel = np.where(none[number], above, lintels[number].clip(above, step))
        band[:] = ((below, bottom), (top, above), (step, below), (above, lintel), (lintel, step))
        top, bottom = lintel, step  # the opening is all that later crossings can be seen through
        if (top >= bottom).all():
            break
    # keep the openings in which something hangs, and empty the others
    bands[:, _PARTS, 1] = np.where(plan.curtains[line] & ~none, bands[:, _PARTS, 1], bands[:, _PARTS, 0])
    return bands


def _paint(bands: Ints) -> tuple[Ints, Ints]:
    """Return which part is visible in each pixel, `_UNSEEN` for none, and at which crossing: both [rows, columns].

    Bands do not overlap. Each adds its number at its first row and subtracts it after its last; a cumulative sum down the
    rows then fills all bands at once.
    """
    first, last = bands[:, :, 0], bands[:, :, 1]
    crossing, part, column = np.nonzero(first < last)
    number = 1 + crossing * _PARTS + part
    marks = np.zeros((HEIGHT + 1, WIDTH), np.int64)
    np.add.at(marks, (first[crossing, part, column], column), number)
    np.subtract.at(marks, (last[crossing, part, column], column), number)
    painted = marks.cumsum(0)[:HEIGHT] - 1
    return np.where(painted < 0, _UNSEEN, painted % _PARTS), np.maximum(painted, 0) // _PARTS


def _curtains(openings: Ints, crossings: _Crossings, wall_normals: Floats) -> list[Curtain]:
    """Return the curtains in the openings, if any of their rows are visible."""
    rows = np.arange(HEIGHT)[:, None]
    curtains = []
    for number, (first, last) in enumerate(openings):
        if (first < last).any():
            covered = (rows >= first) & (rows < last)
            normal = wall_normals[crossings.line[number], crossings.side[number]]
            depth = np.where(covered, crossings.depth[number], np.inf)
            curtains.append(Curtain(depth, np.broadcast_to(normal, (HEIGHT, WIDTH, 3))))
    return curtains


def _wall_normals(plan: FloorPlan, camera: Camera) -> Floats:
    """Return the normals of each line seen from its right and from its left, [lines, 2, 3]."""
    along = plan.ends[:, 1] - plan.ends[:, 0]
    length = np.sqrt((along**2).sum(1, keepdims=True))
    outward = along[:, ::-1] * (1, -1) / np.maximum(length, _NEAREST)  # (x, y) → (y, -x) points to the right of the line
    right, forward = to_camera(outward, camera.angle)
    normal = np.stack([right, np.zeros(len(along)), -forward], 1)  # z points backwards
    return np.stack([normal, -normal], 1)


def to_camera(plane: Floats, angle: float) -> tuple[Floats, Floats]:
    """Return the components of plan vectors [..., 2] to the right of the camera's axis, and along it.

    Sines are rounded and no matrices are multiplied, because the last bit of either depends on the machine.
    """
    cos, sin = round(math.cos(angle), 12), round(math.sin(angle), 12)
    x, y = plane[..., 0], plane[..., 1]
    return x * sin - y * cos, x * cos + y * sin
