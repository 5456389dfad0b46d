"""Running means of the measurements of a loop's steps."""

import torch
from torch import Tensor


class RunningMeans:
    """Means of tensors of one shape, summed on the device: only `pop` waits for it. NaN and infinite entries are skipped.

    Args:
        readers: names of the readers; each gets the means since it last read them.
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
        """Return the means on the device and start over; NaN without a finite value, None if nothing was added."""
        sums, self._sums[reader] = self._sums[reader], None
        return None if sums is None else sums[0] / sums[1]
