"""Whether methods differ over several problems."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardfirst.errors import InputError, number

Array = NDArray[np.float64]


class Friedman(NamedTuple):
    """The statistic of Friedman's test, its p-value, and the number of problems behind it."""

    statistic: float
    p: float
    n: int


class CriticalDifference(NamedTuple):
    """What a critical-difference diagram shows.

    `mean_ranks`: [methods], 1 is best. `difference`: mean ranks at least so far apart differ. `same`: [methods, methods],
    the pairs that are not told apart. `n`: the number of problems.
    """

    mean_ranks: Array
    difference: float
    same: NDArray[np.bool_]
    n: int


def friedman(values: ArrayLike) -> Friedman:
    """Friedman's test of whether any of at least three methods differs, over problems.

    Args:
        values: [problems, methods], e.g. means over seeds of the worst-task KPI. A problem where a method has no value
            (NaN) is left out.

    Returns:
        The chi-squared approximation; NaN below two problems.

    Raises:
        InputError: there are fewer than three methods.

    References:
        Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006, section 3.2.2.

    >>> found = friedman([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4], [0.9, 0.6, 0.3]])
    >>> round(found.statistic, 3), round(found.p, 3), found.n
    (6.0, 0.05, 3)
    """
    found = _complete(values, least=3)
    if len(found) < 2:
        return Friedman(math.nan, math.nan, len(found))
    if (found == found[:, :1]).all():  # 0/0 in the formula: no problem ranks the methods
        return Friedman(0.0, 1.0, len(found))
    statistic, p = stats.friedmanchisquare(*found.T)
    return Friedman(float(statistic), float(p), len(found))


def critical_difference(values: ArrayLike, alpha: float = 0.05) -> CriticalDifference:
    """Nemenyi's test of all pairs of methods over problems, to be read after Friedman's has found any difference at all.

    CD = q_α·√(k(k+1)/(6N)) for k methods and N problems, with q_α the quantile of the studentized range over √2.

    Args:
        values: [problems, methods], higher is better; as in `friedman`.
        alpha: in (0, 1), the probability of telling any pair apart where all methods are alike.

    Returns:
        Mean ranks and CD are NaN, and all pairs the same, without a problem that has all values.

    Raises:
        InputError: there are fewer than two methods.

    References:
        Demšar, as in `friedman`.
    """
    number("alpha", alpha, above=0, below=1)
    found = _complete(values, least=2)
    problems, methods = found.shape
    if not problems:
        return CriticalDifference(np.full(methods, np.nan), math.nan, np.ones((methods, methods), dtype=bool), 0)
    from scikit_posthocs import posthoc_nemenyi_friedman

    quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return CriticalDifference(
        mean_ranks=stats.rankdata(-found, axis=1).mean(axis=0),
        difference=float(quantile * math.sqrt(methods * (methods + 1) / (6 * problems))),
        same=posthoc_nemenyi_friedman(found).to_numpy() > alpha,
        n=problems,
    )


def _complete(values: ArrayLike, *, least: int) -> Array:
    """The problems where every method has a value."""
    found = np.asarray(values, dtype=float)
    if found.ndim != 2 or found.shape[1] < least:
        raise InputError(f"Expected `values` as [problems, methods] of at least {least} methods; got {found.shape}.")
    return np.asarray(found[~np.isnan(found).any(axis=1)])
