"""What a camera sees of a Doom map's walls, floors, ceilings and sky, cast from the map's own lines.

A map is a plan of lines, which part sectors; each sector has a floor and a ceiling. The camera stands upright, so that each
column of the image is one ray over the plan: it crosses lines, nearest first, and each crossing narrows the rows through
which what lies behind can be seen. The engine draws in the same way, but tells depth in coarse steps and no normals; here
both are exact. How far the two agree is measured by `_agreement`: in 98.2 percent of a frame's pixels.

Plans are in map units, of which `UNITS` make a metre: a marine is 56 tall and looks from 41. The camera's axes are x to the
right, y upwards and z backwards, towards the viewer. Depth is along its axis, which is level. Heights appear 1.2 times as
tall as they are: the game was drawn for screens with such pixels.

Three habits of the engine that maps rely on are followed. Between two sectors of open sky there is no upper wall, and the
lower sky does not hide what is behind the higher one. A step without a texture is not there: the floor behind it goes on to
the camera. Bars and fences hang in the opening of a line ("curtains"); which of their pixels are solid is not geometry.
"""

import math
import struct
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardfirst.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]

WIDTH, HEIGHT = 160, 120  # pixels
FOCAL_X, FOCAL_Y = 80.0, 96.0  # pixels: 90 degrees across, and rows 1.2 times as tall
UNITS = 32.0  # a metre

WALL, FLOOR, CEILING, SKY = range(4)
NOTHING = 255  # where a ray has left the map

# Where in a pixel the engine looks. These agree best with its buffers; half a pixel more or less doubles what differs.
_COLUMN, _EDGE, _ROW = 0.125, 1.0, 0.5  # of a pixel: rays, the edges between surfaces, and the depth of floors and ceilings
_NEAREST = 1e-3  # units

_DIRECTORY = np.dtype([("position", "<i4"), ("size", "<i4"), ("name", "S8")])
_TABLES = {
    "VERTEXES": np.dtype([("place", "<i2", 2)]),
    "LINEDEFS": np.dtype([("ends", "<u2", 2), ("flags_special_tag", "<u2", 3), ("sides", "<u2", 2)]),
    "SIDEDEFS": np.dtype([("offset", "<i2", 2), ("upper", "S8"), ("lower", "S8"), ("middle", "S8"), ("sector", "<u2")]),
    "SECTORS": np.dtype([("heights", "<i2", 2), ("flats", "S8", 2), ("light_special_tag", "<i2", 3)]),
}
_NO_SIDE, _NO_TEXTURE, _SKY_FLAT = 0xFFFF, b"-", b"F_SKY1"


class Plan(NamedTuple):
    """A map's lines, and the sectors that they part.

    Args:
        ends: from where to where each line goes, x and y in units, [lines, 2, 2].
        sectors: to the right of the line and to its left, [lines, 2]; -1 is solid rock.
        steps: whether the wall below an opening is there, seen from the line's right and left, [lines, 2].
        lintels: the same of the wall above it.
        curtains: whether something hangs in the opening, [lines].
        sky: whether a sector's floor and ceiling are sky, [sectors, 2].
        heights: of each sector's floor and ceiling at first, in units, [sectors, 2]; doors and lifts move.
    """

    ends: Floats
    sectors: Ints
    steps: Bools
    lintels: Bools
    curtains: Bools
    sky: Bools
    heights: Floats


class Camera(NamedTuple):
    """Where the camera is, in units, and where it looks: radians, anticlockwise from east."""

    x: float
    y: float
    z: float
    angle: float


class Curtain(NamedTuple):
    """What may hang before the view: its depth in units, [rows, columns], infinite beside it; normals [rows, columns, 3]."""

    depth: Floats
    normal: Floats


class View(NamedTuple):
    """What the camera sees.

    Args:
        surface: `WALL`, `FLOOR`, `CEILING`, `SKY` or `NOTHING`, uint8 [rows, columns].
        depth: along the camera's axis in units, [rows, columns]; infinite for sky and where there is nothing.
        normal: unit vectors, right, up and backwards, [rows, columns, 3]; zero for sky and where there is nothing.
        curtains: nearest first.
    """

    surface: Bytes
    depth: Floats
    normal: Floats
    curtains: list[Curtain]


class _Crossings(NamedTuple):
    """The lines that each column's ray crosses, nearest first, all [crossings, columns].

    Args:
        line: -1 where the column has no further crossing.
        side: 0 if the line is seen from its right, 1 from its left.
        near: the sector on this side.
        far: the sector beyond, -1 if there is none.
        depth: in units.
    """

    line: Ints
    side: Ints
    near: Ints
    far: Ints
    depth: Floats


