"""How well the plan and the engine agree, on frames that were not chosen by it.

A pixel agrees if both say that it is upright or flat, and how deep it is, to within one of the engine's steps of 7 units and
5 percent. Pixels of objects are left out; bars and fences count against the plan, which does not know their holes.

`python -m hardfirst_scenes._agreement` measures it on 60 frames of each map of the validation split. Of a frame's
pixels 98.2 percent agree, in the mean over frames, and 99.5 in the median; 99.5 percent have a class in the end.
"""

import os
import tempfile
from pathlib import Path

import numpy as np

from hardfirst_scenes import _engine
from hardfirst_scenes._frames import SOURCE, maps
from hardfirst_scenes._geometry import WIDTH, cast, read_plan
from hardfirst_scenes._labels import IGNORE, agreement, targets


def measure(wad: Path, name: str, count: int) -> list[tuple[float, float]]:
    """For each of some frames of a map: the share of pixels that agree, and the share that has a class then.

    It leaves the engine's files in the working directory.
    """
    plan, rng = read_plan(wad.read_bytes(), name), np.random.default_rng(0)
    found = []
    with _engine.Game(wad, name) as game:
        for candidate in _engine.candidates(plan, game, rng, count * _engine.TRIES):
            view = cast(plan, candidate.heights, candidate.camera)
            classes = targets(view, candidate.camera, candidate.buffers).classes
            seen = ~np.isin(candidate.buffers.labels, [each.value for each in candidate.buffers.objects])
            if seen.sum() >= WIDTH:
                agreed = agreement(view, candidate.buffers)[seen]
                found.append((float(agreed.mean()), float((classes != IGNORE)[seen].mean())))
            if len(found) == count:
                break
    return found


def report(count: int = 60) -> str:
    """A line for each map of the validation split and for all of them together, in percent."""
    wads = {path.name: path for path in SOURCE.check()}
    whole, lines = [], []
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        for found in maps("validation"):
            figures = measure(wads[found.wad], found.name, count)
            whole += figures
            lines.append(f"{found.name} {_text(figures)}")
        os.chdir("/")  # so that the folder can go
    return "\n".join([*lines, f"all {_text(whole)}"])


def _text(figures: list[tuple[float, float]]) -> str:
    agreed, labelled = 100 * np.array(figures).T
    middle, low = np.median(agreed), np.percentile(agreed, 10)
    return f"agree: mean {agreed.mean():.1f}, median {middle:.1f}, tenth {low:.1f}; have a class: mean {labelled.mean():.1f}"


if __name__ == "__main__":
    print(report())
