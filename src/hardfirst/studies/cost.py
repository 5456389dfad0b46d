"""Measures what a training step costs under each method, relative to the baseline, in one process and in turns."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardfirst.records import write_atomically
from hardfirst.records.cost import StepCost
from hardfirst.training import Trial, step_seconds


def measure(
    trials: Mapping[str, Trial], baseline: str, *, rounds: int = 21, accelerator: str = "cpu"
) -> dict[str, StepCost]:
    """The cost of a step of each trial, relative to that of `baseline`. See `step_seconds`."""
    seconds = step_seconds(trials, rounds=rounds, accelerator=accelerator)
    if baseline not in seconds:
        return {}
    return {name: _cost(np.array(times), np.array(seconds[baseline])) for name, times in seconds.items()}


def _cost(times: NDArray[np.float64], baseline: NDArray[np.float64]) -> StepCost:
    middle, low, high = np.quantile(times / baseline, [0.5, 0.25, 0.75])
    return StepCost(float(np.median(times)), float(middle), float(low), float(high), len(times))


def measure_all(cases: Mapping[str, Mapping[str, Trial]], baseline: str, path: Path, accelerator: str = "cpu") -> None:
    """Measure the trials of each case and write their costs to a file."""
    _write(path, {case: measure(trials, baseline, accelerator=accelerator) for case, trials in cases.items()})


def _write(path: Path, cases: Mapping[str, Mapping[str, StepCost]]) -> None:
    content = {case: {name: cost._asdict() for name, cost in costs.items()} for case, costs in cases.items()}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
