"""Sums over batches, from which losses and measures of a split are computed."""

from torch import Tensor


def add_sums(state: Tensor, other: Tensor) -> Tensor:
    """Add the sums of two batches in float64: those of a whole split would lose digits in float32."""
    return state.double() + other.double()


def mean_or_0(sums: Tensor) -> Tensor:
    """Return the mean from a sum and a count, and 0 if nothing was counted."""
    return sums[0] / sums[1].clamp(min=1)
