"""The equations of the balancing methods, for a vector with one entry per task."""

from typing import Literal

import torch
from torch import Tensor

from hardfirst.errors import InputError


def focal_weight(kpi: Tensor, gamma: Tensor | float, *, floor: float = 1e-6) -> Tensor:
    r"""The weight of a task by its KPI: :math:`FL(\kappa; \gamma) = -(1 - \kappa)^\gamma \log \kappa`.

    Args:
        kpi: any shape, in [0, 1]; NaN stays NaN.
        gamma: the focusing parameter, at least 0, a number or a tensor that broadcasts with `kpi`.
        floor: the KPI is clamped to [floor, 1 − floor], where the weight and its logarithm are finite.

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
    r"""The weights of Dynamic Task Prioritization: `focal_weight` of each task, normalized, and mixed with equal weights.

    Args:
        kpi: [T], in [0, 1]; NaN where a task is not measured yet.
        gamma: the focusing parameter, at least 0, a number or [T].
        floor: as in `focal_weight`.
        normalize: scale the weights so that they sum to the number of measured tasks.
        uniform: the share u of equal weights after normalizing, w ← (1 − u)·w + u, in [0, 1].
        easy_first: use 1 − κ in place of κ, so that easy tasks weigh more: the paper's control.

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
    """The logarithm of `focal_weight`, which does not underflow at a large gamma.

    Example:
        >>> log_focal_weight(torch.tensor([0.5, 0.999]), gamma=8.0, floor=1e-3)
        tensor([ -5.9117, -62.1694])
    """
    kpi = kpi.clamp(floor, 1 - floor)
    logs: Tensor = torch.special.xlog1py(gamma, -kpi)
    return logs + kpi.log().neg_().log()


def moving_average(value: Tensor, new: Tensor, *, alpha: float) -> Tensor:
    r"""The exponential moving average :math:`\bar\kappa \leftarrow \alpha \kappa + (1 - \alpha) \bar\kappa`.

    Args:
        value: the average so far, any shape; NaN where there is no measurement yet.
        new: the same shape; NaN where there is no new value.
        alpha: the share of the new value, in (0, 1].

    Returns:
        The new average: `new` where there was no measurement, `value` where there is no new one.

    Example:
        >>> nan = float("nan")
        >>> moving_average(torch.tensor([0.5, nan, 0.5]), torch.tensor([1.0, 0.8, nan]), alpha=0.1)
        tensor([0.5500, 0.8000, 0.5000])
    """
    # fmin and fmax ignore NaN. Without NaN, the average is at least the smaller of the two values, and fmax selects it
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
        A 0-d tensor. Its minimum over s is where every :math:`e^{s_t} L_t` is 1.

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
        nadir: [T], the loss :math:`n_t` that each task's progress is relative to, above 0 where the task is present.
        mu: the smoothing, above 0; near 0 only the worst task counts.

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
    """log(L / nadir) / mu, whose softmax is the tasks' shares in `stch`; −1e30, for a share of 0, where L is 0.

    Args:
        losses: [T], as in `stch`.
        nadir: [T], as in `stch`.
        mu: as in `stch`.

    Returns:
        [T].

    Example:
        >>> stch_logits(torch.tensor([0.5, 2.0]), nadir=torch.tensor([1.0, 1.0]), mu=1.0).softmax(0)
        tensor([0.2000, 0.8000])
    """
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
        kpi: [T], in [0, 1]; NaN where there is no measurement yet.
        potential: :math:`P_t`, the KPI that the task reaches when trained alone, above 0; [T] or a number.
        margin: :math:`m`, how far above its potential a task is still pushed, at least 0.
        gamma: the focusing parameter, at least 0. The base is clamped to 0, so a KPI above the margin has the lowest weight
            whatever gamma is.

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
    r"""GradNorm's target for the gradient norms: :math:`\bar G \, (r_t / \bar r)^\alpha`, with bars for means.

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
        threshold: :math:`\lambda`, above 0; it grows in training until all weights are positive.
        kind: "hard" for weights of 0 or 1, "linear" for the second form.

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
    """The logarithm of losses of any shape, in float32 or better; 0, with a gradient of 0, where a loss is 0.

    Example:
        >>> present_logs(torch.tensor([1.0, 0.5, 0.0]))
        tensor([ 0.0000, -0.6931,  0.0000])
    """
    losses = _precise(losses)
    return torch.where(losses != 0, losses, 1).log()


def _precise(losses: Tensor) -> Tensor:
    """The losses in float32 or better."""
    return losses.to(torch.promote_types(losses.dtype, torch.float32))


def nash(gramian: Tensor) -> Tensor:
    r"""The Nash bargain of the tasks: the weights α above 0 with :math:`G \alpha = 1 / \alpha`.

    They minimise the strictly convex :math:`\tfrac12 \alpha^\top G \alpha - \sum_t \log \alpha_t`. Newton's method finds
    them, with damped steps far from the minimum.

    Args:
        gramian: [T, T], the inner products of the tasks' gradients. A diagonal of 1 + 10⁻⁶ in the matrix of cosines gives
            gradients that cancel finite weights; a gradient of 0 counts as orthogonal to all others.

    Returns:
        [T], all above 0.

    Example:
        >>> nash(torch.tensor([[4.0, 0.0], [0.0, 0.25]], dtype=torch.float64))
        tensor([0.5000, 2.0000], dtype=torch.float64)

    References:
        Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022, Claim 3.1; the damping is that of
        Nesterov and Nemirovskii for self-concordant functions.
    """
    lengths = gramian.diagonal().sqrt()
    lengths = torch.where(lengths > 0, lengths, 1)
    cosines = (gramian / lengths.outer(lengths)).fill_diagonal_(1 + 1e-6)
    weights = torch.ones_like(lengths)
    for _ in range(200):
        gradient = cosines @ weights - 1 / weights
        step = torch.linalg.solve(cosines + weights.square().reciprocal().diag(), gradient)
        decrement = float((gradient @ step).clamp(min=0).sqrt())
        weights = weights - step / (1 + decrement if decrement > 0.25 else 1)
        if decrement < 1e-9:
            break
    return weights / lengths


def graddrop(rows: Tensor, draws: Tensor) -> Tensor:
    r"""Gradient sign dropout: for each coordinate, keep only the positive entries, or only the negative ones.

    The positive ones are kept with the probability :math:`\tfrac12 (1 + \sum_t J_t / \sum_t |J_t|)`.

    Args:
        rows: [T, n], each task's gradient.
        draws: [n], uniform in [0, 1).

    Returns:
        [n], the sum of the entries that are kept.

    Example:
        >>> graddrop(torch.tensor([[1.0, 1.0], [3.0, -3.0]]), torch.tensor([0.5, 0.5]))
        tensor([ 4., -3.])

    References:
        Chen et al., Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout, NeurIPS 2020, Eq. (1).
    """
    purity = 0.5 * (1 + rows.sum(0) / rows.abs().sum(0))
    return torch.where(purity > draws, rows.clamp(min=0).sum(0), rows.clamp(max=0).sum(0))
