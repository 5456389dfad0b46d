"""Frames of one map, rendered by vizdoom, and the process that renders a share of the maps.

The camera is put at random places of a map where everything stands still ("freeze"), so that a frame depends on its number
and the map's name, and on nothing else. One half of the frames look in any direction, the other half towards some object
within 20 metres, since most directions show none. Left out are places outside the map, in closed doors, or less than 1.5
metres from an object; and frames that are dark, that show little but a near wall or the sky, or of which the plan and the
engine disagree (see `_labels`) in more than 8 percent.
"""

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hardfirst.errors import InputError
from hardfirst.records import replacing
from hardfirst_scenes._geometry import SKY, Camera, Floats, Plan, cast, inside, read_plan
from hardfirst_scenes._labels import IGNORE, Buffers, Object, Targets, targets

NAMES = ("rgb", "classes", "depth", "normals", "boxes")
Arrays = dict[str, NDArray[Any]]

SEED = 7
SKILL = 4  # "ultra-violence": the most monsters that stand where the map's author put them
AWAKE, STILL = 20, 12  # tics until a player who has just appeared can turn, and until the camera has settled
TRIES = 60  # a frame

NEAREST, FARTHEST, AROUND = 48.0, 640.0, math.radians(30)  # of an object that is looked at: units, and how far beside it
EYE, HEADROOM = 30.0, 8.0  # the camera above the floor and below the ceiling, at least, in units
OPEN, MOST_SKY = 64.0, 0.6  # half of a frame is to be so many units away, and no larger part sky
LIGHT = 12.0  # of 255: a frame's mean
DOUBT = 0.08  # of a frame: what is ignored and no object

_PLAYER = "DoomPlayer"
_SHOWN = ("hud", "weapon", "crosshair", "messages", "screen_flashes", "decals", "particles", "effects_sprites", "corpses")


class Job(NamedTuple):
    """A map to render: its file and name, how many frames, and where to write them."""

    wad: str
    name: str
    frames: int
    path: str


class Candidate(NamedTuple):
    """A frame that was tried: image [3, rows, columns], where it is from, and what the engine says of it."""

    rgb: NDArray[np.uint8]
    camera: Camera
    heights: Floats
    buffers: Buffers


def render(wad: Path, name: str, count: int) -> Arrays:
    """Frames of a map: `NAMES`, each [frames, ...]; fewer than `count` only if the map has too few good places.

    The first frames are the same whatever the count.

    Raises:
        InputError: the file has no such map, or vizdoom cannot be used.
    """
    plan = read_plan(wad.read_bytes(), name)
    rng = np.random.default_rng(list(sha256(f"{wad.name} {name} {SEED}".encode()).digest()))
    found: list[tuple[NDArray[np.uint8], Targets]] = []
    with Game(wad, name) as game:
        for candidate in candidates(plan, game, rng, count * TRIES):
            if (kept := _targets(plan, candidate)) is not None:
                found.append((candidate.rgb, kept))
            if len(found) == count:
                break
    if not found:
        raise InputError(f"No frame of {name} in {wad} was good enough to keep.")
    return {place: np.stack([(rgb, *kept)[at] for rgb, kept in found]) for at, place in enumerate(NAMES)}


def _targets(plan: Plan, candidate: Candidate) -> Targets | None:
    """The targets of a frame, None if it is not to be used."""
    view = cast(plan, candidate.heights, candidate.camera)
    if candidate.rgb.mean() < LIGHT or np.median(view.depth) < OPEN or (view.surface == SKY).mean() > MOST_SKY:
        return None
    found = targets(view, candidate.camera, candidate.buffers)
    objects = np.isin(candidate.buffers.labels, [each.value for each in candidate.buffers.objects])
    return found if ((found.classes == IGNORE) & ~objects).mean() <= DOUBT else None


def candidates(plan: Plan, game: "Game", rng: np.random.Generator, count: int) -> Iterator[Candidate]:
    """Frames from random places, of at most `count` that are tried."""
    sectors = np.unique(plan.sectors[plan.sectors >= 0])
    corners = [plan.ends[(plan.sectors == sector).any(1)].reshape(-1, 2) for sector in sectors]
    low, high = np.array([ends.min(0) for ends in corners]), np.array([ends.max(0) for ends in corners])
    chance = np.sqrt((high - low).prod(1))  # of a sector: halfway from one for each to one for each square metre
    chance = chance / chance.sum()
    for _ in range(count):
        at = int(rng.choice(len(sectors), p=chance))
        x, y = (float(value) for value in np.round(rng.uniform(low[at], high[at])))
        towards, aside, which, anywhere = rng.random(4)
        if not inside(plan, int(sectors[at]), x, y):
            continue
        away = np.sqrt(((game.objects - (x, y)) ** 2).sum(1))
        if (away < NEAREST).any():
            continue
        near = game.objects[away < FARTHEST]
        angle = 2 * math.pi * anywhere
        if towards < 0.5 and len(near):
            chosen = near[int(which * len(near))]
            angle = math.atan2(chosen[1] - y, chosen[0] - x) + AROUND * (2 * aside - 1)
        found = game.look(x, y, angle)
        if found is None:
            continue
        floor, ceiling = found.heights[sectors[at]]
        if floor + EYE <= found.camera.z <= ceiling - HEADROOM:
            yield found


