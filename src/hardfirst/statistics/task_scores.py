"""Scores over tasks: worst task, mean, Δm, Pareto front, starvation gap."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardfirst.errors import InputError
from hardfirst.statistics.intervals import Array, Interval, paired_interval
from hardfirst.statistics.rounding import levels


def worst_task(kpis: ArrayLike) -> Array:
    """The KPI of each seed's worst task: the minimum over tasks.

    Args:
        kpis: [seeds, tasks].

    Returns:
        [seeds]; NaN where any task's KPI is NaN, since that task may be the worst.
    """
    return np.asarray(np.min(np.asarray(kpis, dtype=float), axis=1))


def mean_task(kpis: ArrayLike) -> Array:
    """Each seed's mean KPI over tasks.

    Args:
        kpis: [seeds, tasks].

    Returns:
        [seeds]; NaN where any task's KPI is NaN.
    """
    return np.asarray(np.asarray(kpis, dtype=float).mean(axis=1))


def delta_m(values: ArrayLike, baselines: ArrayLike, lower_is_better: bool | Sequence[bool] = False) -> Array:
    """Δm = (100/T)·Σ_t (−1)^{l_t}·(M_t − B_t)/B_t: the mean relative gain over the baseline, in per cent.

    Positive is better: l_t is 1 for a metric where lower is better, and 0 otherwise.

    Args:
        values: M, [seeds, tasks].
        baselines: B, [tasks], or [seeds, tasks] for a gain that is paired by seed.
        lower_is_better: l, for all tasks or [tasks].

    Returns:
        [seeds]; NaN where a task's value or baseline is missing, or the baseline is not above 0, so that the relative
        gain is undefined.

    Raises:
        InputError: the shapes do not match.

    References:
        Maninis, Radosavovic & Kokkinos, "Attentive Single-Tasking of Multiple Tasks", CVPR 2019, Eq. (4).

    >>> delta_m([[0.9, 2.0]], [0.8, 2.5], lower_is_better=[False, True]).round(2).tolist()
    [16.25]
    """
    own, base = np.asarray(values, dtype=float), np.asarray(baselines, dtype=float)
    if own.ndim != 2 or base.shape not in (own.shape, own.shape[1:]):
        raise InputError(
            f"Expected `values` as [seeds, tasks], `baselines` as [tasks] or like them; got {own.shape} and {base.shape}."
        )
    base = np.where(base > 0, base, np.nan)
    return np.asarray((100 * _signs(lower_is_better, own.shape[1]) * (own - base) / base).mean(axis=1))


def pareto_front(points: ArrayLike) -> NDArray[np.bool_]:
    """The points that no other dominates: no point is at least as high in every coordinate and higher in one.

    Args:
        points: [n, tasks], higher is better. A point with a NaN is not on the front and dominates none.

    Returns:
        [n]; points that are equal up to rounding are on the front together.

    >>> pareto_front([[1, 3], [2, 2], [1, 2]]).tolist()
    [True, True, False]
    """
    array = np.asarray(points, dtype=float)
    if array.ndim != 2:
        raise InputError(f"Expected `points` as [n, tasks]; got {array.shape}.")
    heights = levels(array, axis=0)
    no_lower = (heights[:, None] >= heights[None]).all(axis=2)  # [i, j]: point i is in no coordinate below point j
    dominated = (no_lower & ~no_lower.T).any(axis=0)
    return np.asarray(~dominated & ~np.isnan(array).any(axis=1))


def starvation_gap(single: ArrayLike, equal: ArrayLike) -> tuple[Interval, ...]:
    """Each task's loss from sharing under equal weights: single-task KPI − equal-weights KPI, paired by seed.

    A task whose interval is above 0 is starved.

    Args:
        single: [seeds, tasks], KPIs of the single-task networks; NaN where a run has no value.
        equal: [seeds, tasks], KPIs under equal weights, in the same order.

    Returns:
        One interval for each task.

    Raises:
        InputError: the shapes do not match.
    """
    alone, shared = np.asarray(single, dtype=float), np.asarray(equal, dtype=float)
    if alone.ndim != 2 or alone.shape != shared.shape:
        raise InputError(f"Expected `single` and `equal` both as [seeds, tasks]; got {alone.shape} and {shared.shape}.")
    return tuple(paired_interval(*columns) for columns in zip(alone.T, shared.T, strict=True))


def gap_correlation(weights: ArrayLike, gap: ArrayLike) -> float:
    """Pearson's correlation, over tasks, of a method's mean weights with the starvation gap.

    Above 0, starved tasks get more weight.

    Args:
        weights: [tasks]; NaN where a task has none.
        gap: [tasks], in the same order.

    Returns:
        In [−1, 1]; NaN if the weights or the gaps do not differ, or with fewer than three tasks, since two points always
        lie on a line.

    Raises:
        InputError: the shapes do not match.
    """
    given, lost = np.asarray(weights, dtype=float), np.asarray(gap, dtype=float)
    if given.ndim != 1 or given.shape != lost.shape:
        raise InputError(f"Expected `weights` and `gap` both as [tasks]; got {given.shape} and {lost.shape}.")
    pairs = np.stack([given, lost])[:, ~np.isnan(given + lost)]
    if pairs.shape[1] < 3 or (np.ptp(pairs, axis=1) <= 1e-9 * np.abs(pairs).max(axis=1)).any():
        return math.nan
    return float(stats.pearsonr(*pairs).statistic)


def _signs(lower_is_better: bool | Sequence[bool], tasks: int) -> Array:
    """[tasks]: −1 where lower is better, otherwise 1."""
    lower = np.asarray(lower_is_better, dtype=bool)
    if lower.shape not in ((), (tasks,)):
        raise InputError(f"Expected `lower_is_better` for all {tasks} tasks, or one for each; got {lower.size}.")
    return np.broadcast_to(np.where(lower, -1.0, 1.0), (tasks,))
