"""Frames of one map, rendered by vizdoom, and the worker process that renders a share of the maps.

The camera is placed at random points of a map in which nothing moves ("freeze"), so a frame depends only on its number and
the map's name. Half of the frames look in any direction, the other half towards an object within 20 metres, since most
directions show none. Points outside the map, in closed doors, or less than 1.5 metres from an object are rejected. Frames
are also rejected if they are dark, show little but a near wall or the sky, or if the floor plan and the engine disagree (see
`_labels`) in more than 8% of the pixels.
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

from hardfirst.errors import InputError, MissingPackage
from hardfirst.records import replaced_file
from hardfirst_scenes._floor_plan import Floats, FloorPlan, inside, read_floor_plan
from hardfirst_scenes._labels import IGNORE, Buffers, Object, Targets, targets
from hardfirst_scenes._view import SKY, Bytes, Camera, cast

NAMES = ("rgb", "classes", "depth", "normals", "boxes")
Arrays = dict[str, NDArray[Any]]

SEED = 7
SKILL = 4  # "ultra-violence": the most monsters that stand where the map's author put them
SPAWN_TICS = 20  # until a player who has just appeared can turn
SETTLE_TICS = 12  # until the camera has settled
TRIES = 60  # per frame

NEAREST, FARTHEST = 48.0, 640.0  # distance of an object to look at, in units
AROUND = math.radians(30)  # the camera looks at most this far to the side of the object
EYE, HEADROOM = 30.0, 8.0  # lowest distance of the camera from the floor and the ceiling, in units
OPEN = 64.0  # lowest median depth of a frame, in units
MOST_SKY = 0.6  # share of a frame
LIGHT = 12.0  # lowest mean of a frame's pixels, of 255
DOUBT = 0.08  # largest share of a frame that is ignored without being an object

_PLAYER = "DoomPlayer"
_HIDDEN = ("hud", "weapon", "crosshair", "messages", "screen_flashes", "decals", "particles", "effects_sprites", "corpses")


class RenderJob(NamedTuple):
    """A map to render: its file and name, the number of frames, and the file to write them to."""

    wad: str
    name: str
    frames: int
    path: str


class Candidate(NamedTuple):
    """A rendered frame that may be rejected: image [3, rows, columns], camera, current sector heights, and buffers."""

    rgb: Bytes
    camera: Camera
    heights: Floats
    buffers: Buffers


def render(wad: Path, name: str, count: int) -> Arrays:
    """Render frames of a map.

    Returns:
        `NAMES`, each [frames, ...]: `count` frames, or fewer if the map has too few good viewpoints. The first frames do not
        depend on `count`.

    Raises:
        InputError: the file has no such map, or vizdoom cannot be used.
    """
    plan = read_floor_plan(wad.read_bytes(), name)
    rng = np.random.default_rng(list(sha256(f"{wad.name} {name} {SEED}".encode()).digest()))
    accepted: list[tuple[NDArray[Any], ...]] = []
    with Game(wad, name) as game:
        for candidate in candidates(plan, game, rng, count * TRIES):
            if (frame_targets := _accept(plan, candidate)) is not None:
                accepted.append((candidate.rgb, *frame_targets))
            if len(accepted) == count:
                break
    if not accepted:
        raise InputError(f"No frame of {name} in {wad} was good enough to keep.")
    return {name: np.stack(arrays) for name, arrays in zip(NAMES, zip(*accepted, strict=True), strict=True)}


def _accept(plan: FloorPlan, candidate: Candidate) -> Targets | None:
    """Return a frame's targets, or None if the frame is rejected."""
    view = cast(plan, candidate.heights, candidate.camera)
    if candidate.rgb.mean() < LIGHT or np.median(view.depth) < OPEN or (view.surface == SKY).mean() > MOST_SKY:
        return None
    frame_targets = targets(view, candidate.camera, candidate.buffers)
    objects = np.isin(candidate.buffers.labels, [thing.value for thing in candidate.buffers.objects])
    doubtful = (frame_targets.classes == IGNORE) & ~objects
    return frame_targets if doubtful.mean() <= DOUBT else None


