"""A small folder of AliExpress' tables, in which clicks can be predicted."""

from pathlib import Path

import numpy as np
import pandas as pd

CATEGORIES, NUMBERS = 16, 5
ROWS = {"train": 400, "test": 120}


def write_aliexpress(folder: Path, country: str = "nl") -> Path:
    """Write both tables and return their folder."""
    random = np.random.default_rng(0)
    inner = folder / f"AliExpress_{country.upper()}"
    inner.mkdir(parents=True)
    for start, (split, rows) in enumerate(ROWS.items()):
        codes = random.integers(6 + start, size=(rows, CATEGORIES))
        numbers = random.normal(size=(rows, NUMBERS)).round(3)
        chance = numbers[:, 0] + 0.5 * random.normal(size=rows) + (codes[:, 0] == 1)
        click = chance > 0.5
        frame = pd.DataFrame({"search_id": [f"s{1000 * start + row // 4}" for row in range(rows)]})
        frame = frame.join(pd.DataFrame(codes, columns=[f"categorical_{n + 1}" for n in range(CATEGORIES)]))
        frame = frame.join(pd.DataFrame(numbers, columns=[f"numerical_{n + 1}" for n in range(NUMBERS)]))
        frame["click"], frame["conversion"] = click.astype(int), (click & (numbers[:, 1] > 0)).astype(int)
        frame.to_csv(inner / f"{split}.csv", index=False)
    return inner
