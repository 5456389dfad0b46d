"""Tests of whether methods differ, over several problems."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardfirst.errors import InputError, number
from hardfirst.statistics.intervals import Array
from hardfirst.statistics.rounding import levels


class Friedman(NamedTuple):
    """The statistic of Friedman's test, its p-value, and the number of problems."""

    statistic: float
    p: float
    n: int


class CriticalDifference(NamedTuple):
    """The content of a critical-difference diagram.

    `mean_ranks`: [methods], 1 is best. `difference`: methods differ if their mean ranks are at least this far apart.
    `same`: [methods, methods], the pairs that do not differ. `n`: the number of problems.
    """

    mean_ranks: Array
    difference: float
    same: NDArray[np.bool_]
    n: int


def friedman(values: ArrayLike) -> Friedman:
    """Friedman's test of whether any of at least three methods differs, over problems.

    Args:
        values: [problems, methods], e.g. means over seeds of the worst-task KPI. Problems with a NaN
            are left out.

    Returns:
        The chi-squared approximation; NaN below two problems.

    Raises:
        InputError: there are fewer than three methods.

    References:
        Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006, section 3.2.2.

    >>> test = friedman([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [0.9, 0.6, 0.3]])
    >>> round(test.statistic, 3), round(test.p, 3), test.n
    (6.0, 0.05, 3)
    """
    complete = _complete_rows(values, least=3)
    if len(complete) < 2:
        return Friedman(math.nan, math.nan, len(complete))
    if (complete == complete[:, :1]).all():  # all methods tie on every problem, which is 0/0 in the formula
        return Friedman(0.0, 1.0, len(complete))
    statistic, p = stats.friedmanchisquare(*complete.T)
    return Friedman(float(statistic), float(p), len(complete))


def critical_difference(values: ArrayLike, alpha: float = 0.05) -> CriticalDifference:
    """Nemenyi's test of all pairs of methods over problems, for use after Friedman's test has rejected.

    CD = q_α·√(k(k+1)/(6N)) for k methods and N problems, with q_α the quantile of the studentized range over √2.

    Args:
        values: [problems, methods], higher is better; as in `friedman`.
        alpha: in (0, 1), the probability that any pair differs when all methods are equal.

    Returns:
        If no problem has all values, mean ranks and CD are NaN and no pair differs.

    Raises:
        InputError: there are fewer than two methods.

    References:
        Demšar, as in `friedman`.
    """
    number("alpha", alpha, above=0, below=1)
    complete = _complete_rows(values, least=2)
    problems, methods = complete.shape
    if not problems:
        return CriticalDifference(np.full(methods, np.nan), math.nan, np.ones((methods, methods), dtype=bool), 0)
    quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    difference = float(quantile * math.sqrt(methods * (methods + 1) / (6 * problems)))
    mean_ranks = stats.rankdata(-complete, axis=1).mean(axis=0)
    same = np.abs(mean_ranks[:, None] - mean_ranks) < difference
    return CriticalDifference(mean_ranks, difference, same, problems)


def _complete_rows(values: ArrayLike, *, least: int) -> Array:
    """The problems where every method has a value, each as levels, since the tests see ranks only."""
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] < least:
        raise InputError(f"Expected `values` as [problems, methods] of at least {least} methods; got {table.shape}.")
    return levels(table[~np.isnan(table).any(axis=1)], axis=1)
