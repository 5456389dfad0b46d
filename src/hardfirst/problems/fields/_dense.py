"""Frames of dense tasks on disk: folders with one .npy file per frame, in the layout of published code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hardfirst.errors import InputError
from hardfirst.problems._augmented import Augmented
from hardfirst.problems._base import Splits
from hardfirst.problems._data import IGNORE, Batch
from hardfirst.problems.fields import held_out
from hardfirst.problems.fields._augmentation import augment

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val")
SEGMENT, DEPTH, NORMALS = "segment", "depth", "normals"
_NO_CLASS = (-1, 255)  # the marks of a pixel without a class in the files
_FAR = 0.1  # an image's values are from 0 to 1, except for the overshoot of cubic enlargement


@dataclass(frozen=True)
class Layout:
    """The layout of a data set of this kind: DIR/{train,val}/FOLDER/{number}.npy.

    Args:
        name: the data set's name in errors.
        classes: the number of classes.
        folders: for the image and each task, the folder's name, or several names, of which the first that exists is read.
        frames: the numbers of frames in the published train and val.
        size: their height and width.
        depth: the kind of depth, in words.
        source: where to get the folder, as a sentence.
    """

    name: str
    classes: int
    folders: Mapping[str, tuple[str, ...]]
    frames: tuple[int, int]
    size: tuple[int, int]
    depth: str
    source: str

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks with labels, in order."""
        return tuple(name for name in self.folders if name != "image")

    def paths(self, folder: Path, split: str) -> dict[str, Path]:
        """Return the folder of a split's images and of each task's labels.

        Raises:
            InputError: a folder is missing.
        """
        paths = {}
        for name, candidates in self.folders.items():
            found = next((path for each in candidates if (path := folder / split / each).is_dir()), None)
            if found is None:
                raise self.wrong(folder, f"no folder {split}/{' or '.join(candidates)}")
            paths[name] = found
        return paths

    def require(self, folder: Path) -> None:
        """Check that the folder has this layout, without reading a frame.

        Raises:
            InputError: it has another layout.
        """
        for split in SPLITS:
            self.paths(folder, split)

    def wrong(self, folder: Path, found: str) -> InputError:
        """Return the error for a folder with another layout."""
        inner = ",".join(" or ".join(candidates) for candidates in self.folders.values())
        return InputError(
            f"Expected {self.name} in {folder}, as {{train,val}}/{{{inner}}}/0.npy, 1.npy, …; found {found}. {self.source}"
        )


class Frames(Dataset[Batch]):
    """The frames of a split: `(image, {task: target})`, read on access.

    Images are float32 [3, height, width]; classes int64 [height, width], −100 for no class; depths [1, height, width] and
    normals [3, height, width], NaN for no label.

    Args:
        layout: the layout of the folder.
        folder: the folder of the data set.
        split: "train" or "val".

    Raises:
        InputError: a folder is missing or empty, or its files do not match the images; on reading a frame, a file is
            truncated or has invalid values.
    """

    def __init__(self, layout: Layout, folder: Path, split: str) -> None:
        self.layout, self.paths = layout, layout.paths(folder, split)
        files = {name: {path.name for path in place.glob("[!.]*.npy")} for name, place in self.paths.items()}
        if not files["image"]:
            raise layout.wrong(folder, f"no .npy file in {self.paths['image']}")
        for name, place in self.paths.items():
            if differ := sorted(files[name] ^ files["image"], key=_by_number):
                where = place if differ[0] in files["image"] else self.paths["image"]
                raise layout.wrong(
                    folder, f"{len(files['image'])} files in {self.paths['image']}, but no {where / differ[0]}"
                )
        self.names = sorted(files["image"], key=_by_number)

    def only(self, *, held: bool) -> "Frames":
        """Return the frames that are held out for validation, or the others."""
        part = object.__new__(Frames)
        part.layout, part.paths = self.layout, self.paths
        part.names = [name for name in self.names if held_out(name) == held]
        if not part.names:
            raise InputError(
                f"None of the {len(self.names)} frames in {self.paths['image']} is "
                f"{'in the 10%' if held else 'in the 90%'} that a hash of their names selects for "
                f"{'validation' if held else 'training'}. Add frames."
            )
        return part

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Batch:
        name = self.names[index]
        image = _image(self.paths["image"] / name)
        targets = {task: self._target(task, name) for task in self.layout.tasks}
        for task, target in targets.items():
            if target.shape[-2:] != image.shape[-2:]:
                raise InputError(
                    f"Expected {self.paths[task] / name} to have the height and width of its image, "
                    f"{list(image.shape[-2:])}; got {list(target.shape[-2:])}."
                )
        return image, targets

    def _target(self, task: str, name: str) -> Tensor:
        path = self.paths[task] / name
        if task == SEGMENT:
            return _classes(path, self.layout.classes)
        return _depths(path) if task == DEPTH else _normals(path)


