"""Tests of whether methods differ from a baseline, over the seeds of one problem."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hardfirst.errors import InputError, number, whole
from hardfirst.statistics.intervals import Array, Interval, mean_interval
from hardfirst.statistics.rounding import differences

Decision = Literal["better", "worse", "not told apart", "too few seeds"]

_EXACT_UP_TO = 16
_RESAMPLES = 99_999


def sign_flip(differences: ArrayLike) -> float:
    """Two-sided p-value of the sign-flip permutation test of paired differences.

    If two methods are equal, each difference could have had the other sign: p is the share of the 2ⁿ assignments of signs
    for which the mean is at least as far from 0 as observed. Up to n = 16 all assignments are tried, beyond that 99,999
    random ones from a fixed seed.

    Args:
        differences: [seeds]; NaN where a seed lacks one of its two runs.

    Returns:
        At least 2/2ⁿ, or 1/100,000 with random signs; NaN if there is no difference.

    >>> sign_flip([1.0, 2.0, 3.0])  # 2 of the 8
    0.25
    """
    paired = np.asarray(differences, dtype=float)
    paired = np.sort(paired[~np.isnan(paired)])  # sorted, so that random signs do not depend on the order of the seeds
    if not paired.size:
        return math.nan
    if paired.size > _EXACT_UP_TO:
        return _sampled_sign_flip(paired)
    signs = 1 - 2 * (np.arange(2**paired.size)[:, None] >> np.arange(paired.size) & 1)
    # sums that differ by rounding alone are ties
    observed = abs(paired.sum()) - 1e-9 * np.abs(paired).sum()
    return float((np.abs(signs @ paired) >= observed).mean())


def _sampled_sign_flip(differences: Array) -> float:
    def distance(samples: Array, axis: int) -> Array:
        return np.asarray(np.abs(samples.mean(axis=axis)))

    result = stats.permutation_test(
        (differences,),
        distance,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=10_000,
        rng=0,
    )
    return float(result.pvalue)


def fewest_seeds(methods: int, alpha: float = 0.05) -> int:
    """The fewest seeds with which one of m methods can differ significantly: the smallest n with 2m/2ⁿ ≤ α.

    A sign-flip p-value is at least 2/2ⁿ, and Holm's correction multiplies the smallest of m by m. With fewer seeds no data
    can reach α.

    >>> [fewest_seeds(methods) for methods in (1, 3, 6)]
    [6, 7, 8]
    """
    whole("methods", methods, least=1)
    number("alpha", alpha, above=0, below=1)
    n = 1
    while 2 * methods / 2**n > alpha:
        n += 1
    return n


def holm(pvalues: ArrayLike) -> Array:
    """Holm's correction of m p-values: rejecting at corrected p ≤ α controls the family-wise error rate at α.

    Args:
        pvalues: [m]. NaN, for a test without data, stays NaN and still counts among the m: the correction is for all
            planned tests, not only for those that have data.

    Returns:
        [m], in the same order.

    Raises:
        InputError: one is not in [0, 1].

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics, 1979.
    """
    raw = np.asarray(pvalues, dtype=float)
    for value in raw[~np.isnan(raw)]:
        number("pvalues", float(value), least=0, most=1)
    missing = np.isnan(raw)
    planned = np.where(missing, 1.0, raw)
    order = planned.argsort()
    corrected = np.empty_like(raw)
    # multiply the smallest of m by m, the next by m − 1, …, and keep the result monotone
    corrected[order] = np.maximum.accumulate(planned[order] * np.arange(raw.size, 0, -1)).clip(max=1)
    return np.where(missing, np.nan, corrected)


class Difference(NamedTuple):
    """How a method differs from the baseline.

    `differences` is by seed, NaN where either run is missing; `interval` is that of their mean, not corrected for the number
    of methods. `p` and the Holm-corrected `holm_p` are NaN with too few seeds.
    """

    differences: Array
    interval: Interval
    p: float
    holm_p: float
    decision: Decision


def compare_to(baseline: ArrayLike, methods: Mapping[str, ArrayLike], alpha: float = 0.05) -> dict[str, Difference]:
    """Compare several methods with one baseline, paired by seed.

    The decision is by the sign-flip test with Holm's correction over all methods: if none differs from the baseline, any is
    called better or worse in at most a share α of all studies. A method whose interval contains 0 is not told apart,
    whatever its p. Differences at rounding, of less than one in 8 million of the values, are 0.

    Args:
        baseline: [seeds], e.g. equal weights' worst-task KPI; higher is better. NaN where a run has no value.
        methods: by name [seeds], in the same order.
        alpha: in (0, 1); intervals are at level 1 − α.

    Returns:
        By name. The decision is "too few seeds" for a method that shares fewer than `fewest_seeds(len(methods), alpha)`
        seeds with the baseline.

    Raises:
        InputError: a method's shape is not the baseline's.

    >>> compare_to([1, 2, 3, 4, 5, 6], {"dtp": [2, 4, 4, 6, 6, 8], "stch": [1, 2, 3, 4, 5]})
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected the 6 seeds of the baseline for each method; got (5,) for stch.
    >>> dtp = compare_to([1, 2, 3, 4, 5, 6], {"dtp": [2, 4, 4, 6, 6, 8]})["dtp"]
    >>> dtp.decision, dtp.p, f"{dtp.interval:.2f}"
    ('better', 0.03125, '1.50 [0.93, 2.07]')
    """
    base = np.asarray(baseline, dtype=float)
    paired = {name: np.asarray(values, dtype=float) for name, values in methods.items()}
    for name, values in paired.items():
        if values.shape != base.shape:
            raise InputError(
                f"Expected the {base.size} seeds of the baseline for each method; got {values.shape} for {name}."
            )
        paired[name] = differences(values, base)
    if not paired:
        return {}
    intervals = {name: mean_interval(values, 1 - alpha) for name, values in paired.items()}
    fewest = fewest_seeds(len(methods), alpha)
    raw = {name: sign_flip(values) if intervals[name].n >= fewest else math.nan for name, values in paired.items()}
    corrected = dict(zip(raw, holm(list(raw.values())).tolist(), strict=True))
    return {
        name: Difference(
            values, intervals[name], raw[name], corrected[name], _decide(intervals[name], corrected[name], alpha)
        )
        for name, values in paired.items()
    }


def _decide(interval: Interval, holm_p: float, alpha: float) -> Decision:
    if math.isnan(holm_p):
        return "too few seeds"
    if holm_p > alpha or interval.low <= 0 <= interval.high:  # a reader would not understand "beats [-0.1, 3.9]"
        return "not told apart"
    return "better" if interval.mean > 0 else "worse"
