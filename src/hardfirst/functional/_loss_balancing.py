"""Equations of loss-based methods, for a vector with one entry per task."""

from typing import Literal

import torch
from torch import Tensor

from hardfirst.errors import InputError


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
    return imtl_l(losses, -s) * 0.5


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
    return (losses * s.exp() - s.masked_fill(losses == 0, 0)).sum()


def geometric(losses: Tensor) -> Tensor:
    r"""Compute the geometric mean of the losses: :math:`\prod_t L_t^{1/T}` over the T tasks whose loss is not 0.

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
    count = losses.count_nonzero()
    return (present_logs(losses).sum() / count.clamp_min(1)).exp() * count.clamp_max(1)


def stch(losses: Tensor, nadir: Tensor, mu: float) -> Tensor:
    r"""Compute the smooth Tchebycheff scalarization of log losses: :math:`T \mu \log \sum_t (L_t / n_t)^{1/\mu}`.

    T is the number of tasks whose loss is not 0; the sum goes over those.

    Args:
        losses: [T], at least 0; a negative one gives NaN.
        nadir: [T], the reference loss :math:`n_t` of each task's progress, above 0 where the task is present, without a
            graph. NaN for a task that has none yet: its current loss is used.
        mu: the smoothing, above 0; near 0 only the worst task counts.

    Returns:
        A 0-d tensor, 0 if all losses are. It may be negative.

    Example:
        >>> stch(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), mu=1.0)
        tensor(0.4463)

    References:
        Lin et al., Smooth Tchebycheff Scalarization for Multi-Objective Optimization, ICML 2024.
    """
    return stch_logits(losses, nadir, mu).logsumexp(0) * mu * losses.count_nonzero()


def stch_logits(losses: Tensor, nadir: Tensor, mu: float) -> Tensor:
    """Compute log(L / nadir) / mu, whose softmax is the tasks' shares in `stch`; −1e30, for a share of 0, where L is 0.

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
    absent = losses == 0
    return logits_of_logs(precise(losses).masked_fill(absent, 1).log(), absent, nadir, mu)


def logits_of_logs(logs: Tensor, absent: Tensor, nadir: Tensor, mu: float) -> Tensor:
    """Compute `stch_logits` from the losses' logarithms [T], which are ignored where the mask `absent` [T] is true."""
    progress = logs - torch.where(nadir.isnan(), logs.detach(), nadir.log())
    return (progress / mu).masked_fill(absent, -1e30)


def uw_so(losses: Tensor, temperature: float) -> Tensor:
    r"""Compute the weights of soft optimal uncertainty weighting: :math:`w = T \, \mathrm{softmax}(1 / (\tau L))`.

    Args:
        losses: [T], above 0, or 0 where a task is absent.
        temperature: :math:`\tau`, above 0; a small value gives all weight to the task with the lowest loss.

    Returns:
        [T], without a graph: they sum to the number of tasks whose loss is not 0, and are 0 for the others.

    Example:
        >>> uw_so(torch.tensor([0.5, 1.0, 0.0]), temperature=1.0)
        tensor([1.4621, 0.5379, 0.0000])

    References:
        Kirchdorfer et al., Analytical Uncertainty-Based Loss Weighting in Multi-Task Learning, GCPR 2024.
    """
    losses = precise(losses.detach())
    # 1/L overflows for a denormal loss, and two infinities would make the softmax NaN
    logits = (losses.reciprocal() / temperature).clamp_max(torch.finfo(losses.dtype).max)
    return logits.masked_fill(losses == 0, -1e30).softmax(0) * losses.count_nonzero()


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
    """Compute the logarithm of losses of any shape, in float32 or better; 0, with a gradient of 0, where a loss is 0.

    Example:
        >>> present_logs(torch.tensor([1.0, 0.5, 0.0]))
        tensor([ 0.0000, -0.6931,  0.0000])
    """
    losses = precise(losses)
    return losses.masked_fill(losses == 0, 1).log()


def precise(losses: Tensor) -> Tensor:
    """Convert the losses to float32 or better."""
    return losses if losses.dtype in (torch.float32, torch.float64) else losses.float()
