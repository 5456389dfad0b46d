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


def imtl_l(losses: Tensor, s: Tensor) -> Tensor:
    r"""IMTL's loss balance: :math:`\sum_t e^{s_t} L_t - s_t` over the tasks whose loss is not 0.

    Args:
        losses: [T].
        s: [T], the logarithm of each task's scale. Twice `uncertainty` at −s.

    Returns:
        A 0-d tensor; it is least where every :math:`e^{s_t} L_t` is 1.

    Example:
        >>> imtl_l(torch.tensor([1.0, 4.0]), torch.tensor([0.0, -1.3863]))
        tensor(3.3863)

    References:
        Liu et al., Towards Impartial Multi-task Learning, ICLR 2021, Sec. 3.2.
    """
    return (losses * s.exp() - torch.where(losses != 0, s, 0)).sum()


def geometric(losses: Tensor) -> Tensor:
    r"""The geometric mean of the losses: :math:`\prod_t L_t^{1/T}` over the T tasks whose loss is not 0.

    Args:
        losses: [T], at least 0; a negative one gives NaN.

    Returns:
        A 0-d tensor, 0 if all losses are. A loss of 0 has a gradient of 0.

    Example:
        >>> geometric(torch.tensor([2.0, 8.0, 0.0]))
        tensor(4.)

    References:
        Chennupati et al., MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task
        Learning, CVPR Workshops 2019.
    """
    present = losses != 0
    return torch.where(present.any(), (present_logs(losses).sum() / present.sum().clamp_min(1)).exp(), 0)


def stch(losses: Tensor, nadir: Tensor, mu: float) -> Tensor:
    r"""The smooth Tchebycheff scalarization of log losses: :math:`T \mu \log \sum_t (L_t / n_t)^{1/\mu}`.

    T is the number of tasks whose loss is not 0; the sum goes over those.

    Args:
        losses: [T], at least 0; a negative one gives NaN.
        nadir: [T], the loss :math:`n_t` from which each task's progress counts, above 0 where the task is present.
        mu: the smoothing, above 0; towards 0 the worst task alone counts.

    Returns:
        A 0-d tensor, 0 if all losses are. It may be negative.

    Example:
        >>> stch(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), mu=1.0)
        tensor(0.4463)

    References:
        Lin et al., Smooth Tchebycheff Scalarization for Multi-Objective Optimization, ICML 2024.
    """
    present = losses != 0
    return torch.where(present.any(), mu * stch_logits(losses, nadir, mu).logsumexp(0) * present.sum(), 0)


def stch_logits(losses: Tensor, nadir: Tensor, mu: float) -> Tensor:
    """log(L / nadir) / mu, [T], whose softmax is the tasks' shares in `stch`; so low that it counts nothing where L is 0."""
    present = losses != 0
    logs = present_logs(losses) - torch.where(present, nadir, 1).log()
    return torch.where(present, logs / mu, -1e30)


def uw_so(losses: Tensor, temperature: float) -> Tensor:
    r"""The weights of soft optimal uncertainty weighting: :math:`w = T \, \mathrm{softmax}(1 / (\tau L))`.

    Args:
        losses: [T], above 0, or 0 where a task is absent.
        temperature: :math:`\tau`, above 0; small gives all weight to the task with the lowest loss.

    Returns:
        [T], without a graph: they sum to the number of tasks whose loss is not 0, and are 0 for the others.

    Example:
        >>> uw_so(torch.tensor([0.5, 1.0, 0.0]), temperature=1.0)
        tensor([1.4621, 0.5379, 0.0000])

    References:
        Kirchdorfer et al., Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning, GCPR 2024.
    """
    losses = _precise(losses.detach())
    present = losses != 0
    # 1/L overflows at a denormal loss, and two infinities would make the softmax NaN
    logits = (losses.reciprocal() / temperature).clamp_max(torch.finfo(losses.dtype).max)
    return torch.where(present, torch.where(present, logits, -1e30).softmax(0) * present.sum(), 0)