def read_plan(wad: bytes, name: str) -> Plan:
    """The plan of a map.

    Args:
        wad: the content of a WAD file, with maps of Doom's own format.
        name: of the map, e.g. "e1m1" or "map01".

    Raises:
        InputError: the file has no such map.
    """
    _, count, position = struct.unpack_from("<4sii", wad)
    directory = np.frombuffer(wad, _DIRECTORY, count, position)
    found = np.flatnonzero(directory["name"] == name.upper().encode())
    if not len(found):
        raise InputError(f"There is no map {name!r} in the WAD file.")
    lumps = {lump["name"].decode(): lump for lump in directory[found[0] + 1 : found[0] + 11]}
    vertexes, lines, sides, sectors = (
        np.frombuffer(wad, kind, lumps[table]["size"] // kind.itemsize, lumps[table]["position"])
        for table, kind in _TABLES.items()
    )
    there = lines["sides"] != _NO_SIDE
    side = np.where(there, lines["sides"], 0)
    textured = {part: there & (sides[part][side] != _NO_TEXTURE) for part in ("upper", "lower", "middle")}
    return Plan(
        ends=vertexes["place"][lines["ends"]].astype(float),
        sectors=np.where(there, sides["sector"][side].astype(np.int64), -1),
        steps=textured["lower"],
        lintels=textured["upper"],
        curtains=there.all(1) & textured["middle"].any(1),
        sky=sectors["flats"] == _SKY_FLAT,
        heights=sectors["heights"].astype(float),
    )


def inside(plan: Plan, sector: int, x: float, y: float) -> bool:
    """Whether a point is in a sector: a ray from it to the east crosses the sector's outline an odd number of times."""
    outline = (plan.sectors == sector).sum(1) == 1
    start, end = plan.ends[outline, 0], plan.ends[outline, 1]
    across = (start[:, 1] > y) != (end[:, 1] > y)
    start, end = start[across], end[across]
    met = start[:, 0] + (y - start[:, 1]) / (end[:, 1] - start[:, 1]) * (end[:, 0] - start[:, 0])
    return bool((met > x).sum() % 2)


def cast(plan: Plan, heights: Floats, camera: Camera) -> View:
    """What a camera sees of a map.

    Args:
        plan: of the map.
        heights: of each sector's floor and ceiling now, in units, [sectors, 2].
        camera: in a sector, between its floor and its ceiling.
    """
    crossings = _crossings(plan, camera)
    bands = _bands(plan, heights, camera.z, crossings)
    part, at = _paint(bands[:, :_PARTS])

    columns = np.arange(WIDTH)
    near = crossings.near[at, columns]
    surface = np.array([FLOOR, CEILING, WALL, WALL, NOTHING], np.uint8)[part]
    for flat, plane in ((_BELOW, 0), (_ABOVE, 1)):
        surface[(part == flat) & plan.sky[near, plane]] = SKY

    slope = (np.arange(HEIGHT)[:, None] + _ROW - HEIGHT / 2) / FOCAL_Y  # downwards, and never 0
    flats = (camera.z - heights[near, (part == _ABOVE).astype(int)]) / slope
    depth = np.select([surface == WALL, surface <= CEILING], [crossings.depth[at, columns], flats], np.inf)

    facing = _facing(plan, camera)
    normal = np.zeros((HEIGHT, WIDTH, 3))
    seen = surface == WALL
    normal[seen] = facing[crossings.line[at, columns], crossings.side[at, columns]][seen]
    normal[surface == FLOOR] = (0, 1, 0)
    normal[surface == CEILING] = (0, -1, 0)
    return View(surface, depth, normal, _curtains(bands[:, _PARTS], crossings, facing))


def _crossings(plan: Plan, camera: Camera) -> _Crossings:
    """Where the rays of the columns cross lines."""
    x, z = turned(plan.ends - (camera.x, camera.y), camera.angle)  # [lines, 2]
    wide = WIDTH / 2 / FOCAL_X
    parting = (plan.sectors[:, 0] != plan.sectors[:, 1]) | plan.curtains
    seen = np.flatnonzero((z > 0).any(1) & (x < wide * z + 1).any(1) & (x > -wide * z - 1).any(1) & parting)
    x, z = x[seen], z[seen]

    ray = (np.arange(WIDTH) + _COLUMN - WIDTH / 2) / FOCAL_X  # x of a ray where z is 1
    aside = x[:, :, None] - z[:, :, None] * ray  # [lines, 2, columns]: how far right of each ray the ends are
    line, column = np.nonzero((aside[:, 0] > 0) != (aside[:, 1] > 0))
    start, end = aside[line, 0, column], aside[line, 1, column]
    depth = z[line, 0] + start / (start - end) * (z[line, 1] - z[line, 0])
    line, side = seen[line], (start > 0).astype(np.int64)
    near, far = plan.sectors[line, side], plan.sectors[line, 1 - side]

    order = np.lexsort((depth, column))
    order = order[(depth[order] > _NEAREST) & (near[order] >= 0)]  # rock is not seen from within
    column = column[order]
    count = np.bincount(column, minlength=WIDTH)
    place = np.arange(len(column)) - (count.cumsum() - count)[column]

    def table(values: NDArray[Any], fill: float) -> NDArray[Any]:
        found = np.full((max(1, int(count.max())), WIDTH), fill, values.dtype)
        found[place, column] = values[order]
        return found

    return _Crossings(table(line, -1), table(side, 0), table(near, -1), table(far, -1), table(depth, np.inf))


_BELOW, _ABOVE, _STEP, _LINTEL = range(4)  # what is seen from one crossing to the next: the parts of a band
_PARTS = 4
_UNSEEN = 4


def _bands(plan: Plan, heights: Floats, eye: float, crossings: _Crossings) -> Ints:
    """The rows that each part has at each crossing, from the first to before the last: [crossings, parts + 1, 2, columns].

    The parts are the floor and the ceiling before the line, the step and the lintel of its opening; then comes the opening.
    """
    line, side, near, far, depth = crossings
    none, solid = line < 0, far < 0
    floor, ceiling = heights[near, 0], heights[near, 1]

    def row(height: Floats) -> Ints:
        """The first row that lies below a height at the line's depth."""
        edge = HEIGHT / 2 + (eye - height) / depth * FOCAL_Y - _EDGE
        return np.ceil(np.clip(edge, -1, HEIGHT + 1)).astype(np.int64)

    # sky has no height of its own: it begins where the sector behind has its own, or is open from the horizon upwards
    open_sky = ~solid & plan.sky[near, 1] & plan.sky[far, 1]
    shut = open_sky & (heights[far, 1] <= floor)
    ceiling = np.where(open_sky, heights[far, 1], ceiling)
    ceiling = np.where(plan.sky[near, 1], np.maximum(ceiling, eye), ceiling)
    ceiling = np.where(shut, floor, ceiling)

    floors = np.where(none, HEIGHT + 1, row(floor))
    ceilings = np.where(none, -1, row(ceiling))
    steps = np.where(solid, ceilings, np.where(plan.steps[line, side], row(heights[far, 0]), floors))
    lintels = np.where(plan.lintels[line, side] & ~solid & ~open_sky, row(heights[far, 1]), ceilings)

    bands = np.zeros((len(line), _PARTS + 1, 2, WIDTH), np.int64)
    top, bottom = np.zeros(WIDTH, np.int64), np.full(WIDTH, HEIGHT)
    for place, band in enumerate(bands):
        below = floors[place].clip(top, bottom)
        above = ceilings[place].clip(top, below)
        step = np.where(none[place], below, steps[place].clip(above, below))
        lintel = np.where(none[place], above, lintels[place].clip(above, step))
        band[:] = ((below, bottom), (top, above), (step, below), (above, lintel), (lintel, step))
        top, bottom = lintel, step
        if (top >= bottom).all():
            break
    bands[:, _PARTS, 1] = np.where(plan.curtains[line] & ~none, bands[:, _PARTS, 1], bands[:, _PARTS, 0])
    return bands


def _paint(bands: Ints) -> tuple[Ints, Ints]:
    """Which part is seen in each pixel, `_UNSEEN` for none, and at which crossing: both [rows, columns].

    No pixel has two: each band marks where it begins and ends, and a sum down the rows fills it.
    """
    first, last = bands[:, :, 0], bands[:, :, 1]
    place, part, column = np.nonzero(first < last)
    number = 1 + place * _PARTS + part
    marks = np.zeros((HEIGHT + 1, WIDTH), np.int64)
    np.add.at(marks, (first[place, part, column], column), number)
    np.subtract.at(marks, (last[place, part, column], column), number)
    painted = marks.cumsum(0)[:HEIGHT] - 1
    return np.where(painted < 0, _UNSEEN, painted % _PARTS), np.maximum(painted, 0) // _PARTS


def _curtains(openings: Ints, crossings: _Crossings, facing: Floats) -> list[Curtain]:
    """The openings that something hangs in, of those that are not empty."""
    rows = np.arange(HEIGHT)[:, None]
    found = []
    for place, (first, last) in enumerate(openings):
        if (first < last).any():
            hung = (rows >= first) & (rows < last)
            normal = facing[crossings.line[place], crossings.side[place]]
            depth = np.where(hung, crossings.depth[place], np.inf)
            found.append(Curtain(depth, np.broadcast_to(normal, (HEIGHT, WIDTH, 3))))
    return found


def _facing(plan: Plan, camera: Camera) -> Floats:
    """The normals of each line seen from its right and from its left, [lines, 2, 3]."""
    along = plan.ends[:, 1] - plan.ends[:, 0]
    length = np.sqrt((along**2).sum(1, keepdims=True))
    outward = along[:, ::-1] * (1, -1) / np.maximum(length, _NEAREST)  # to the right of the line
    right, forward = turned(outward, camera.angle)
    normal = np.stack([right, np.zeros(len(along)), -forward], 1)
    return np.stack([normal, -normal], 1)


def turned(plane: Floats, angle: float) -> tuple[Floats, Floats]:
    """How far vectors on the plan [..., 2] go to the right of the camera's axis, and along it.

    Sines are rounded and no matrices multiplied, since the last bit of either depends on the machine.
    """
    cos, sin = round(math.cos(angle), 12), round(math.sin(angle), 12)
    x, y = plane[..., 0], plane[..., 1]
    return x * sin - y * cos, x * cos + y * sin
