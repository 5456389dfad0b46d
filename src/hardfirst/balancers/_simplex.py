"""Weights that are at least 0 and sum to 1, for methods that learn them by projected steps, without a wait for a device."""

import torch
from torch import Tensor


def project(point: Tensor) -> Tensor:
    """The nearest point [k] whose numbers are at least 0 and sum to 1.

    >>> project(torch.tensor([0.9, 0.5, -1.0]))
    tensor([0.7000, 0.3000, 0.0000])

    References:
        Held, Wolfe and Crowder, Validation of Subgradient Optimization, Mathematical Programming 6, 1974.
    """
    sums = point.sort(descending=True).values.cumsum(0).sub_(1)
    # what to take from each of the k largest entries, were these all that are above 0: it is most for the right k
    excess = sums.div_(torch.arange(1, len(point) + 1, device=point.device)).max()
    return (point - excess).clamp_(min=0)


def shares(weights: Tensor) -> Tensor:
    """Weights [k] divided by their sum; equal ones where it is 0."""
    none = ~weights.any()
    return (weights + none) / (weights + none).sum()
