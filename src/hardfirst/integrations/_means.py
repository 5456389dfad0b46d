"""Running means of what an epoch's steps measure."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class RunningMeans:
    """Means by name, summed on the device: only `read` waits for it. NaN and infinite values are skipped."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # by name: [sum, count]

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Add one value to each of the named means."""
        for name, value in values.items():
            number = torch.as_tensor(value).detach().float()
            pair = torch.stack([number.nan_to_num(0.0, 0.0, 0.0), number.isfinite().float()])
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def read(self) -> dict[str, float]:
        """Return the means, NaN where no finite value was added, and start over."""
        pairs = {name: pair.tolist() for name, pair in self._sums.items()}
        self._sums = {}
        return {name: total / count if count else math.nan for name, (total, count) in pairs.items()}
