"""The frames of `scenes`: rendered once from Freedoom's maps, kept in a folder, and read from there.

The maps are Freedoom's 68: the 36 of its first game (e1m1 to e4m9), then the 32 of its second (map01 to map32). No two share
a room. In this order every fifth one, from the fifth, is for testing, 13 in all; every tenth one, from the third, for
validation, 7 in all; the other 48 are for training. So all parts of both games are in each split, and no frame of one split
shows a place of another. There are two sizes:

- `full`: 93 frames of each map: 4,464 for training, 651 for validation, 1,209 for testing; 1.1 GB.
- `small`: for laptops and CI: 17 frames of every second map for training (408), 14 of each for validation (98), 12 of each
  for testing (156); 115 MB. They are the first frames that `full` has of these maps.

Frames are kept in `HARDFIRST_DATA` if it is set, else in the user's cache folder. Rendering goes on where it was stopped:
each map is a file of its own until all are there. The frames are mapped into memory, so that the processes of a study share
them. They are the same whenever they are rendered, by however many processes: `CHECKSUMS` are theirs. Other versions of
vizdoom than `SOURCE`'s may give other frames, which gets a warning.
"""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor

from hardfirst.errors import InputError, unknown
from hardfirst.problems import PyPI, Source, cache_folder, data_folder
from hardfirst.records import replacing

if TYPE_CHECKING:
    from hardfirst_scenes._engine import Job

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
    needs={"numpy": "numpy"},
)
REVISION = 1  # of the frames: raise it whenever anything changes what is rendered
CHECKSUMS: Mapping[str, str] = {
    "small": "69b72ff25cb56ac10ab7ccd157acc7b079d90c06d25189b97411acc9e803d8e5",
    "full": "ed3a1862ed729f422b49836b1f807f9082338de2448708eb306816888f4114df",
}

Size = Literal["small", "full"]
SPLITS = ("train", "validation", "test")
Frames = dict[str, dict[str, Tensor]]
Progress = Callable[[int, int], None]

PULSE = 0.2  # seconds between looks at how far the rendering is


class Map(NamedTuple):
    """One of Freedoom's maps: its file and its name."""

    wad: str
    name: str


class Share(NamedTuple):
    """What a size takes of a split: every so many maps, and so many frames of each."""

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
    """The maps of a split.

    Example:
        >>> [found.name for found in maps("validation")]
        ['e1m3', 'e2m4', 'e3m5', 'e4m6', 'map07', 'map17', 'map27']
    """
    return [found for place, found in enumerate(MAPS) if _split(place) == split][:: SIZES[size][split].every]


def _split(place: int) -> str:
    if place % 5 == 4:
        return "test"
    return "validation" if place % 10 == 2 else "train"


def frames(size: Size = "small", progress: Progress | None = None) -> Frames:
    """The frames of each split, rendered if they are not there yet.

    Args:
        size: see above.
        progress: called with how many maps are done, and of how many; unless given, a terminal shows a bar.

    Returns:
        For each split by name, with N frames of 120 rows and 160 columns:

        - `rgb`: uint8 [N, 3, 120, 160];
        - `classes`: of surfaces and objects, uint8 [N, 120, 160]: a place in `_labels.CLASSES`, or 255 for none;
        - `depth`: along the camera's axis, in metres of 32 map units, float16 [N, 120, 160]; 0 where it is not known;
        - `normals`: unit vectors × 127, right, up and backwards, int8 [N, 3, 120, 160]; 0 where there is none;
        - `boxes`: x1, y1, x2, y2 in pixels, the second pair outside, and a place in `_labels.KINDS`, float32 [N, 20, 5];
          filled up with -1.

    Raises:
        InputError: there is no such size; the package is not installed or not the one that was published; a map cannot be
            rendered.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    folder = frames_folder()
    path = folder / f"{size}.pt"
    if (found := _load(path)) is not None:
        return found
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder) as writable, tempfile.TemporaryDirectory() as temporary:
        if (found := _load(path)) is not None:  # by the process that was waited for
            return found
        parts = folder / size if writable else Path(temporary)
        made = _render(parts, size, progress)
        _compare(made, size)
        if writable:
            with replacing(path) as part:
                torch.save(made, part)
            shutil.rmtree(parts, ignore_errors=True)
        else:
            warnings.warn(f"The frames could not be kept in {folder}, and are rendered at each start.", stacklevel=2)
        return _load(path) or _by_split(made)


def frames_folder() -> Path:
    """Where the frames are kept: a folder for each version of vizdoom, of the maps and of this code.

    Raises:
        InputError: vizdoom is not installed.
    """
    try:
        version = metadata.version(PACKAGE.name)
    except metadata.PackageNotFoundError:
        raise InputError(f"The frames are rendered by {PACKAGE.name}. To install it: {SOURCE.install}") from None
    folder = data_folder() if os.environ.get("HARDFIRST_DATA") else cache_folder()
    return folder / f"scenes-{version}-{SOURCE.digest()}-{REVISION}"


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of tensors with their names, types and shapes."""
    digest = sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def _compare(made: Mapping[str, Tensor], size: str) -> None:
    found = checksum(made)
    if found != CHECKSUMS[size]:
        warnings.warn(
            f"The {size} frames of scenes are not those that hardfirst's figures are of: their SHA-256 is {found}, expected "
            f"{CHECKSUMS[size]}. {PACKAGE.name} is {metadata.version(PACKAGE.name)}, expected {PACKAGE.version}.",
            stacklevel=3,
        )


