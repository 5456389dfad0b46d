"""User-defined task preferences for gradient methods."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hardfirst.errors import InputError, mapping, per_task


def preferences(given: Mapping[str, float] | None, tasks: Sequence[str]) -> list[float]:
    """Return the preference of each task; default: 1.

    Raises:
        InputError: a task is unknown, a number is below 0, or all are 0.
    """
    if given is not None:
        mapping("preference", given, f"{{{tasks[0]!r}: 2.0}}")
    found = per_task("preference", given or {}, tasks, default=1.0, least=0)
    if not any(found):
        raise InputError("Expected a `preference` above 0 for at least one task; got 0 for all.")
    return found


def preferred(preference: Sequence[float], present: Tensor) -> Tensor:
    """Return the preferences [k] of the tasks at these positions, float64; all 1 if they are all 0."""
    chosen = torch.tensor(preference, dtype=torch.float64)[present]
    return chosen if chosen.any() else torch.ones_like(chosen)
