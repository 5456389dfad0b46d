"""Equations of gradient-based methods, for the rows of a Jacobian or their inner products."""

import torch
from torch import Tensor


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


def nash(gramian: Tensor) -> Tensor:
    r"""Compute the Nash bargaining solution of the tasks: the weights α above 0 with :math:`G \alpha = 1 / \alpha`.

    They minimize the strictly convex :math:`\tfrac12 \alpha^\top G \alpha - \sum_t \log \alpha_t`. Newton's method finds
    them, with damped steps far from the minimum.

    Args:
        gramian: [T, T], the inner products of the tasks' gradients. The matrix of cosines gets a diagonal of 1 + 10⁻⁶, so
            that gradients that cancel have finite weights; a gradient of 0 counts as orthogonal to all others.

    Returns:
        [T], all above 0.

    Example:
        >>> nash(torch.tensor([[4.0, 0.0], [0.0, 0.25]], dtype=torch.float64))
        tensor([0.5000, 2.0000], dtype=torch.float64)

    References:
        Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022, Claim 3.1; the damping is that of
        Nesterov and Nemirovskii for self-concordant functions.
    """
    between, lengths = cosines(gramian)
    between = between.fill_diagonal_(1 + 1e-6)
    weights = torch.ones_like(lengths)
    for _ in range(200):
        gradient = between @ weights - 1 / weights
        step = torch.linalg.solve(between + weights.square().reciprocal().diag(), gradient)
        decrement = float((gradient @ step).clamp(min=0).sqrt())
        weights = weights - step / (1 + decrement if decrement > 0.25 else 1)
        if decrement < 1e-9:
            break
    return weights / lengths


def cosines(gramian: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the cosines [k, k] and the lengths [k] of rows with these inner products; 0 and 1 for a row of zeros."""
    lengths = gramian.diagonal().sqrt()
    lengths = torch.where(lengths > 0, lengths, 1)
    return gramian / lengths.outer(lengths), lengths


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
    positive, negative = rows.clamp(min=0).sum(0), rows.clamp(max=0).sum(0)
    # the probability is positive / (positive - negative), and entries that are all 0 give 0
    return torch.where(positive > draws * (positive - negative), positive, negative)
