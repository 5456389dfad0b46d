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
    ordered = point.sort(descending=True).values
    # for each number of positive entries, what to take from each of these
    excess = (ordered.cumsum(0) - 1) / torch.arange(1, len(point) + 1, dtype=point.dtype, device=point.device)
    return (point - excess.gather(0, (ordered > excess).sum(0, keepdim=True) - 1)).clamp(min=0)


def shares(weights: Tensor) -> Tensor:
    """Weights [k] divided by their sum; equal ones where it is 0."""
    none = ~weights.any()
    return (weights + none) / (weights + none).sum()