class Game:
    """The engine with a map, in which nothing moves but the camera. It leaves files in the working directory.

    Args:
        wad: the file with the map.
        name: of the map.

    Attributes:
        objects: where all objects are on the plan, [objects, 2].
        heading: where the player looks, in degrees.

    Raises:
        InputError: vizdoom is not installed, or does not start.
    """

    def __init__(self, wad: Path, name: str) -> None:
        try:
            import vizdoom
        except ImportError as error:
            raise InputError(f"Rendering takes vizdoom, which cannot be imported: {error}.") from None
        variable = vizdoom.GameVariable
        game: Any = vizdoom.DoomGame()
        game.set_doom_game_path(str(wad))
        game.set_doom_map(name)
        game.set_doom_config_path(str(Path.cwd() / "vizdoom.ini"))
        game.set_doom_skill(SKILL)
        game.set_seed(SEED)
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        game.set_screen_format(vizdoom.ScreenFormat.CRCGCB)
        for what in _SHOWN:
            getattr(game, f"set_render_{what}")(False)
        for what in ("depth_buffer", "labels_buffer", "objects_info", "sectors_info"):
            getattr(game, f"set_{what}_enabled")(True)
        game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA])
        game.set_available_game_variables(
            [variable.POSITION_X, variable.POSITION_Y, variable.CAMERA_POSITION_Z, variable.ANGLE]
        )
        game.add_game_args("+sv_cheats 1 +cl_showsecretmessage 0")  # a secret's announcement would stay on the screen
        try:
            game.init()
        except Exception as error:  # vizdoom's errors have no common base
            raise InputError(f"vizdoom does not start: {error}") from error
        self.game = game
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.game.close()

    def _begin(self) -> None:
        for command in ("god", "notarget", "freeze"):
            self.game.send_game_command(command)
        self.game.make_action([0.0], AWAKE)
        state = self.game.get_state()
        self.heading = float(state.game_variables[3])
        places = [(each.position_x, each.position_y) for each in state.objects if each.name != _PLAYER]
        self.objects = np.array(places, float).reshape(-1, 2)

    def look(self, x: float, y: float, angle: float) -> Candidate | None:
        """What is seen from a place, in units, in a direction, in radians; None if the player cannot be put there."""
        turn = self.heading - math.degrees(angle)  # to the right
        self.game.send_game_command(f"warp {x:.0f} {y:.0f}")
        self.game.make_action([float((turn + 180) % 360 - 180)], 1)
        self.game.make_action([0.0], STILL)
        if self.game.is_episode_finished() or self.game.is_player_dead():
            self.game.new_episode()
            self._begin()
            return None
        state = self.game.get_state()
        there = [float(value) for value in state.game_variables]
        self.heading = there[3]
        if abs(there[0] - x) + abs(there[1] - y) > 1:
            return None
        objects = [
            Object(
                each.value,
                each.object_name,
                each.object_category,
                each.object_position_x,
                each.object_position_y,
            )
            for each in state.labels
            if each.object_name != _PLAYER
        ]
        return Candidate(
            rgb=np.array(state.screen_buffer),
            camera=Camera(there[0], there[1], there[2], math.radians(there[3])),
            heights=np.array([(sector.floor_height, sector.ceiling_height) for sector in state.sectors], float),
            buffers=Buffers(np.array(state.depth_buffer), np.array(state.labels_buffer), objects),
        )


def read(path: Path, names: Iterable[str] = NAMES) -> Arrays:
    """What is asked for of the frames of a map, from a file that `write` wrote.

    Raises:
        Exception: of many kinds, if the file is not there or damaged: each array has a checksum.
    """
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in names}


def write(path: Path, frames: Arrays) -> None:
    """Write the frames of a map, all or nothing."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **frames)


def main() -> None:
    """Render the maps of the first line of standard input, until that is closed: then whoever wanted them is gone."""
    jobs = [Job(*job) for job in json.loads(sys.stdin.readline())]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the engine, a process of its own, is closed
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        for job in jobs:
            write(Path(job.path), render(Path(job.wad), job.name, job.frames))
    except InputError as error:
        sys.exit(str(error))


def _end_with_input() -> None:
    while os.read(0, 1):  # not by `sys.stdin`, whose lock would keep the interpreter from ending
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