def splits(layout: Layout, folder: Path, *, augmented: bool = True) -> Splits:
    """Return 90% of train for training, 10% of it for validation, and val for testing.

    Args:
        layout: the layout of the folder.
        folder: the folder of the data set.
        augmented: whether training frames are changed at random.
    """
    train, test = Frames(layout, folder, "train"), Frames(layout, folder, "val")
    return Splits(_training(train.only(held=False), augmented), train.only(held=True), test)


def published_splits(layout: Layout, folder: Path, *, augmented: bool = True) -> Splits:
    """Return all of train, and val for both validation and testing, as published."""
    test = Frames(layout, folder, "val")
    return Splits(_training(Frames(layout, folder, "train"), augmented), test, test)


def _training(frames: Frames, augmented: bool) -> Dataset[Any]:
    return Augmented(frames, augment) if augmented else frames


def _by_number(name: str) -> tuple[int, str]:
    """Return the sort key of frames: 2.npy before 10.npy."""
    stem = name.partition(".")[0]
    return (int(stem) if stem.isdecimal() else -1), name


# The values of a frame


def _image(path: Path) -> Tensor:
    values = load(path)
    if values.ndim != 3 or values.shape[2] != 3:
        raise InputError(f"Expected an image [height, width, 3] in {path}; got {list(values.shape)}.")
    bytes_ = values.dtype == "uint8"
    if not bytes_ and values.dtype.kind != "f":
        raise InputError(f"Expected floating-point numbers or uint8 in {path}; got {values.dtype}.")
    image = _floats(values) / 255 if bytes_ else _floats(values)
    low, high = (float(end) for end in image.aminmax())
    if not (low >= -_FAR and high <= 1 + _FAR):
        raise InputError(f"Expected the image in {path} to be from 0 to 1; got {low:g} to {high:g}.")
    return image


def _classes(path: Path, classes: int) -> Tensor:
    import numpy as np

    values = load(path)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2:
        raise InputError(f"Expected classes [height, width] in {path}; got {list(values.shape)}.")
    found = np.unique(values)
    wrong = [each for each in found.tolist() if each not in _NO_CLASS and each not in range(classes)]
    if wrong:
        raise InputError(
            f"Expected the classes in {path} to be 0 to {classes - 1}, or -1 or 255 for no class; got {wrong[0]:g}."
        )
    kept = np.array(values, dtype=np.int64)
    kept[np.isin(kept, _NO_CLASS)] = IGNORE
    return torch.from_numpy(kept)


def _depths(path: Path) -> Tensor:
    values = load(path)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] != 1:
        raise InputError(f"Expected depths [height, width, 1] in {path}; got {list(values.shape)}.")
    depths = _floats(values)
    if depths.isinf().any():
        raise InputError(f"Expected the depths in {path} to be finite, or 0 for no depth; got {depths.max():g}.")
    return torch.where(depths > 0, depths, torch.nan)


def _normals(path: Path) -> Tensor:
    values = load(path)
    if values.ndim != 3 or values.shape[2] != 3:
        raise InputError(f"Expected normals [height, width, 3] in {path}; got {list(values.shape)}.")
    normals = _floats(values)
    if (longest := float(normals.nan_to_num().abs().max())) > 1 + _FAR:
        raise InputError(f"Expected unit vectors in {path}, or 0 for no normal; got a coordinate of {longest:g}.")
    return torch.where((normals != 0).any(0) & ~normals.isnan().any(0), normals, torch.nan)


def _floats(values: "np.ndarray[Any, Any]") -> Tensor:
    """Copy the values [height, width, channels] to new memory, as float32 [channels, height, width]."""
    import numpy as np

    return torch.from_numpy(np.array(np.moveaxis(values, -1, 0), dtype=np.float32, order="C"))


def load(path: Path) -> "np.ndarray[Any, Any]":
    """Load the array of a .npy file, mapped into memory: only the parts that are used are read.

    Raises:
        InputError: the file is missing, truncated, or does not contain real numbers.
    """
    import numpy as np

    try:
        values = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")  # without NumPy's advice
        raise InputError(
            f"{path} cannot be read as a complete .npy file of numbers: {reason:.200}. Copy it again."
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or not values.size:
        got = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else "an archive of arrays"
        raise InputError(f"Expected an array of real numbers in {path}; got {got}.")
    return values
