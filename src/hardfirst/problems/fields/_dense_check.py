"""Describe the contents of a folder of dense tasks in sentences."""

from pathlib import Path

import torch

from hardfirst.errors import InputError
from hardfirst.problems._data import IGNORE
from hardfirst.problems.fields import held_out
from hardfirst.problems.fields._dense import DEPTH, NORMALS, SEGMENT, SPLITS, Frames, Layout, load

_SAMPLED = 16  # frames of a split whose values are read


def describe(layout: Layout, folder: Path) -> list[str]:
    """Open all files of a folder, read the values of some, and describe the contents.

    Args:
        layout: the expected layout.
        folder: the folder of the data set.

    Raises:
        InputError: a folder or a file is missing or damaged, frames differ in size, or a value is invalid.
    """
    layout.require(folder)
    splits = [Frames(layout, folder, split) for split in SPLITS]
    paths = (place / name for frames in splits for place in frames.paths.values() for name in frames.names)
    sizes = {_size(path): path for path in paths}
    if len(sizes) > 1:
        listed = " and ".join(f"{height}×{width} in {path}" for (height, width), path in [*sizes.items()][:2])
        raise InputError(f"Expected arrays of the same height and width in {folder}; got {listed}. Resize them.")
    (size,), counts = sizes, tuple(map(len, splits))
    held = sum(map(held_out, splits[0].names))
    sentences = [
        f"{counts[0]} + {counts[1]} frames of {size[0]}×{size[1]}, of which train keeps {held} for validation.",
        *_values(layout, splits),
    ]
    if (counts, size) != (layout.frames, layout.size):
        sentences.append(
            f"The published set has {layout.frames[0]} + {layout.frames[1]} frames of {layout.size[0]}×{layout.size[1]}."
        )
    return sentences


def _size(path: Path) -> tuple[int, int]:
    shape = load(path).shape
    if len(shape) not in (2, 3):
        raise InputError(f"Expected an array [height, width] or [height, width, channels] in {path}; got {list(shape)}.")
    return shape[0], shape[1]


def _values(layout: Layout, splits: list[Frames]) -> list[str]:
    """Describe the labels of evenly spaced frames."""
    sampled = [frames[index] for frames in splits for index in _spaced(len(frames))]
    labels = {task: torch.cat([targets[task].flatten() for _, targets in sampled]) for task in layout.tasks}
    known = labels[SEGMENT][labels[SEGMENT] != IGNORE]
    missing = " and -1" if len(known) < len(labels[SEGMENT]) else ""
    depths = labels[DEPTH][~labels[DEPTH].isnan()]
    lowest, highest = (f"{end:.3g}" for end in depths.aminmax()) if len(depths) else ("none", "none")
    parts = [
        f"labels {known.min()} to {known.max()}{missing}" if len(known) else "no labels",
        f"{layout.depth} from {lowest} to {highest}",
    ]
    if NORMALS in labels:
        parts.append(f"normals at {float((~labels[NORMALS].isnan()).float().mean()):.0%} of the pixels")
    return [f"{len(sampled)} of them were read: {', '.join(parts)}."]


def _spaced(count: int) -> list[int]:
    return sorted({index * (count - 1) // max(_SAMPLED - 1, 1) for index in range(_SAMPLED)})
