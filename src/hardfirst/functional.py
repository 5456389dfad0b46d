"""The equations, as pure functions of tensors: elementwise, or over a vector with one entry per task."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.errors import InputError, number


def focal(loss: Tensor, gamma: float) -> Tensor:
    r"""The focal form of any per-example loss: :math:`(1 - e^{-\ell})^\gamma \, \ell`.

    :math:`p = e^{-\ell}` is how well the example is done; the factor :math:`(1-p)^\gamma` takes weight from those that are
    done well. With cross-entropy for :math:`\ell` this is the focal loss of Lin et al.

    Args:
        loss: any shape, at least 0, in nats.
        gamma: the focusing parameter, at least 0; 0 gives the loss itself.

    Returns:
        A tensor of the same shape. Values and gradients are finite wherever the loss is.

    Example:
        >>> focal(torch.tensor([0.1, 2.0]), gamma=2.0)
        tensor([9.0559e-04, 1.4953e+00])

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Eq. (4).
    """
    number("gamma", gamma, least=0)
    if gamma == 0:
        return loss
    # the clamp keeps d(x^γ)/dx finite at a loss of exactly 0 when γ < 1, where the product's true gradient is 0
    return (-torch.expm1(-loss)).clamp_min(torch.finfo(loss.dtype).tiny).pow(gamma) * loss


def softmax_focal_loss(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, weight: Tensor | None = None, ignore_index: int = -100
) -> Tensor:
    """The focal loss for one class out of many, per element.

    Args:
        logits: [batch, classes, ...].
        target: [batch, ...] class indices; `ignore_index` where there is no label.
        gamma: the focusing parameter, at least 0; 0 gives cross-entropy.
        weight: [classes], a factor per class. It multiplies the focal loss and does not enter the focusing factor.
        ignore_index: the target that stands for "no label"; such elements give 0.

    Returns:
        [batch, ...], not reduced; see `hardfirst.SoftmaxFocalLoss` for the mean.

    Example:
        >>> softmax_focal_loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, -100]), gamma=1.0)
        tensor([0.0151, 0.0000])

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    loss = focal(F.cross_entropy(logits, target, reduction="none", ignore_index=ignore_index), gamma)
    return loss if weight is None else loss * class_weight(target, weight, ignore_index).to(loss.dtype)


