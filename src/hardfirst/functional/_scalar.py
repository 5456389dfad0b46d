"""Two equations of `functional` again, for Python numbers.

In eager mode on the CPU, a step of DTP works on a handful of numbers; as tensors that is some twenty kernels, which
cost more than the backward they serve (`make bench`). Everywhere else the tensor form is used: on an accelerator it does
not wait for the device, and it can be compiled. tests/functional/test_scalar.py holds the two forms together.
"""

from math import isnan, log, log1p

import torch
from torch import Tensor


def on_host(state: Tensor) -> bool:
    """Whether the values of a tensor can be read at no cost: eager mode, on the CPU, and no fake tensor."""
    return type(state) is Tensor and state.is_cpu and not torch.compiler.is_compiling()


def moving_average(value: float, new: float, alpha: float) -> float:
    """See `functional.moving_average`."""
    average = value + alpha * (new - value)
    if isnan(average):  # one of them is not there
        return value if isnan(new) else new
    return average


def log_focal_weight(kpi: float, gamma: float, floor: float) -> float:
    """See `functional.log_focal_weight`."""
    if not floor < kpi < 1 - floor:
        if isnan(kpi):
            return kpi
        kpi = floor if kpi < 0.5 else 1 - floor
    return gamma * log1p(-kpi) + log(-log(kpi))
