"""A small folder of Office-31 or Office-Home with LibMTL's lists."""

from pathlib import Path

import numpy as np
from PIL import Image

from hardfirst.problems.fields.office import SPLITS, VARIANTS

COUNTS = {"train": 6, "val": 2, "test": 3}  # of each domain


def write_office(folder: Path, variant: str = "office_31", *, lists: Path = Path()) -> Path:
    """Write pictures of noise, of several formats and shapes, and return the folder of the lists."""
    random = np.random.default_rng(0)
    found = VARIANTS[variant]
    (folder / lists).mkdir(parents=True, exist_ok=True)
    for domain in found.domains:
        number = 0
        for split in SPLITS.values():
            lines = []
            for _ in range(COUNTS[split]):
                number += 1
                kind, mode = int(random.integers(found.classes)), ("RGB", "L", "P")[number % 3]
                name = f"{domain}/images/thing_{kind}/frame_{number:04d}.{'jpg' if mode == 'RGB' else 'png'}"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                pixels = random.integers(256, size=(20 + number, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(folder / name)
                lines.append(f"{name} {kind}\n")
            (folder / lists / f"{domain}_{split}.txt").write_text("".join(lines))
    return folder / lists
