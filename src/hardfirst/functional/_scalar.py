"""Equations of `functional` on Python numbers, for small steps on the CPU.

In eager mode on the CPU, a step of DTP works on a handful of numbers; as tensors these are some twenty kernels, which cost
more than the backward that they serve (`make bench`). On an accelerator and in a compiled graph the tensor form is used: it
does not wait for the device. tests/functional/test_scalar.py checks that the two forms agree.
"""

from collections.abc import Sequence
from math import exp, isnan, log, log1p

import torch
from torch import Tensor

from hardfirst.functional._kpi_weights import focal_weights


def on_host(state: Tensor) -> bool:
    """Whether reading a tensor's values is free: eager mode, on the CPU, and no fake tensor."""
    return type(state) is Tensor and state.is_cpu and not torch.compiler.is_compiling()


def fast_focal_weights(
    kpi: Tensor,
    gamma: Tensor,
    gammas: Sequence[float],
    *,
    floor: float,
    normalize: bool = True,
    uniform: float = 0.0,
    easy_first: bool = False,
) -> Tensor:
    """`functional.focal_weights`, computed on Python numbers where reading the KPIs is free.

    Args:
        kpi: [T], NaN where a task is not measured.
        gamma: [T], for the tensor form.
        gammas: the same numbers in double precision, for the other form.
        floor: as in `functional.focal_weights`, like the other options.
        normalize: see there.
        uniform: see there.
        easy_first: see there.
    """
    if not on_host(kpi):
        return focal_weights(kpi, gamma, floor=floor, normalize=normalize, uniform=uniform, easy_first=easy_first)
    kpis = [1 - value for value in kpi.tolist()] if easy_first else kpi.tolist()
    logs = [log_focal_weight(value, gamma, floor) for value, gamma in zip(kpis, gammas, strict=True)]
    measured = logs if not isnan(sum(logs)) else [log for log in logs if not isnan(log)]
    weights = _normalized(measured, uniform) if normalize and measured else [exp(log) for log in measured]
    if len(measured) < len(logs):
        rest = iter(weights)
        weights = [1.0 if isnan(log) else next(rest) for log in logs]
    return torch.tensor(weights, dtype=torch.float32)


def _normalized(logs: Sequence[float], uniform: float) -> list[float]:
    highest = max(logs)
    shares = [exp(log - highest) for log in logs]
    scale = (1 - uniform) * len(shares) / sum(shares)
    return [scale * share + uniform for share in shares]


def log_focal_weight(kpi: float, gamma: float, floor: float) -> float:
    """See `functional.log_focal_weight`."""
    if not floor < kpi < 1 - floor:
        if isnan(kpi):
            return kpi
        kpi = floor if kpi < 0.5 else 1 - floor
    return gamma * log1p(-kpi) + log(-log(kpi))


def moving_average_on_host(average: Tensor, kpi: Tensor, alpha: float, potential: Sequence[float] | None) -> Tensor:
    """`functional.moving_average` of KPIs as shares of their potential, clamped to [0, 1].

    Args:
        average: [T] float32, the average so far; NaN where nothing was measured.
        kpi: [T]; NaN where there is no observation.
        alpha: the share of the new value.
        potential: by task; None for 1.
    """
    shares = kpi.tolist()
    if potential:
        shares = [value / best for value, best in zip(shares, potential, strict=True)]
    shares = [value if 0.0 <= value <= 1.0 or isnan(value) else float(value > 0) for value in shares]
    averages = [moving_average(value, new, alpha) for value, new in zip(average.tolist(), shares, strict=True)]
    return torch.tensor(averages, dtype=torch.float32)


def moving_average(value: float, new: float, alpha: float) -> float:
    """See `functional.moving_average`."""
    average = value + alpha * (new - value)
    if isnan(average):  # nothing was measured before, or nothing is measured now
        return value if isnan(new) else new
    return average
