"""Measure how well the floor plan and the engine agree, on frames that were not selected by their agreement.

A pixel agrees if both say that it is upright or flat, at the same depth to within one of the engine's steps of 7 units and
5%. Pixels of objects are left out. Bars and fences count as disagreement, because the plan does not know their holes.

`python -m hardfirst_scenes._agreement` measures it on 60 frames of each map of the validation split: 98.2% of a frame's
pixels agree in the mean over frames, 99.5% in the median, and 99.5% get a class in the end.
"""

import os
import tempfile
from pathlib import Path

import numpy as np

from hardfirst_scenes import _engine
from hardfirst_scenes._floor_plan import read_floor_plan
from hardfirst_scenes._labels import IGNORE, agreement, targets
from hardfirst_scenes._maps import SOURCE, maps
from hardfirst_scenes._view import WIDTH, cast


def measure(wad: Path, name: str, count: int) -> list[tuple[float, float]]:
    """Return, for some frames of a map, the share of pixels that agree and the share that gets a class.

    The engine leaves files in the working directory.
    """
    plan, rng = read_floor_plan(wad.read_bytes(), name), np.random.default_rng(0)
    shares = []
    with _engine.Game(wad, name) as game:
        for candidate in _engine.candidates(plan, game, rng, count * _engine.TRIES):
            view = cast(plan, candidate.heights, candidate.camera)
            classes = targets(view, candidate.camera, candidate.buffers).classes
            background = ~np.isin(candidate.buffers.labels, [thing.value for thing in candidate.buffers.objects])
            if background.sum() >= WIDTH:
                agrees = agreement(view, candidate.buffers)[background]
                shares.append((float(agrees.mean()), float((classes != IGNORE)[background].mean())))
            if len(shares) == count:
                break
    return shares


def report(count: int = 60) -> str:
    """Return a line for each map of the validation split and one for all of them, in percent."""
    wads = {path.name: path for path in SOURCE.check()}
    total, lines = [], []
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        for level in maps("validation"):
            shares = measure(wads[level.wad], level.name, count)
            total += shares
            lines.append(f"{level.name} {_summary(shares)}")
        os.chdir("/")  # Windows cannot remove the working directory
    return "\n".join([*lines, f"all {_summary(total)}"])


def _summary(shares: list[tuple[float, float]]) -> str:
    agreed, labelled = 100 * np.array(shares).T
    median, low = np.median(agreed), np.percentile(agreed, 10)
    return f"agree: mean {agreed.mean():.1f}, median {median:.1f}, tenth {low:.1f}; have a class: mean {labelled.mean():.1f}"


if __name__ == "__main__":
    print(report())
