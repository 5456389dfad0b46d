"""Running means of what a loop's steps measure."""

import torch
from torch import Tensor


class RunningMeans:
    """Means of tensors of one shape, summed on the device: only `pop` waits for it. NaN and infinite entries are skipped.

    Args:
        readers: who read the means, each since it last did.
    """

    def __init__(self, *readers: str) -> None:
        self._sums: dict[str, Tensor | None] = dict.fromkeys(readers)  # [2, ...]: sums and counts

    def add(self, values: Tensor) -> None:
        """Add one value to each mean."""
        values = values.detach().float()
        pair = torch.stack([values.nan_to_num(0.0, 0.0, 0.0), values.isfinite().float()])
        for reader, sums in self._sums.items():
            self._sums[reader] = pair if sums is None else sums + pair

    def pop(self, reader: str) -> Tensor | None:
        """Return the means on the device, NaN where no finite value was added, and start over; None if nothing was added."""
        sums, self._sums[reader] = self._sums[reader], None
        return None if sums is None else sums[0] / sums[1]
