"""Measures what a training step costs under each method, relative to the baseline, in one process and in turns."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hardfirst.records import write_atomically
from hardfirst.records.cost import StepCost
from hardfirst.training import Trial, step_seconds

LIMIT = 10.0
"""About how many seconds to spend on a method, on average."""

Tell = Callable[[float], None]


def _measured(trials: Mapping[str, Trial], baseline: str, accelerator: str, tell: Tell) -> dict[str, StepCost]:
    """The cost of a step of each trial, relative to that of `baseline`. See `step_seconds`."""
    seconds, steps = step_seconds(trials, limit=LIMIT, accelerator=accelerator, tell=tell)
    if baseline not in seconds:
        return {}
    return {name: _cost(np.array(times), np.array(seconds[baseline]), steps) for name, times in seconds.items()}


def _cost(times: NDArray[np.float64], baseline: NDArray[np.float64], steps: int) -> StepCost:
    middle, low, high = np.quantile(times / baseline, [0.5, 0.25, 0.75])
    return StepCost(float(np.median(times)), float(middle), float(low), float(high), len(times), steps)


def measure_all(cases: Mapping[str, Mapping[str, Trial]], baseline: str, path: Path, accelerator: str, tell: Tell) -> None:
    """Measure the trials of each case and write their costs to a file; `tell` gets the share that is done."""

    def tell_all(number: int, share: float) -> None:
        tell((number + share) / len(cases))

    content = {}
    for number, (case, trials) in enumerate(cases.items()):
        costs = _measured(trials, baseline, accelerator, partial(tell_all, number))
        content[case] = {name: cost._asdict() for name, cost in costs.items()}
    write_atomically(path, json.dumps(content, indent=1) + "\n")
