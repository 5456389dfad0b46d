"""Running means of what a loop's steps measure."""

import torch
from torch import Tensor


class RunningMeans:
    """Means of tensors of one shape, summed on the device: only `pop` waits for it. NaN and infinite entries are skipped."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None  # [2, ...]: sums and counts

    def add(self, values: Tensor) -> None:
        """Add one value to each mean."""
        values = values.detach().float()
        pair = torch.stack([values.nan_to_num(0.0, 0.0, 0.0), values.isfinite().float()])
        self._sums = pair if self._sums is None else self._sums + pair

    def pop(self) -> Tensor | None:
        """Return the means on the device, NaN where no finite value was added, and start over; None if nothing was added."""
        sums, self._sums = self._sums, None
        return None if sums is None else sums[0] / sums[1]