def class_weight(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Each element's weight: that of its class (1 without `weight`), 0 where there is no label. Shape of `target`."""
    labelled = target != ignore_index
    if weight is None:
        return labelled.float()
    return torch.where(labelled, weight[torch.where(labelled, target, 0)], 0)


def sigmoid_focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """The focal loss for yes/no questions and dense detection, per element.

    Args:
        logits: any shape.
        target: the same shape, 0 or 1; NaN where there is no label. Between 0 and 1 the focusing factor is that of
            the cross-entropy itself, 1 − exp(−ℓ).
        gamma: the focusing parameter, at least 0.
        alpha: the weight of positives in [0, 1], negatives get 1 − alpha; None for no class balance.

    Returns:
        The shape of `logits`, 0 where there is no label. A detector divides the sum by its number of positives.

    Example:
        >>> sigmoid_focal_loss(torch.tensor([2.0, -3.0]), torch.tensor([1.0, 1.0]))
        tensor([4.5089e-04, 6.9157e-01])

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, Eq. (5).
    """
    _check_same_shape(logits, target)
    if alpha is not None:
        number("alpha", alpha, least=0, most=1)
    labelled = ~target.isnan()
    target = torch.where(labelled, target, 0).to(logits.dtype)
    loss = focal(F.binary_cross_entropy_with_logits(logits, target, reduction="none"), gamma)
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return torch.where(labelled, loss, 0)


def regression_focal_loss(
    prediction: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    scale: float = 1.0,
    kind: Literal["l1", "l2", "linear"] = "l1",
) -> Tensor:
    r"""The focal loss for regression, per element: `focal` of a scaled error :math:`e = |prediction - target| / scale`.

    "l1" takes :math:`\ell = e` and "l2" :math:`\ell = e^2`, so that γ = 0 is the plain loss and outliers keep their
    gradient. "linear" is the form of the DTP paper: :math:`p = 1 - e` with e cut off at 1 − 1e-6, so
    :math:`\ell = -\log(1 - e)`; errors beyond the scale have no gradient.

    Args:
        prediction: any shape.
        target: the same shape; NaN where there is no label.
        gamma: the focusing parameter, at least 0.
        scale: the error that counts as 1, above 0; for "linear" the largest error that there can be.
        kind: "l1", "l2" or "linear".

    Returns:
        The shape of `prediction`, 0 where there is no label.

    Example:
        >>> regression_focal_loss(torch.tensor([1.0, 5.0]), torch.tensor([1.5, float("nan")]), gamma=1.0)
        tensor([0.1967, 0.0000])

    Note:
        The DTP paper prints :math:`-(1-e)^\gamma \log e`, which falls as the error grows; its text describes p = 1 − e,
        which is what stands here.

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Sec. 3.1.
    """
    _check_same_shape(prediction, target)
    number("scale", scale, above=0)
    labelled = ~target.isnan()
    error = torch.where(labelled, prediction - target.nan_to_num(), 0).abs() / scale
    if kind == "l1":
        loss = error
    elif kind == "l2":
        loss = error.square()
    elif kind == "linear":
        loss = -torch.log1p(-error.clamp_max(1 - max(1e-6, torch.finfo(error.dtype).eps)))
    else:
        raise InputError(f"Expected `kind` to be 'l1', 'l2' or 'linear'; got {kind!r}.")
    return focal(loss, gamma)


def focal_weight(kpi: Tensor, gamma: Tensor | float, *, floor: float = 1e-6) -> Tensor:
    r"""The weight of a task by its KPI: :math:`FL(\kappa; \gamma) = -(1 - \kappa)^\gamma \log \kappa`.

    Args:
        kpi: any shape, in [0, 1]; NaN stays NaN.
        gamma: the focusing parameter, at least 0, a number or a tensor that broadcasts with `kpi`.
        floor: the KPI is kept in [floor, 1 − floor], where the weight and its logarithm are finite.

    Returns:
        The shape of `kpi`: large for a hard task, near 0 for one that is done.

    Example:
        >>> focal_weight(torch.tensor([0.1, 0.5, 0.9]), gamma=1.0)
        tensor([2.0723, 0.3466, 0.0105])

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Eq. (3) and (4).
    """
    return log_focal_weight(kpi, gamma, floor=floor).exp()


def log_focal_weight(kpi: Tensor, gamma: Tensor | float, *, floor: float) -> Tensor:
    """The logarithm of `focal_weight`, which does not underflow at a large gamma."""
    kpi = kpi.clamp(floor, 1 - floor)
    logs: Tensor = torch.special.xlog1py(gamma, -kpi)
    return logs + kpi.log().neg_().log()


def moving_average(value: Tensor, new: Tensor, *, alpha: float) -> Tensor:
    r"""The exponential moving average :math:`\bar\kappa \leftarrow \alpha \kappa + (1 - \alpha) \bar\kappa`.

    Args:
        value: the average so far, any shape; NaN where nothing was measured yet.
        new: the same shape; NaN where there is nothing new.
        alpha: the share of the new value, in (0, 1].

    Returns:
        The new average: `new` where nothing was measured before, `value` where there is nothing new.

    Example:
        >>> nan = float("nan")
        >>> moving_average(torch.tensor([0.5, nan, 0.5]), torch.tensor([1.0, 0.8, nan]), alpha=0.1)
        tensor([0.5500, 0.8000, 0.5000])
    """
    # fmin and fmax pass over NaN; where both values are there, the average is the larger of itself and the smaller value
    return torch.fmax(torch.lerp(value, new, alpha), torch.fmin(value, new))


def uncertainty(losses: Tensor, s: Tensor) -> Tensor:
    r"""Uncertainty weighting: :math:`\sum_t \tfrac12 e^{-s_t} L_t + \tfrac12 s_t` over the tasks whose loss is not 0.

    Args:
        losses: [T].
        s: [T], the logarithm of each task's noise variance.

    Returns:
        A 0-d tensor; it may be negative.

    Example:
        >>> uncertainty(torch.tensor([1.0, 4.0]), torch.tensor([0.0, 1.3863]))
        tensor(1.6931)

    References:
        Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018.
    """
    return (losses * (0.5 * (-s).exp()) + torch.where(losses != 0, 0.5 * s, 0)).sum()


def _check_same_shape(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise InputError(
            f"Expected output and target to have the same shape; got {list(output.shape)} and {list(target.shape)}."
        )
