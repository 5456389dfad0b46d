"""Whether tensors are the same up to rounding."""

import torch
from torch import Tensor


def close(value: Tensor, expected: Tensor) -> bool:
    """Whether two tensors have one shape, and the same values up to rounding."""
    if value.shape != expected.shape:
        return False
    if not value.is_floating_point():
        return torch.equal(value, expected)
    tolerance = torch.finfo(value.dtype).eps ** 0.5
    return torch.allclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