def achievement(kpi: Tensor, potential: Tensor | float, margin: float, gamma: float) -> Tensor:
    r"""The weights of achievement-based training: :math:`w = \mathrm{softmax}((1 - \kappa_t / (P_t (1 + m)))^\gamma)`.

    Args:
        kpi: [T], in [0, 1]; NaN where a task is not measured yet.
        potential: :math:`P_t`, the KPI that the task reaches when trained alone, above 0; [T] or a number.
        margin: :math:`m`, how far above its potential a task is still to be pushed, at least 0.
        gamma: the focusing parameter, at least 0. The base is kept at 0 or more, so that a KPI above the mark has the
            lowest weight whatever gamma is.

    Returns:
        [T], the weights, which sum to 1. A task that is not measured has 1/T, the others share the rest.

    Example:
        >>> achievement(torch.tensor([0.2, 0.8]), potential=1.0, margin=0.0, gamma=2.0)
        tensor([0.6457, 0.3543])

    References:
        Yun and Cho, Achievement-Based Training Progress Balancing for Multi-Task Learning, ICCV 2023.
    """
    measured = ~kpi.isnan()
    gap = (1 - kpi / (potential * (1 + margin))).clamp_min(0).pow(gamma)
    shares = torch.where(measured, gap, -1e30).softmax(0) * (measured.sum() / kpi.numel())
    return torch.where(measured, shares, 1 / kpi.numel())


def gradnorm_target(norms: Tensor, rates: Tensor, alpha: float) -> Tensor:
    r"""What GradNorm wants the gradient norms to be: :math:`\bar G \, (r_t / \bar r)^\alpha`, bars over means.

    Args:
        norms: [T], the norms :math:`G_t` of the weighted losses' gradients; NaN where a task is absent.
        rates: [T], :math:`r_t = L_t / L_t(0)`, which is high where a task learns slowly; NaN where it is absent.
        alpha: how strongly a slow task is favoured, at least 0.

    Returns:
        [T], NaN where a task is absent.

    Example:
        >>> gradnorm_target(torch.tensor([1.0, 3.0]), torch.tensor([0.9, 0.3]), alpha=1.0)
        tensor([3.0000, 1.0000])

    References:
        Chen et al., GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks, ICML 2018.
    """
    present = ~(norms.isnan() | rates.isnan())
    norms, rates = torch.where(present, norms, torch.nan), torch.where(present, rates, torch.nan)
    target: Tensor = norms.nanmean() * (rates / rates.nanmean()).pow(alpha)
    return target


def self_paced_weight(loss: Tensor, threshold: Tensor | float, kind: Literal["hard", "linear"] = "hard") -> Tensor:
    r"""Self-paced weights, of tasks or of examples: :math:`1[\ell < \lambda]`, or :math:`\max(0, 1 - \ell / \lambda)`.

    Args:
        loss: any shape, at least 0.
        threshold: :math:`\lambda`, above 0; it grows in training, until everything counts.
        kind: "hard" for all or nothing, "linear" for the second form.

    Returns:
        The shape of `loss`, in [0, 1], without a graph.

    Example:
        >>> self_paced_weight(torch.tensor([0.5, 1.5, 3.0]), threshold=2.0, kind="linear")
        tensor([0.7500, 0.2500, 0.0000])

    References:
        Kumar, Packer and Koller, Self-Paced Learning for Latent Variable Models, NeurIPS 2010 (hard); Jiang et al., Easy
        Samples First: Self-paced Reranking for Zero-Example Multimedia Search, ACM Multimedia 2014 (linear).
    """
    loss = loss.detach()
    if kind == "hard":
        return (loss < threshold).to(loss.dtype)
    if kind == "linear":
        return (1 - loss / threshold).clamp(0, 1)
    raise InputError(f"Expected `kind` to be 'hard' or 'linear'; got {kind!r}.")


def present_logs(losses: Tensor) -> Tensor:
    """Log L, elementwise, in float32 or better; 0, with a gradient of 0, where L is 0."""
    losses = _precise(losses)
    return torch.where(losses != 0, losses, 1).log()


def _precise(losses: Tensor) -> Tensor:
    """The losses in float32 or better."""
    return losses.to(torch.promote_types(losses.dtype, torch.float32))


def _check_same_shape(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise InputError(
            f"Expected output and target to have the same shape; got {list(output.shape)} and {list(target.shape)}."
        )
