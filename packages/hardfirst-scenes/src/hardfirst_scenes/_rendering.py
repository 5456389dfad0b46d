"""The frames of `scenes`: rendered once from Freedoom's maps, stored in a folder, and read from there.

The folder is below `HARDFIRST_DATA` if that is set, else below the user's cache folder. An interrupted rendering can be
continued: each map has its own file until all are finished. The frames are mapped into memory, so that the processes of a
study share them. They do not depend on the number of worker processes; `CHECKSUMS` are their checksums. Another version of
vizdoom than `SOURCE`'s may render other frames, which gives a warning.
"""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from hardfirst.errors import MissingPackage, unknown
from hardfirst.problems import cache_folder, data_folder
from hardfirst.records import replaced_file
from hardfirst_scenes._engine import NAMES, RenderJob, read
from hardfirst_scenes._maps import PACKAGE, SIZES, SOURCE, SPLITS, Size, maps
from hardfirst_scenes._workers import render_maps

REVISION = 1  # of the frames: increase it with every change of what is rendered
CHECKSUMS: Mapping[str, str] = {
    "small": "69b72ff25cb56ac10ab7ccd157acc7b079d90c06d25189b97411acc9e803d8e5",
    "full": "ed3a1862ed729f422b49836b1f807f9082338de2448708eb306816888f4114df",
}

SplitTensors = dict[str, dict[str, Tensor]]
"""The tensors of each split, by name."""


def load_frames(size: Size = "small") -> SplitTensors:
    """Return the frames of each split; render them if they are not stored yet.

    Args:
        size: "small" or "full", see `_maps`.

    Returns:
        For each split a dict of tensors, with N frames of 120 rows and 160 columns:

        - `rgb`: uint8 [N, 3, 120, 160];
        - `classes`: of surfaces and objects, uint8 [N, 120, 160]: an index in `_labels.CLASSES`; 255 is unlabelled;
        - `depth`: along the camera's axis, in metres of 32 map units, float16 [N, 120, 160]; 0 is unlabelled;
        - `normals`: unit vectors × 127 (right, up, backwards), int8 [N, 3, 120, 160]; 0 is unlabelled;
        - `boxes`: x1, y1, x2, y2 in pixels with an exclusive end, and an index in `_labels.KINDS`, float32 [N, 20, 5];
          unused rows are -1.

    Raises:
        InputError: there is no such size; vizdoom is not installed or its maps are not the published ones; a map cannot be
            rendered.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    folder = frames_folder()
    path = folder / f"{size}.pt"
    if (splits := _load(path)) is not None:
        return splits
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder) as writable, tempfile.TemporaryDirectory() as temporary:
        if (splits := _load(path)) is not None:  # rendered by the process that held the lock
            return splits
        parts = folder / size if writable else Path(temporary)
        tensors = _render(parts, size)
        _warn_if_different(tensors, size)
        if writable:
            with replaced_file(path) as part:
                torch.save(tensors, part)
            shutil.rmtree(parts, ignore_errors=True)
        else:
            warnings.warn(f"The frames could not be stored in {folder}, and are rendered at each start.", stacklevel=2)
        return _load(path) or _by_split(tensors)


def frames_folder() -> Path:
    """Return the folder of the frames: one for each version of vizdoom, of the maps and of this code.

    Raises:
        MissingPackage: vizdoom is not installed.
    """
    try:
        version = metadata.version(PACKAGE.name)
    except metadata.PackageNotFoundError:
        raise MissingPackage(f"{PACKAGE.name} renders the frames. Install it with: {SOURCE.install}") from None
    folder = data_folder() if os.environ.get("HARDFIRST_DATA") else cache_folder()
    return folder / f"scenes-{version}-{SOURCE.digest()}-{REVISION}"


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors with their names, types and shapes."""
    digest = sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().numpy().data.cast("B"))
    return digest.hexdigest()


def _warn_if_different(tensors: Mapping[str, Tensor], size: str) -> None:
    actual = checksum(tensors)
    if actual != CHECKSUMS[size]:
        warnings.warn(
            f"The {size} frames of scenes are not those of hardfirst's published results: their SHA-256 is {actual}, "
            f"expected {CHECKSUMS[size]}. {PACKAGE.name} is {metadata.version(PACKAGE.name)}, expected {PACKAGE.version}.",
            stacklevel=3,
        )


def _load(path: Path) -> SplitTensors | None:
    """Map stored frames into memory; None if the file does not exist or is damaged."""
    try:
        return _by_split(torch.load(path, mmap=True, weights_only=True))
    except OSError:  # no such file, or no access to it
        return None
    except Exception as error:  # a damaged file can raise anything
        warnings.warn(f"The frames in {path} could not be read and are rendered again: {error}", stacklevel=3)
        return None


def _by_split(tensors: Mapping[str, Tensor]) -> SplitTensors:
    """Group tensors called "train.rgb" and so on by split."""
    splits: SplitTensors = {split: {} for split in SPLITS}
    for key, tensor in tensors.items():
        split, _, name = key.partition(".")
        splits[split][name] = tensor
    return splits


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Wait until no other process renders into a folder; yield whether it is writable. Without `fcntl`, do not wait."""
    try:
        file = (folder / ".lock").open("w")
    except OSError:
        yield False
        return
    with file:
        with suppress(ImportError, OSError):  # the lock ends with the process, even if it is killed
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def _render(folder: Path, size: str) -> dict[str, Tensor]:
    """Return the frames of all splits as "train.rgb" and so on. Maps with a file in the folder are not rendered again."""
    wads = {path.name: path for path in SOURCE.check()}
    folder.mkdir(parents=True, exist_ok=True)
    jobs = {
        split: [
            RenderJob(str(wads[level.wad]), level.name, SIZES[size][split].frames, str(folder / f"{level.name}.npz"))
            for level in maps(split, size)
        ]
        for split in SPLITS
    }
    render_maps([job for split in SPLITS for job in jobs[split]])
    return {
        f"{split}.{name}": torch.cat([torch.from_numpy(read(Path(job.path), [name])[name]) for job in jobs[split]])
        for split in SPLITS
        for name in NAMES
    }
