"""What an epoch's steps come to."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class RunningMeans:
    """Running means by name that never wait for the device before they are read; NaN and infinite values are none."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor | float]) -> None:
        """Take in a value of each."""
        for name, value in values.items():
            one = torch.as_tensor(value).detach().float()
            pair = torch.stack([one.nan_to_num(0.0, 0.0, 0.0), one.isfinite().float()])
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def read(self) -> dict[str, float]:
        """The means, NaN where there was no value; and begin anew."""
        pairs = {name: pair.tolist() for name, pair in self._sums.items()}
        self._sums = {}
        return {name: total / count if count else math.nan for name, (total, count) in pairs.items()}
