"""The splits, and the rendering of frames where the engine is installed."""

import hashlib
import itertools
import math
import os
import platform
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst_scenes import _engine, _maps, _rendering, _workers
from hardfirst_scenes._agreement import measure
from hardfirst_scenes._floor_plan import read_floor_plan
from hardfirst_scenes._labels import IGNORE
from hardfirst_scenes._maps import MAPS, SIZES, SOURCE, SPLITS, Share, maps
from hardfirst_scenes._rendering import SplitTensors, load_frames
from hardfirst_scenes._view import CEILING, FLOOR, SKY

installed = pytest.mark.skipif(not SOURCE.ready and not os.environ.get("CI"), reason=f"needs: {SOURCE.install}")


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
        ends = read_floor_plan(content[found.wad], found.name).ends.reshape(-1, 4)
        corners.append({tuple(row) for row in np.concatenate([ends[:-1], ends[1:]], 1).tolist()})
    assert min(map(len, corners)) > 300
    assert max(len(one & other) for one, other in itertools.combinations(corners, 2)) < 10  # two blocks of 64 by 64


# The rendering: four maps, two frames each


TINY: Mapping[str, Share] = {"train": Share(24, 2), "validation": Share(7, 2), "test": Share(13, 2)}
TINY_MAPS = {"train": ["e1m1", "e4m9"], "validation": ["e1m3"], "test": ["e1m5"]}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[SplitTensors, list[tuple[int, int]], list[str], list[str]]:
    """The frames, what progress was told, the warnings, and what was left in the working directory and at home."""
    data, there, home = (tmp_path_factory.mktemp(name) for name in ("data", "there", "home"))
    told: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setitem(SIZES, "small", TINY)
        patch.setenv("HARDFIRST_DATA", str(data))
        patch.setenv("HOME", str(home))
        patch.setattr(_workers, "_cores", lambda: 2)
        patch.chdir(there)
        patch.setattr(_workers, "_progress_bar", lambda: nullcontext(lambda done, total: told.append((done, total))))
        found = load_frames("small")
    said = [str(each.message) for each in caught]
    left = [str(path) for folder in (there, home) for path in folder.rglob("*")]
    kept = sorted(path.name for folder in data.iterdir() for path in folder.iterdir())
    assert kept == [".lock", "small.pt"]
    return found, told, said, left


@pytest.fixture
def frames(tiny: tuple[SplitTensors, object, object, object]) -> SplitTensors:
    return tiny[0]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate folder for the tiny frames, whose checksum is taken to be right; one worker at a time."""
    monkeypatch.setitem(SIZES, "small", TINY)
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(_workers, "_cores", lambda: 1)
    monkeypatch.setattr(_rendering, "_warn_if_different", lambda made, size: None)
    return _rendering.frames_folder()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the progress bar would show."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(_workers, "_progress_bar", lambda: nullcontext(lambda *counts: found.append(counts)))
    return found


def part_of(tiny_frames: SplitTensors, split: str, first: int = 0) -> dict[str, np.ndarray]:
    return {name: tensor[first : first + 2].numpy() for name, tensor in tiny_frames[split].items()}


def write_parts(folder: Path, tiny_frames: SplitTensors) -> dict[str, Path]:
    """The files of the maps as they are when all but the last step is done."""
    (folder / "small").mkdir(parents=True)
    found = {}
    for split, names in TINY_MAPS.items():
        for place, name in enumerate(names):
            found[name] = folder / "small" / f"{name}.npz"
            _engine.write(found[name], part_of(tiny_frames, split, 2 * place))
    return found


def flat(found: SplitTensors) -> dict[str, Tensor]:
    return {f"{split}.{name}": tensor for split, tensors in found.items() for name, tensor in tensors.items()}


def same(one: SplitTensors, other: SplitTensors) -> bool:
    return _rendering.checksum(flat(one)) == _rendering.checksum(flat(other))


@installed
def test_shapes_types_and_ranges(frames: SplitTensors) -> None:
    assert {split: len(tensors["rgb"]) for split, tensors in frames.items()} == {"train": 4, "validation": 2, "test": 2}
    for tensors in frames.values():
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
def test_boxes_touch_their_objects_on_all_sides(frames: SplitTensors) -> None:
    found = 0
    for tensors in frames.values():
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
def test_other_frames_than_expected_are_warned_of(tiny: tuple[SplitTensors, object, list[str], object]) -> None:
    (said,) = tiny[2]
    assert _rendering.checksum(flat(tiny[0])) in said
    assert _rendering.CHECKSUMS["small"] in said
    assert "vizdoom is 1.3.2, expected 1.3.2" in said


@installed
def test_the_same_frames_in_another_process_and_whatever_their_number(
    frames: SplitTensors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wad = next(path for path in SOURCE.check() if path.name == "freedoom1.wad")
    for count in (1, 3):
        found = _engine.render(wad, "e1m3", count)
        for name, expected in part_of(frames, "validation").items():
            assert found[name][:2].tobytes() == expected[:count].tobytes(), name


@installed
@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="elsewhere the engine may round otherwise"
)
def test_these_are_the_frames_that_are_recorded(frames: SplitTensors) -> None:
    # if this changes, so do all frames: raise REVISION, and record the checksums anew
    assert _rendering.checksum(flat(frames))[:16] == "921127177b3c440c"


@installed
def test_a_rendering_that_was_killed_goes_on(frames: SplitTensors, elsewhere: Path) -> None:
    shares = {split: tuple(share) for split, share in TINY.items()}
    script = f"""