def candidates(plan: FloorPlan, game: "Game", rng: np.random.Generator, tries: int) -> Iterator[Candidate]:
    """Render frames from random viewpoints, of which at most `tries` are tried."""
    sectors = np.unique(plan.sectors[plan.sectors >= 0])
    corners = [plan.ends[(plan.sectors == sector).any(1)].reshape(-1, 2) for sector in sectors]
    low, high = np.array([ends.min(0) for ends in corners]), np.array([ends.max(0) for ends in corners])
    # a sector's probability: between one frame per sector and one per square metre
    probability = np.sqrt((high - low).prod(1))
    probability = probability / probability.sum()
    for _ in range(tries):
        # every try draws the same numbers of random values, whether or not it is rejected: the frames depend on this order
        index = int(rng.choice(len(sectors), p=probability))
        x, y = (float(value) for value in np.round(rng.uniform(low[index], high[index])))
        towards, aside, which, anywhere = rng.random(4)
        if not inside(plan, int(sectors[index]), x, y):
            continue
        distance = np.sqrt(((game.objects - (x, y)) ** 2).sum(1))
        if (distance < NEAREST).any():
            continue
        near = game.objects[distance < FARTHEST]
        angle = 2 * math.pi * anywhere
        if towards < 0.5 and len(near):
            target = near[int(which * len(near))]
            angle = math.atan2(target[1] - y, target[0] - x) + AROUND * (2 * aside - 1)
        candidate = game.look(x, y, angle)
        if candidate is None:
            continue
        floor, ceiling = candidate.heights[sectors[index]]
        if floor + EYE <= candidate.camera.z <= ceiling - HEADROOM:
            yield candidate


class Game:
    """The engine with a map in which nothing moves but the camera. It leaves files in the working directory.

    Args:
        wad: the file with the map.
        name: the map's name.

    Attributes:
        objects: the positions of all objects on the plan, [objects, 2].
        heading: the player's direction in degrees.

    Raises:
        InputError: vizdoom is not installed, or does not start.
    """

    def __init__(self, wad: Path, name: str) -> None:
        try:
            import vizdoom
        except ImportError as error:
            raise MissingPackage(f"Rendering needs vizdoom, which cannot be imported: {error}.") from None
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
        for what in _HIDDEN:
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
        self.game.make_action([0.0], SPAWN_TICS)
        state = self.game.get_state()
        self.heading = float(state.game_variables[3])
        positions = [(thing.position_x, thing.position_y) for thing in state.objects if thing.name != _PLAYER]
        self.objects = np.array(positions, float).reshape(-1, 2)

    def look(self, x: float, y: float, angle: float) -> Candidate | None:
        """Render the view from a point, in units, in a direction, in radians; None if the player cannot be put there."""
        turn = self.heading - math.degrees(angle)  # to the right
        self.game.send_game_command(f"warp {x:.0f} {y:.0f}")
        self.game.make_action([float((turn + 180) % 360 - 180)], 1)
        self.game.make_action([0.0], SETTLE_TICS)
        if self.game.is_episode_finished() or self.game.is_player_dead():
            self.game.new_episode()
            self._begin()
            return None
        state = self.game.get_state()
        camera_x, camera_y, camera_z, self.heading = (float(value) for value in state.game_variables)
        if abs(camera_x - x) + abs(camera_y - y) > 1:
            return None
        objects = [
            Object(
                label.value,
                label.object_name,
                label.object_category,
                label.object_position_x,
                label.object_position_y,
            )
            for label in state.labels
            if label.object_name != _PLAYER
        ]
        return Candidate(
            rgb=np.array(state.screen_buffer),
            camera=Camera(camera_x, camera_y, camera_z, math.radians(self.heading)),
            heights=np.array([(sector.floor_height, sector.ceiling_height) for sector in state.sectors], float),
            buffers=Buffers(np.array(state.depth_buffer), np.array(state.labels_buffer), objects),
        )


def read(path: Path, names: Iterable[str] = NAMES) -> Arrays:
    """Read some of the arrays in a file written by `write`.

    Raises:
        Exception: of many types, if the file does not exist or is damaged; each array has a checksum.
    """
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names}


def write(path: Path, arrays: Arrays) -> None:
    """Write the frames of a map; the file is complete or does not exist."""
    with replaced_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def main() -> None:
    """Render the jobs in the first line of standard input.

    The worker ends when standard input is closed, which happens when the process that started it ends.
    """
    jobs = [RenderJob(*job) for job in json.loads(sys.stdin.readline())]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds the stack, which closes the engine, another process
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        for job in jobs:
            write(Path(job.path), render(Path(job.wad), job.name, job.frames))
    except InputError as error:
        sys.exit(str(error))


def _end_with_input() -> None:
    while os.read(0, 1):  # not through `sys.stdin`, whose lock would keep the interpreter from ending
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
