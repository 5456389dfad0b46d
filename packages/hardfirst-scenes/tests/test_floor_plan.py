import struct

import pytest
from rooms import two_rooms

from hardfirst.errors import InputError
from hardfirst_scenes._floor_plan import inside, read_floor_plan


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
    plan = read_floor_plan(wad_of("e1m1"), "e1m1")
    assert plan.ends.tolist() == [[[-32, 64], [128, -256]], [[128, -256], [-32, 64]]]
    assert plan.sectors.tolist() == [[1, 0], [0, -1]]
    assert plan.steps.tolist() == [[True, False], [False, False]]
    assert plan.lintels.tolist() == [[False, True], [True, False]]
    assert plan.curtains.tolist() == [True, False]  # what hangs before rock is the wall itself
    assert plan.sky.tolist() == [[False, False], [False, True]]
    assert plan.heights.tolist() == [[-8, 128], [0, 256]]
    with pytest.raises(InputError, match="There is no map 'map07'"):
        read_floor_plan(wad_of("e1m1"), "map07")
