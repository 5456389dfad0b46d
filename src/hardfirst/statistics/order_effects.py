"""What a task's place in an order does to it, over the orders and seeds of a study."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardfirst.errors import InputError
from hardfirst.statistics.intervals import Interval, mean_interval

Array = NDArray[np.float64]

_RESAMPLES = 9999


def position_effects(kpis: ArrayLike, places: ArrayLike) -> tuple[Interval, ...]:
    """What a task reaches in each place, less what it reaches on the average of the orders, with intervals over seeds.

    Args:
        kpis: [seeds, orders]: the task's, NaN where a run has no value.
        places: [orders]: where the task stands in each order, from 0.

    Returns:
        For each place the mean over seeds of (mean over the orders with the task there − mean over all orders), with its
        t-interval. The effects of all places sum to 0 where each place has as many orders.

    Raises:
        InputError: the shapes do not fit.

    >>> [f"{effect:+.1f}" for effect in position_effects([[1.0, 3.0], [2.0, 6.0]], [0, 1])]
    ['-1.5 [-7.9, +4.9]', '+1.5 [-4.9, +7.9]']
    """
    centred, where = _centred(kpis, places)
    return tuple(mean_interval(_mean(centred[:, where == place])) for place in range(where.max() + 1))


def position_test(kpis: ArrayLike, places: ArrayLike) -> float:
    """The p-value of a permutation test that the order of tasks does nothing to a task.

    If it does nothing, the runs of one seed could as well have belonged to each other's orders: p is the share of 9,999
    permutations within each seed, and of the outcome itself, that spread the means of the places at least as far, by the
    sum of their squares, each as often as it has orders. Permutations are drawn from a fixed seed.

    Args:
        kpis: [seeds, orders]: the task's, NaN where a run has no value.
        places: [orders]: where the task stands in each order, from 0.

    Returns:
        At least 1/10,000; NaN where no seed has two values.

    Raises:
        InputError: the shapes do not fit.

    >>> kpis = [[0.1, 0.2, 0.1, 0.9, 0.8, 0.9]] * 3
    >>> position_test(kpis, [0, 0, 0, 1, 1, 1]) < 0.01 < position_test(kpis, [0, 1, 0, 0, 1, 1])
    True
    """
    centred, where = _centred(kpis, places)
    known = ~np.isnan(centred)
    if not (known.sum(axis=1) > 1).any():
        return math.nan
    generator = np.random.default_rng(0)
    keys = np.where(known, generator.random((_RESAMPLES, *centred.shape)), np.inf).argsort(axis=-1)
    # the known values of a seed are dealt anew to the orders for which it has one
    slots = np.where(known, np.arange(centred.shape[1]), np.inf).argsort(axis=-1, kind="stable")
    drawn = np.full(keys.shape, np.nan)
    np.put_along_axis(drawn, np.broadcast_to(slots, keys.shape), np.take_along_axis(centred[None], keys, axis=-1), axis=-1)
    least = _spread(centred[None], where)[0] * (1 - 1e-9)
    return float((1 + (_spread(drawn, where) >= least).sum()) / (1 + _RESAMPLES))


def _centred(kpis: ArrayLike, places: ArrayLike) -> tuple[Array, NDArray[np.int64]]:
    found, where = np.asarray(kpis, dtype=float), np.asarray(places, dtype=np.int64)
    if found.ndim != 2 or where.shape != found.shape[1:] or not where.size:
        raise InputError(
            f"Expected `kpis` as [seeds, orders] and `places` as [orders]; got {found.shape} and {where.shape}."
        )
    return found - _mean(found)[:, None], where


def _mean(values: Array) -> Array:
    """Over the last axis, of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=-1)
    sums = np.where(known, values, 0).sum(axis=-1)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def _spread(centred: Array, where: NDArray[np.int64]) -> Array:
    """[samples, seeds, orders] → [samples]: Σ over places of their number of runs times their mean squared."""
    total = np.zeros(centred.shape[0])
    for place in range(where.max() + 1):
        runs = centred[:, :, where == place].reshape(len(centred), -1)
        count = (~np.isnan(runs)).sum(axis=1)
        total += np.nansum(runs, axis=1) ** 2 / np.maximum(count, 1)
    return total
