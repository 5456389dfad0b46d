"""Focal losses of examples, elementwise and without a reduction.

They are computed in float32 or better, since half precision is too coarse to sum or divide the losses of a batch.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.errors import InputError, number
from hardfirst.functional._labels import check_answers, check_finite, check_probabilities, class_labels, label_mask


def focal(loss: Tensor, gamma: float) -> Tensor:
    r"""Compute the focal form of any per-example loss: :math:`(1 - e^{-\ell})^\gamma \, \ell`.

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
    return loss if gamma == 0 else _focusing_factor(loss, gamma) * loss


def _focusing_factor(loss: Tensor, gamma: float) -> Tensor:
    # the clamp keeps d(x^γ)/dx finite at a loss of exactly 0 when γ < 1, where the product's true gradient is 0
    return (-torch.expm1(-loss)).clamp_min(torch.finfo(loss.dtype).tiny).pow(gamma)


def softmax_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""Compute the focal loss for one class out of many, per element.

    Args:
        logits: [batch, classes, ...].
        target: [batch, ...] classes of any integer type, or [batch, classes, ...] floating-point probabilities, as with
            mixup; `ignore_index`, or a NaN among the probabilities, marks a missing label.
        gamma: the focusing parameter, at least 0; 0 gives `torch.nn.functional.cross_entropy`.
        weight: [classes], a factor per class. It multiplies the focal loss and does not enter the focusing factor.
        ignore_index: the class of elements without a label, whose loss is 0.
        label_smoothing: in [0, 1], the share of the uniform distribution that is mixed into each target.

    Returns:
        [batch, ...], not reduced, in float32 or better; see `hardfirst.SoftmaxFocalLoss` for the mean.

    Example:
        >>> softmax_focal_loss(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([0, -100]), gamma=1.0)
        tensor([0.0151, 0.0000])

    Note:
        Lin et al. have one class per element. For probabilities :math:`q`, given or smoothed, :math:`\ell` is the
        cross-entropy :math:`-\sum_c q_c \log p_c`, also in the factor :math:`(1 - e^{-\ell})^\gamma`, as in `focal`. The
        minimum of the loss is therefore still at p = q, unlike that of Keras' :math:`\sum_c q_c (1-p_c)^\gamma (-\log p_c)`.
        The factor stays above 0 there, since :math:`\ell` is at least the entropy of q.

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """
    smoothing = number("label_smoothing", label_smoothing, least=0, most=1)
    _check_classes(logits, target, weight)
    logits, soft = in_float32(logits), target.is_floating_point()
    if soft:
        labelled = label_mask(target).all(1)
        classes = torch.where(labelled.unsqueeze(1), target, 0).to(logits.dtype)
        check_probabilities(classes, labelled)
    else:
        classes, labelled = class_labels(target, logits.shape[1], ignore_index)
    logits = torch.where(labelled.unsqueeze(1), logits, 0)  # an infinite logit would make the gradient 0 · ∞
    entropy = F.cross_entropy(logits, classes, reduction="none", label_smoothing=smoothing)
    if weight is None:
        loss = focal(entropy, gamma)
    elif soft or smoothing:
        loss = F.cross_entropy(logits, classes, weight.to(logits), reduction="none", label_smoothing=smoothing)
        loss = loss * _focusing_factor(entropy, number("gamma", gamma, least=0))
    else:
        loss = focal(entropy, gamma) * weight.to(logits)[classes]
    return torch.where(labelled, loss, 0)


def class_weight(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """Return each element's weight: that of its class, 1 without `weight`, 0 where there is no label.

    Args:
        target: classes of any shape and integer type.
        weight: [classes], or None.
        ignore_index: the class of elements without a label.

    Returns:
        The shape of `target`, in float32 or better.

    Raises:
        InputError: a class has no weight (checked on the CPU).

    Example:
        >>> class_weight(torch.tensor([1, 0, -100]), torch.tensor([1.0, 3.0]), -100)
        tensor([3., 1., 0.])
    """
    if weight is None:
        return label_mask(target, ignore_index).float()
    classes, labelled = class_labels(target, len(weight), ignore_index)
    return torch.where(labelled, in_float32(weight)[classes], 0)


def sigmoid_focal_loss(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float | None = 0.25, ignore_index: int = -100
) -> Tensor:
    """Compute the focal loss for binary tasks and dense detection, per element.

    Args:
        logits: any shape.
        target: the same shape and any type, 0 or 1; NaN or `ignore_index` where there is no label. For targets between
            0 and 1 the focusing factor is 1 − exp(−ℓ) of the cross-entropy.
        gamma: the focusing parameter, at least 0.
        alpha: the weight of positives in [0, 1], negatives get 1 − alpha; None for no class balance.
        ignore_index: the target of elements without a label.

    Returns:
        The shape of `logits` in float32 or better, 0 where there is no label. A detector divides the sum by its number of
        positives.

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
    labelled = label_mask(target, ignore_index)
    logits = torch.where(labelled, in_float32(logits), 0)
    target = torch.where(labelled, target, 0).to(logits.dtype)
    check_answers(target, ignore_index)
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
    r"""Compute the focal loss for regression, per element: `focal` of the error :math:`e = |prediction - target| / scale`.

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
        The shape of `prediction` in float32 or better, 0 where there is no label.

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
    check_finite(target)
    labelled = label_mask(target)
    error = torch.where(labelled, in_float32(prediction) - torch.where(labelled, target, 0), 0).abs() / scale
    if kind == "l1":
        loss = error
    elif kind == "l2":
        loss = error.square()
    elif kind == "linear":
        loss = -torch.log1p(-error.clamp_max(1 - 1e-6))
    else:
        raise InputError(f"Expected `kind` to be 'l1', 'l2' or 'linear'; got {kind!r}.")
    return focal(loss, gamma)


def in_float32(values: Tensor) -> Tensor:
    """Convert the values to float32; float64 stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


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
    probabilities = target.is_floating_point() and target.shape == logits.shape
    if logits.dim() < 2 or not (probabilities or logits.shape[:1] + logits.shape[2:] == target.shape):
        raise InputError(
            "Expected logits [batch, classes, ...] and a target [batch, ...] of classes, or of floating-point probabilities "
            f"in the shape of the logits; got {list(logits.shape)} and {list(target.shape)} {target.dtype}."
        )
    if target.is_floating_point() and not probabilities:
        raise InputError(f"Expected the target to be integer classes; got {target.dtype}. Convert it with .long().")
    if weight is not None and weight.shape != logits.shape[1:2]:
        raise InputError(
            f"Expected `weight` to have a factor for each of the {logits.shape[1]} classes; got shape {list(weight.shape)}."
        )
