"""Projection on the simplex, without waiting for a device: weights that are at least 0 and sum to 1."""

import torch
from torch import Tensor


def project(point: Tensor) -> Tensor:
    """Return the nearest point [k] whose entries are at least 0 and sum to 1.

    >>> project(torch.tensor([0.9, 0.5, -1.0]))
    tensor([0.7000, 0.3000, 0.0000])

    References:
        Held, Wolfe and Crowder, Validation of Subgradient Optimization, Mathematical Programming 6, 1974.
    """
    sums = point.sort(descending=True).values.cumsum(0).sub_(1)
    # the shift if only the k largest entries stayed above 0; the correct k has the largest shift
    excess = sums.div_(torch.arange(1, len(point) + 1, device=point.device)).max()
    return (point - excess).clamp_(min=0)


def shares(weights: Tensor) -> Tensor:
    """Divide weights [k] by their sum; return equal weights if the sum is 0."""
    none = ~weights.any()
    return (weights + none) / (weights + none).sum()
