"""Freedoom's maps, their splits, and the number of frames rendered from each.

There are 68 maps: the 36 of the first game (e1m1 to e4m9), then the 32 of the second (map01 to map32). No two share a room.
In this order every fifth map, from the fifth on, is for testing, 13 in all; every tenth, from the third on, for validation,
7 in all; the other 48 are for training. So each split has maps from all parts of both games, and no frame of one split shows
a place of another. There are two sizes:

- `full`: 93 frames of each map: 4,464 for training, 651 for validation, 1,209 for testing; 1.1 GB.
- `small`, for laptops and CI: 17 frames of every second training map (408), 14 of each validation map (98), 12 of each test
  map (156); 115 MB. They are the first frames of these maps in `full`.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from hardfirst.problems import PyPI, Source

PACKAGE = PyPI("vizdoom", "1.3.2")
SOURCE = Source(
    packages={
        PACKAGE: {
            "freedoom1.wad": "7323bcc168c5a45ff10749b339960e98314740a734c30d4b9f3337001f9e703d",
            "freedoom2.wad": "a8772e088847032510d97ba2312406a6998f21cbab44d4ff10696faa9c0ecd4b",
        },
    },
    size="64 MB",
    licence="BSD 3-Clause (Freedoom), MIT (vizdoom)",
    credit="The Freedoom project, https://freedoom.github.io; Wydmuch, Kempka and Jaśkowski, ViZDoom Competitions, IEEE "
    "Transactions on Games 11, 2019, https://vizdoom.farama.org",
)

Size = Literal["small", "full"]
SPLITS = ("train", "validation", "test")


class Map(NamedTuple):
    """One of Freedoom's maps: its file and its name."""

    wad: str
    name: str


class Share(NamedTuple):
    """The part of a split that a size uses: the interval between maps, and the number of frames of each."""

    every: int
    frames: int


MAPS = (
    *(Map("freedoom1.wad", f"e{episode}m{number}") for episode in range(1, 5) for number in range(1, 10)),
    *(Map("freedoom2.wad", f"map{number:02}") for number in range(1, 33)),
)
SIZES: Mapping[str, Mapping[str, Share]] = {
    "small": {"train": Share(2, 17), "validation": Share(1, 14), "test": Share(1, 12)},
    "full": {"train": Share(1, 93), "validation": Share(1, 93), "test": Share(1, 93)},
}


def maps(split: str, size: str = "full") -> list[Map]:
    """Return the maps of a split.

    Example:
        >>> [level.name for level in maps("validation")]
        ['e1m3', 'e2m4', 'e3m5', 'e4m6', 'map07', 'map17', 'map27']
    """
    levels = [level for index, level in enumerate(MAPS) if _split_of(index) == split]
    return levels[:: SIZES[size][split].every]


def _split_of(index: int) -> str:
    if index % 5 == 4:
        return "test"
    return "validation" if index % 10 == 2 else "train"
