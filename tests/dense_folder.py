"""Small folders in the layout of NYUv2 and Cityscapes: frames of blocks, each with a colour, class, depth and normal."""

from pathlib import Path
from typing import Any

import numpy as np

SIZE = (32, 48)
COUNTS = {"train": 16, "val": 5}  # frame 11 of train is held out
EDGE = 3  # rows without a label
BLOCK = 8


def write(
    folder: Path,
    *,
    classes: int = 13,
    label: str = "label",
    normals: bool = True,
    counts: dict[str, int] = COUNTS,
    size: tuple[int, int] = SIZE,
) -> Path:
    """Write the folder of NYUv2; with 7 classes, label_7 and without normals that of Cityscapes."""
    random = np.random.default_rng(0)
    colours, vectors = random.uniform(size=(classes, 3)), random.normal(size=(classes, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for split, count in counts.items():
        for number in range(count):
            blocks = random.integers(classes, size=(-(-size[0] // BLOCK), -(-size[1] // BLOCK)))
            kinds = blocks.repeat(BLOCK, 0).repeat(BLOCK, 1)[: size[0], : size[1]]
            labelled = np.arange(size[0])[:, None] >= EDGE
            noise = random.normal(scale=0.02, size=(*size, 3))
            save(folder, split, "image", number, np.clip(colours[kinds] + noise, 0, 1).astype(np.float32))
            save(folder, split, label, number, np.where(labelled, kinds, -1).astype(np.float64))
            save(folder, split, "depth", number, (np.where(labelled, 1 + kinds / 4, 0)[..., None]).astype(np.float32))
            if normals:
                save(folder, split, "normal", number, (vectors[kinds] * labelled[..., None]).astype(np.float32))
    return folder


def write_cityscapes(folder: Path, **options: Any) -> Path:
    """Write the folder of Cityscapes."""
    return write(folder, **{"classes": 7, "label": "label_7", "normals": False, **options})


def save(folder: Path, split: str, name: str, number: int, values: Any) -> Path:
    """Write one file of a frame."""
    path = folder / split / name / f"{number}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path
