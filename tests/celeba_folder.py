"""A small folder in each of CelebA's layouts."""

from pathlib import Path

import numpy as np
from PIL import Image

from hardfirst.problems.fields._celeba_files import ATTRIBUTES, ORIGINAL, Files

COUNTS = (12, 6, 6)  # for training, validation and testing
SIZE = (178, 218)


def write_celeba(folder: Path, layout: Files = ORIGINAL, size: tuple[int, int] = SIZE) -> Files:
    """Write pictures of noise, whose attributes are drawn as well, and return where they are."""
    random = np.random.default_rng(0)
    files = Files(*(folder / path for path in layout))
    files.pictures.mkdir(parents=True)
    for path in files[1:]:
        path.parent.mkdir(exist_ok=True)
    names = [f"{number:06d}.jpg" for number in range(1, sum(COUNTS) + 1)]
    for name in names:
        pixels = random.integers(256, size=(size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size).save(files.pictures / name)
    answers = random.choice(["-1", " 1"], size=(len(names), len(ATTRIBUTES)))
    answers[:: COUNTS[1]], answers[1 :: COUNTS[1]] = " 1", "-1"  # each split has both answers for each attribute
    rows = [f"{name}  {' '.join(row)}\n" for name, row in zip(names, answers, strict=True)]
    files.attributes.write_text(f"{len(names)}\n{' '.join(ATTRIBUTES)} \n{''.join(rows)}")
    splits = [split for split, count in enumerate(COUNTS) for _ in range(count)]
    files.partition.write_text("".join(f"{name} {split}\n" for name, split in zip(names, splits, strict=True)))
    return files
