"""Equations of KPI-based methods, for a vector with one entry per task."""

import torch
from torch import Tensor


def focal_weight(kpi: Tensor, gamma: Tensor | float, *, floor: float = 1e-6) -> Tensor:
    r"""Compute the weight of a task given its KPI: :math:`FL(\kappa; \gamma) = -(1 - \kappa)^\gamma \log \kappa`.

    Args:
        kpi: any shape, in [0, 1]; NaN stays NaN.
        gamma: the focusing parameter, at least 0, a number or a tensor that broadcasts with `kpi`.
        floor: clamps the KPI to [floor, 1 − floor], where the weight and its logarithm are finite.

    Returns:
        The shape of `kpi`: large for a hard task, near 0 for one that has been learned.

    Example:
        >>> focal_weight(torch.tensor([0.1, 0.5, 0.9]), gamma=1.0)
        tensor([2.0723, 0.3466, 0.0105])

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Eq. (3) and (4).
    """
    return log_focal_weight(kpi, gamma, floor=floor).exp()


def focal_weights(
    kpi: Tensor,
    gamma: Tensor | float,
    *,
    floor: float = 1e-3,
    normalize: bool = True,
    uniform: float = 0.0,
    easy_first: bool = False,
) -> Tensor:
    r"""Compute the weights of Dynamic Task Prioritization: `focal_weight` per task, normalized, mixed with equal weights.

    Args:
        kpi: [T], in [0, 1]; NaN where a task has not been measured yet.
        gamma: the focusing parameter, at least 0, a number or [T].
        floor: as in `focal_weight`.
        normalize: whether to scale the weights so that they sum to the number of measured tasks.
        uniform: the share u of equal weights after normalization, w ← (1 − u)·w + u, in [0, 1].
        easy_first: whether to use 1 − κ in place of κ, so that easy tasks weigh more: the paper's control.

    Returns:
        [T]; 1 for a task that is not measured.

    Example:
        >>> focal_weights(torch.tensor([0.9, 0.6, float("nan")]), gamma=1.0)
        tensor([0.0981, 1.9019, 1.0000])

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Eq. (4).
    """
    logs = log_focal_weight(1 - kpi if easy_first else kpi, gamma, floor=floor)
    if not normalize:
        return logs.exp().nan_to_num(1.0)
    measured = ~logs.isnan()
    # a softmax of the logarithms: at a large gamma all weights may underflow, but not their ratios
    weights = logs.nan_to_num(-1e30).softmax(0) * measured.sum()
    return torch.where(measured, (1 - uniform) * weights + uniform, 1.0)


def log_focal_weight(kpi: Tensor, gamma: Tensor | float, *, floor: float) -> Tensor:
    """Compute the logarithm of `focal_weight`, which does not underflow at a large gamma.

    Example:
        >>> log_focal_weight(torch.tensor([0.5, 0.999]), gamma=8.0, floor=1e-3)
        tensor([ -5.9117, -62.1694])
    """
    kpi = kpi.clamp(floor, 1 - floor)
    logs: Tensor = torch.special.xlog1py(gamma, -kpi)
    return logs + kpi.log().neg_().log()


def moving_average(value: Tensor, new: Tensor, *, alpha: Tensor | float) -> Tensor:
    r"""Compute the exponential moving average :math:`\bar\kappa \leftarrow \alpha \kappa + (1 - \alpha) \bar\kappa`.

    Args:
        value: the average so far, any shape; NaN where there is no measurement yet.
        new: the same shape; NaN where there is no new value.
        alpha: the weight of the new value, in (0, 1]: a number, or a tensor that broadcasts.

    Returns:
        The new average: `new` where there was no measurement, `value` where there is no new one.

    Example:
        >>> nan = float("nan")
        >>> moving_average(torch.tensor([0.5, nan, 0.5]), torch.tensor([1.0, 0.8, nan]), alpha=0.1)
        tensor([0.5500, 0.8000, 0.5000])
    """
    if isinstance(alpha, Tensor):
        alpha = alpha.to(value.dtype)  # lerp does not promote dtypes
    # fmin and fmax ignore NaN. Without NaN, the average is at least the smaller of the two values, and fmax selects it
    return torch.fmax(torch.lerp(value, new, alpha), torch.fmin(value, new))


def achievement(kpi: Tensor, potential: Tensor | float, margin: float, gamma: float) -> Tensor:
    r"""Compute achievement-based weights: :math:`w = \mathrm{softmax}((1 - \kappa_t / (P_t (1 + m)))^\gamma)`.

    Args:
        kpi: [T], in [0, 1]; NaN where there is no measurement yet.
        potential: :math:`P_t`, the KPI that the task reaches when trained alone, above 0; [T] or a number.
        margin: :math:`m`, how far above its potential a task still gets extra weight, at least 0.
        gamma: the focusing parameter, at least 0. The base is clamped to 0, so a KPI above the margin has the lowest weight
            for any gamma.

    Returns:
        [T], the weights, which sum to 1. A task that is not measured has 1/T; the others share the rest.

    Example:
        >>> achievement(torch.tensor([0.2, 0.8]), potential=1.0, margin=0.0, gamma=2.0)
        tensor([0.6457, 0.3543])

    References:
        Yun and Cho, Achievement-Based Training Progress Balancing for Multi-Task Learning, ICCV 2023.
    """
    unmeasured = kpi.isnan()
    gap = (1 - kpi / (potential * (1 + margin))).clamp_min(0).pow(gamma)
    measured_share = torch.rsub(unmeasured.sum(dtype=kpi.dtype), 1, alpha=1 / kpi.numel())
    shares = gap.masked_fill(unmeasured, -1e30).softmax(0) * measured_share
    return shares.masked_fill(unmeasured, 1 / kpi.numel())
