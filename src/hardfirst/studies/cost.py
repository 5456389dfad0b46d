"""What a training step costs under each method, relative to equal weights: all in one process, taking turns."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardfirst.records import write_atomically
from hardfirst.records.cost import StepCost
from hardfirst.training import Trial, step_seconds


def measure(trials: Mapping[str, Trial], base: str, *, rounds: int = 21, accelerator: str = "cpu") -> dict[str, StepCost]:
    """What a step of each trial costs; `base` is the one that the others are held against. See `step_seconds`."""
    found = {name: np.array(times) for name, times in step_seconds(trials, rounds=rounds, accelerator=accelerator).items()}
    if base not in found:
        return {}
    return {name: _cost(times, found[base]) for name, times in found.items()}


def _cost(times: NDArray[np.float64], base: NDArray[np.float64]) -> StepCost:
    middle, low, high = np.quantile(times / base, [0.5, 0.25, 0.75])
    return StepCost(float(np.median(times)), float(middle), float(low), float(high), len(times))


def measure_all(cases: Mapping[str, Mapping[str, Trial]], base: str, path: Path, accelerator: str = "cpu") -> None:
    """Measure the trials of each case, and write what was found."""
    _write(path, {case: measure(trials, base, accelerator=accelerator) for case, trials in cases.items()})


def _write(path: Path, cases: Mapping[str, Mapping[str, StepCost]]) -> None:
    content = {case: {name: cost._asdict() for name, cost in costs.items()} for case, costs in cases.items()}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
