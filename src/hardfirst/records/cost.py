"""The cost of a training step under each method, as measured and stored in a study's cost.json."""

import json
from pathlib import Path
from typing import NamedTuple

from hardfirst.records.files import read_text


class StepCost(NamedTuple):
    """A method's seconds per training step, and their ratio to equal weights': median and quartiles over rounds of steps."""

    seconds: float
    relative: float
    low: float
    high: float
    rounds: int
    steps: int = 10


def _parse(seconds: float, relative: float, low: float, high: float, rounds: int, steps: int = 10) -> StepCost:
    return StepCost(float(seconds), float(relative), float(low), float(high), int(rounds), int(steps))


def read_costs(path: Path) -> dict[str, dict[str, StepCost]]:
    """Read the costs of each case; empty if the file is absent or damaged, since costs can be measured again."""
    try:
        content = json.loads(read_text(path))
        return {case: {name: _parse(**cost) for name, cost in costs.items()} for case, costs in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
