"""Effect of a task's position in an order on its KPI, over the orders and seeds of a study."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardfirst.errors import InputError
from hardfirst.statistics.intervals import Array, Interval, mean_interval
from hardfirst.statistics.rounding import differences

_RESAMPLES = 9999


def position_effects(kpis: ArrayLike, positions: ArrayLike) -> tuple[Interval, ...]:
    """Effect of each position on a task: its mean KPI there minus its mean over all orders, with intervals over seeds.

    Args:
        kpis: [seeds, orders]; NaN where a run has no value.
        positions: [orders]; the task's position in each order, from 0.

    Returns:
        For each position the mean over seeds of (mean over the orders with the task there − mean over all orders), with its
        t-interval. The effects sum to 0 if every position has the same number of orders.

    Raises:
        InputError: the shapes do not match.

    >>> [f"{effect:+.1f}" for effect in position_effects([[1, 3], [2, 6], [2, 5]], [0, 1])]
    ['−1.5 [−2.7, −0.3]', '+1.5 [+0.3, +2.7]']
    """
    centred, index = _centred(kpis, positions)
    return tuple(mean_interval(_mean(centred[:, index == position])) for position in range(index.max() + 1))


def position_test(kpis: ArrayLike, positions: ArrayLike) -> float:
    """p-value of a permutation test of the hypothesis that the order of tasks has no effect on a task.

    Under the hypothesis the runs of one seed are exchangeable between orders. The statistic is the sum over positions of
    the squared mean, weighted by the number of runs; p is the share of 9,999 permutations within each seed, and of the
    observed outcome, with a statistic at least as large. Permutations are drawn from a fixed seed.

    Args:
        kpis: [seeds, orders]; NaN where a run has no value.
        positions: [orders]; the task's position in each order, from 0.

    Returns:
        At least 1/10,000; NaN if no seed has two values.

    Raises:
        InputError: the shapes do not match.

    >>> kpis = [[0.1, 0.2, 0.1, 0.9, 0.8, 0.9]] * 3
    >>> position_test(kpis, [0, 0, 0, 1, 1, 1]) < 0.01 < position_test(kpis, [0, 1, 0, 0, 1, 1])
    True
    """
    centred, index = _centred(kpis, positions)
    measured = ~np.isnan(centred)
    if not (measured.sum(axis=1) > 1).any():
        return math.nan
    generator = np.random.default_rng(0)
    keys = np.where(measured, generator.random((_RESAMPLES, *centred.shape)), np.inf).argsort(axis=-1)
    # permute a seed's values among the orders for which it has one; NaN stays where it is
    slots = np.where(measured, np.arange(centred.shape[1]), np.inf).argsort(axis=-1, kind="stable")
    drawn = np.full(keys.shape, np.nan)
    np.put_along_axis(drawn, np.broadcast_to(slots, keys.shape), np.take_along_axis(centred[None], keys, axis=-1), axis=-1)
    observed = _spread(centred[None], index)[0] * (1 - 1e-9)  # sums that differ by rounding alone are ties
    return float((1 + (_spread(drawn, index) >= observed).sum()) / (1 + _RESAMPLES))


def _centred(kpis: ArrayLike, positions: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    values, index = np.asarray(kpis, dtype=float), np.asarray(positions, dtype=np.int64)
    if values.ndim != 2 or index.shape != values.shape[1:] or not index.size:
        raise InputError(
            f"Expected `kpis` as [seeds, orders] and `positions` as [orders]; got {values.shape} and {index.shape}."
        )
    return differences(values, np.broadcast_to(_mean(values)[:, None], values.shape)), index


def _mean(values: Array) -> Array:
    """The mean over the last axis, without NaN; NaN if no value is left."""
    measured = ~np.isnan(values)
    counts = measured.sum(axis=-1)
    sums = np.where(measured, values, 0).sum(axis=-1)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def _spread(centred: Array, index: NDArray[np.int64]) -> Array:
    """[samples, seeds, orders] → [samples]: Σ over positions of the number of runs times their squared mean."""
    total = np.zeros(centred.shape[0])
    for position in range(index.max() + 1):
        runs = centred[:, :, index == position].reshape(len(centred), -1)
        count = (~np.isnan(runs)).sum(axis=1)
        total += np.nansum(runs, axis=1) ** 2 / np.maximum(count, 1)
    return total