import contextlib, os, signal
from hardfirst_scenes import _maps, _rendering, _workers
_maps.SIZES["small"] = {{split: _maps.Share(*share) for split, share in {shares}.items()}}
_workers._cores = lambda: 1
kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done >= 2 else None
_workers._progress_bar = lambda: contextlib.nullcontext(kill)
_rendering.load_frames("small")
"""
    temporary = elsewhere.parent.parent / "temporary"
    temporary.mkdir()
    killed = subprocess.run([sys.executable, "-c", script], check=False, env={**os.environ, "TMPDIR": str(temporary)})
    assert killed.returncode == -signal.SIGKILL
    assert _nobody_works_in(temporary)  # nor does the worker continue, or its engine
    parts = {path.stem for path in (elsewhere / "small").glob("*.npz")}
    assert {"e1m1", "e4m9"} <= parts
    assert len(parts) < 4

    doctored = part_of(frames, "train")  # to see that it is not rendered again
    doctored["boxes"] = np.full_like(doctored["boxes"], 7)
    _engine.write(elsewhere / "small" / "e1m1.npz", doctored)
    found = load_frames("small")
    assert (found["train"]["boxes"][:2] == 7).all()
    found["train"]["boxes"][:2] = frames["train"]["boxes"][:2]
    assert same(found, frames)


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
def test_a_damaged_map_is_rendered_anew(frames: SplitTensors, elsewhere: Path, told: list[tuple[int, int]]) -> None:
    parts = write_parts(elsewhere, frames)
    content = bytearray(parts["e1m5"].read_bytes())
    content[len(content) // 2] ^= 1
    parts["e1m5"].write_bytes(content)
    with pytest.warns(UserWarning, match=r"e1m5\.npz could not be read and are rendered again"):
        found = load_frames("small")
    assert told[0] == (3, 4)
    assert same(found, frames)


@installed
def test_damaged_frames_are_put_together_anew(frames: SplitTensors, elsewhere: Path, told: list[tuple[int, int]]) -> None:
    write_parts(elsewhere, frames)
    assert same(load_frames("small"), frames)
    assert told == [(4, 4)]  # nothing to render
    assert not (elsewhere / "small").exists()
    whole = elsewhere / "small.pt"
    whole.write_bytes(whole.read_bytes()[:-1000])
    write_parts(elsewhere, frames)
    with pytest.warns(UserWarning, match=r"small\.pt could not be read and are rendered again"):
        assert same(load_frames("small"), frames)
    assert same(load_frames("small"), frames)


@installed
def test_what_is_loaded_is_mapped_and_changes_stay_in_memory(frames: SplitTensors, elsewhere: Path) -> None:
    write_parts(elsewhere, frames)
    found = load_frames("small")
    found["train"]["rgb"].zero_()
    assert same(load_frames("small"), frames)
    if sys.platform == "linux":
        assert str(elsewhere / "small.pt") in Path("/proc/self/maps").read_text()


@installed
def test_a_map_that_cannot_be_rendered_is_one_sentence(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rendering, "maps", lambda split, size: [_maps.Map("freedoom1.wad", "e9m9")])
    with pytest.raises(InputError, match=r"could not be rendered.*There is no map 'e9m9' in the WAD file\.$"):
        load_frames("small")


@installed
def test_where_nothing_can_be_kept_frames_are_rendered_all_the_same(
    frames: SplitTensors, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rendering, "_render", lambda folder, size: flat(frames))
    elsewhere.parent.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be stored in .*, and are rendered at each start"):
        assert same(load_frames("small"), frames)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(InputError, match=r"Install it with: pip install --no-deps vizdoom==1\.3\.2$"):
        load_frames("small")


def test_an_unknown_size_is_named() -> None:
    with pytest.raises(InputError, match="Unknown size 'smal'; did you mean 'small'"):
        load_frames("smal")  # type: ignore[arg-type]


def test_rendering_are_kept_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path / "mine"))
    assert _rendering.frames_folder().parent == tmp_path / "mine"
    assert _rendering.frames_folder().name.startswith("scenes-9.9-")
    monkeypatch.delenv("HARDFIRST_DATA")
    monkeypatch.setattr(_rendering, "cache_folder", lambda: tmp_path / "cache")
    assert _rendering.frames_folder().parent == tmp_path / "cache"


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


def test_the_checksum_tells_names_types_shapes_and_values() -> None:
    tensors = {"a": torch.arange(6, dtype=torch.uint8)}
    others = [
        {"b": tensors["a"]},
        {"a": tensors["a"].view(torch.int8)},
        {"a": tensors["a"].reshape(2, 3)},
        {"a": tensors["a"].flip(0)},
    ]
    found = {_rendering.checksum(each) for each in [tensors, *others]}
    assert len(found) == 5
    assert all(len(each) == len(hashlib.sha256().hexdigest()) for each in found)
