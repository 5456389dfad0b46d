"""Floor plans of Doom maps, read from a WAD file.

A WAD file is a directory of named lumps. The lumps that follow a map's name hold tables of fixed-size records: the vertexes
on the plan, the lines between them, the sides of each line with their textures, and the sectors, which are the areas between
lines with one floor and one ceiling height each.

Plans are in map units, of which `UNITS_PER_METRE` make a metre: the player is 56 units tall and sees from a height of 41.
"""

import struct
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hardfirst.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

UNITS_PER_METRE = 32.0

_DIRECTORY = np.dtype([("position", "<i4"), ("size", "<i4"), ("name", "S8")])
_RECORDS = {
    "VERTEXES": np.dtype([("point", "<i2", 2)]),
    "LINEDEFS": np.dtype([("ends", "<u2", 2), ("flags_special_tag", "<u2", 3), ("sides", "<u2", 2)]),
    "SIDEDEFS": np.dtype([("offset", "<i2", 2), ("upper", "S8"), ("lower", "S8"), ("middle", "S8"), ("sector", "<u2")]),
    "SECTORS": np.dtype([("heights", "<i2", 2), ("flats", "S8", 2), ("light_special_tag", "<i2", 3)]),
}
_LUMPS_OF_A_MAP = 10  # after the lump with its name
_NO_SIDE, _NO_TEXTURE, _SKY_FLAT = 0xFFFF, b"-", b"F_SKY1"


class FloorPlan(NamedTuple):
    """A map's lines, and the sectors that they separate.

    Args:
        ends: start and end of each line, x and y in units, [lines, 2, 2].
        sectors: the sectors to the right and to the left of each line, [lines, 2]; -1 is solid rock.
        steps: whether the wall below an opening has a texture, seen from the line's right and left, [lines, 2].
        lintels: the same for the wall above an opening.
        curtains: whether something hangs in the opening, [lines].
        sky: whether a sector's floor and ceiling are sky, [sectors, 2].
        heights: initial heights of each sector's floor and ceiling in units, [sectors, 2]; doors and lifts change them.
    """

    ends: Floats
    sectors: Ints
    steps: Bools
    lintels: Bools
    curtains: Bools
    sky: Bools
    heights: Floats


def read_floor_plan(wad: bytes, name: str) -> FloorPlan:
    """Read the floor plan of a map.

    Args:
        wad: the content of a WAD file with maps in Doom's own format.
        name: the map's name, e.g. "e1m1" or "map01".

    Raises:
        InputError: the file has no such map.
    """
    _, count, position = struct.unpack_from("<4sii", wad)
    directory = np.frombuffer(wad, _DIRECTORY, count, position)
    matches = np.flatnonzero(directory["name"] == name.upper().encode())
    if not len(matches):
        raise InputError(f"There is no map {name!r} in the WAD file.")
    first = matches[0] + 1
    lumps = {lump["name"].decode(): lump for lump in directory[first : first + _LUMPS_OF_A_MAP]}
    vertexes, lines, sides, sectors = (
        np.frombuffer(wad, record, lumps[table]["size"] // record.itemsize, lumps[table]["position"])
        for table, record in _RECORDS.items()
    )
    has_side = lines["sides"] != _NO_SIDE
    side = np.where(has_side, lines["sides"], 0)  # any valid index: what it selects is masked by has_side
    textured = {part: has_side & (sides[part][side] != _NO_TEXTURE) for part in ("upper", "lower", "middle")}
    return FloorPlan(
        ends=vertexes["point"][lines["ends"]].astype(float),
        sectors=np.where(has_side, sides["sector"][side].astype(np.int64), -1),
        steps=textured["lower"],
        lintels=textured["upper"],
        # a middle texture on a line with one side is the wall itself; on a line with two it hangs in the opening
        curtains=has_side.all(1) & textured["middle"].any(1),
        sky=sectors["flats"] == _SKY_FLAT,
        heights=sectors["heights"].astype(float),
    )


def inside(plan: FloorPlan, sector: int, x: float, y: float) -> bool:
    """Return whether a point is in a sector.

    A ray from a point in the sector to the east crosses the sector's outline an odd number of times.
    """
    # lines with the sector on both sides are not part of its outline
    outline = (plan.sectors == sector).sum(1) == 1
    start, end = plan.ends[outline, 0], plan.ends[outline, 1]
    spans_y = (start[:, 1] > y) != (end[:, 1] > y)
    start, end = start[spans_y], end[spans_y]
    crossing = start[:, 0] + (y - start[:, 1]) / (end[:, 1] - start[:, 1]) * (end[:, 0] - start[:, 0])
    return bool((crossing > x).sum() % 2)