def _load(path: Path) -> Frames | None:
    """The frames that a file holds, mapped into memory; None if it is not there or damaged."""
    try:
        return _by_split(torch.load(path, mmap=True, weights_only=True))
    except OSError:  # not there, or not to be reached
        return None
    except Exception as error:  # a damaged file is made anew, whatever is wrong with it
        warnings.warn(f"The frames in {path} could not be read and are rendered anew: {error}", stacklevel=3)
        return None


def _by_split(tensors: Mapping[str, Tensor]) -> Frames:
    split: Frames = {name: {} for name in SPLITS}
    for name, tensor in tensors.items():
        of, _, what = name.partition(".")
        split[of][what] = tensor
    return split


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Wait until no other process renders into a folder; whether it can be written to. On Windows nobody waits."""
    try:
        file = (folder / ".lock").open("w")
    except OSError:
        yield False
        return
    with file:
        with suppress(ImportError, OSError):  # the lock ends with the process, however that ends
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def _render(folder: Path, size: str, progress: Progress | None) -> dict[str, Tensor]:
    """The frames of all splits, by split and name: "train.rgb" and so on. Maps that are in the folder are not rendered."""
    from hardfirst_scenes._engine import NAMES, Job, read

    wads = {path.name: path for path in SOURCE.check()}
    folder.mkdir(parents=True, exist_ok=True)
    jobs = {
        split: [
            Job(str(wads[found.wad]), found.name, SIZES[size][split].frames, str(folder / f"{found.name}.npz"))
            for found in maps(split, size)
        ]
        for split in SPLITS
    }
    with _bar() if progress is None else _plainly(progress) as tell:
        _work([job for split in SPLITS for job in jobs[split]], tell)
    return {
        f"{split}.{name}": torch.cat([torch.from_numpy(read(Path(job.path), [name])[name]) for job in found])
        for split, found in jobs.items()
        for name in NAMES
    }


def _work(jobs: Sequence["Job"], tell: Progress) -> None:
    """Render maps in processes of their own, one for each core; each has a folder to work in, for what the engine leaves.

    A fresh interpreter, rather than `multiprocessing`: it does not import the script that is running, and its working
    directory is its own.
    """
    missing = [job for job in jobs if not _whole(Path(job.path))]
    tell(len(jobs) - len(missing), len(jobs))
    count = min(_cores(), len(missing))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folders = [Path(temporary) / str(number) for number in range(count)]
        workers: list[subprocess.Popen[str]] = []
        try:
            workers.extend(_start(missing[number::count], folder) for number, folder in enumerate(folders))
            while running := [worker for worker in workers if worker.poll() is None]:
                with suppress(subprocess.TimeoutExpired):
                    running[0].wait(PULSE)
                tell(sum(Path(job.path).exists() for job in jobs), len(jobs))
                for worker, folder in zip(workers, folders, strict=True):
                    if worker.poll():
                        said = _last_words(folder)
                        raise InputError(f"The frames could not be rendered. What has been is kept. vizdoom: {said}")
        finally:
            _stop(workers)


def _start(jobs: Sequence["Job"], folder: Path) -> "subprocess.Popen[str]":
    folder.mkdir()
    with (folder / "errors").open("w") as errors:
        worker = subprocess.Popen(
            [sys.executable, "-m", "hardfirst_scenes._engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which stops its workers
        )
    with suppress(BrokenPipeError):  # it ended at once, and has said why
        jobs_of = cast(IO[str], worker.stdin)  # which is a pipe, and stays open for as long as the frames are wanted
        jobs_of.write(json.dumps(jobs) + "\n")
        jobs_of.flush()
    return worker


def _stop(workers: Sequence["subprocess.Popen[str]"]) -> None:
    """End the workers that still run, and their engines, which are processes too."""
    for worker in workers:
        with suppress(BrokenPipeError):
            cast(IO[str], worker.stdin).close()
    for worker in workers:
        try:
            worker.wait(timeout=5)  # it closes the engine
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)


def _last_words(folder: Path) -> str:
    lines = (folder / "errors").read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "the process ended without a word.")


def _whole(path: Path) -> bool:
    """Whether a map's file is there and not damaged; if it is damaged, it goes."""
    from hardfirst_scenes._engine import read

    try:
        read(path)
    except FileNotFoundError:
        return False
    except Exception as error:
        warnings.warn(f"The frames in {path} could not be read and are rendered anew: {error}", stacklevel=5)
        path.unlink()
        return False
    return True


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _plainly(progress: Progress) -> Iterator[Progress]:
    yield progress


@contextmanager
def _bar() -> Iterator[Progress]:
    """A bar on the terminal; nothing where there is none, or another process draws on it."""
    if not sys.stderr.isatty() or multiprocessing.parent_process() is not None:
        yield lambda done, total: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        yield lambda done, total: None
        return
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Rendering the maps of scenes, once")
        yield lambda done, total: bar.update(task, completed=done, total=total)
