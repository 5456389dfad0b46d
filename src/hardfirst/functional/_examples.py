"""Focal losses of examples, elementwise and without a reduction."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.errors import InputError, number


def focal(loss: Tensor, gamma: float) -> Tensor:
    r"""The focal form of any per-example loss: :math:`(1 - e^{-\ell})^\gamma \, \ell`.

    :math:`p = e^{-\ell}` is how well the example is predicted; the factor :math:`(1-p)^\gamma` reduces the weight of those
    that are predicted well. With the cross-entropy as :math:`\ell`, this is the focal loss of Lin et al.

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
    _check_floating("loss", loss)
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
        ignore_index: the target of elements without a label, which give 0.

    Returns:
        [batch, ...], not reduced; see `hardfirst.SoftmaxFocalLoss` for the mean.

    Example:
        >>> softmax_focal_loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, -100]), gamma=1.0)
        tensor([0.0151, 0.0000])

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    _check_classes(logits, target, weight)
    loss = focal(_cross_entropy(logits, target, ignore_index), gamma)
    return loss if weight is None else loss * class_weight(target, weight, ignore_index).to(loss.dtype)


def _cross_entropy(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    if torch.compiler.is_compiling():  # not every version of torch traces exception handlers
        return F.cross_entropy(logits, target, reduction="none", ignore_index=ignore_index)
    try:
        return F.cross_entropy(logits, target, reduction="none", ignore_index=ignore_index)
    except IndexError:  # on the CPU; a check on another device would wait for it in every step
        wrong = target[(target != ignore_index) & ((target < 0) | (target >= logits.shape[1]))]
        raise InputError(
            f"Expected the classes of the target to be 0 to {logits.shape[1] - 1}, as there are {logits.shape[1]} logits, "
            f"or {ignore_index} where there is no label; got {int(wrong[0])}."
        ) from None


def class_weight(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Each element's weight: that of its class, 1 without `weight`, 0 where there is no label.

    Args:
        target: class indices of any shape.
        weight: [classes], or None.
        ignore_index: the target of elements without a label.

    Returns:
        The shape of `target`.

    Example:
        >>> class_weight(torch.tensor([1, 0, -100]), torch.tensor([1.0, 3.0]), -100)
        tensor([3., 1., 0.])
    """
    labelled = target != ignore_index
    if weight is None:
        return labelled.float()
    return torch.where(labelled, weight[torch.where(labelled, target, 0)], 0)


def sigmoid_focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """The focal loss for yes/no questions and dense detection, per element.

    Args:
        logits: any shape.
        target: the same shape, 0 or 1; NaN where there is no label. For targets between 0 and 1 the focusing factor is
            1 − exp(−ℓ) of the cross-entropy.
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
    _check_floating("logits", logits)
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

    "l1" is :math:`\ell = e` and "l2" :math:`\ell = e^2`, so γ = 0 is the plain loss and outliers keep their gradient.
    "linear" is the form of the DTP paper: :math:`p = 1 - e` with e clamped to 1 − 1e-6, so :math:`\ell = -\log(1 - e)`;
    errors beyond the scale have no gradient.

    Args:
        prediction: any shape.
        target: the same shape; NaN where there is no label.
        gamma: the focusing parameter, at least 0.
        scale: the error that counts as 1, above 0; for "linear", the largest possible error.
        kind: "l1", "l2" or "linear".

    Returns:
        The shape of `prediction`, 0 where there is no label.

    Example:
        >>> regression_focal_loss(torch.tensor([1.0, 5.0]), torch.tensor([1.5, float("nan")]), gamma=1.0)
        tensor([0.1967, 0.0000])

    Note:
        The DTP paper prints :math:`-(1-e)^\gamma \log e`, which falls as the error grows; its text describes p = 1 − e,
        which is implemented here.

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


def _check_same_shape(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise InputError(
            f"Expected output and target to have the same shape; got {list(output.shape)} and {list(target.shape)}."
        )


def _check_floating(name: str, values: Tensor) -> None:
    if not values.is_floating_point():
        raise InputError(f"Expected `{name}` to be floating-point; got {values.dtype}. Convert it with .float().")


def _check_classes(logits: Tensor, target: Tensor, weight: Tensor | None) -> None:
    _check_floating("logits", logits)
    if logits.dim() < 2 or logits.shape[:1] + logits.shape[2:] != target.shape:
        raise InputError(
            "Expected logits [batch, classes, ...] and a target [batch, ...] of classes; got "
            f"{list(logits.shape)} and {list(target.shape)}."
        )
    if target.dtype not in (torch.int64, torch.uint8):
        raise InputError(f"Expected the target to be classes, torch.int64; got {target.dtype}. Convert it with .long().")
    if weight is not None and weight.shape != logits.shape[1:2]:
        raise InputError(
            f"Expected `weight` to have a factor for each of the {logits.shape[1]} classes; got shape {list(weight.shape)}."
        )
