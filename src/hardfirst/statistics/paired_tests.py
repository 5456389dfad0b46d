"""Whether methods differ from a baseline, over the seeds of one problem."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardfirst.errors import InputError, number, whole
from hardfirst.statistics.intervals import Interval, mean_interval

Array = NDArray[np.float64]
Decision = Literal["better", "worse", "not told apart", "too few seeds"]

_EXACT_UP_TO = 16
_RESAMPLES = 99_999


def sign_flip(differences: ArrayLike) -> float:
    """The two-sided p-value of the sign-flip permutation test of paired differences.

    If two methods are alike, each difference could as well have had the other sign: p is the share of the 2ⁿ ways to set
    the signs that bring the mean at least as far from 0 as it is. Up to n = 16 all of them are tried, beyond that 99,999
    drawn from a fixed seed.

    Args:
        differences: [seeds]; NaN where a seed lacks one of its two runs.

    Returns:
        At least 2/2ⁿ, or 1/100,000 where signs are drawn; NaN without any difference.

    >>> sign_flip([1.0, 2.0, 3.0])  # 2 of the 8
    0.25
    """
    known = np.asarray(differences, dtype=float)
    known = np.sort(known[~np.isnan(known)])  # so that what is drawn does not depend on the order of the seeds
    if not known.size:
        return math.nan
    if known.size > _EXACT_UP_TO:
        return _sampled(known)
    signs = 1 - 2 * (np.arange(2**known.size)[:, None] >> np.arange(known.size) & 1)
    # sums that are equal but for rounding are ties
    least = abs(known.sum()) - 1e-9 * np.abs(known).sum()
    return float((np.abs(signs @ known) >= least).mean())


def _sampled(differences: Array) -> float:
    def distance(samples: Array, axis: int) -> Array:
        return np.asarray(np.abs(samples.mean(axis=axis)))

    found = stats.permutation_test(
        (differences,),
        distance,
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=10_000,
        rng=0,
    )
    return float(found.pvalue)


def fewest_seeds(methods: int, alpha: float = 0.05) -> int:
    """The fewest seeds with which one of so many methods can differ significantly: the least n with 2m/2ⁿ ≤ α.

    A sign-flip p-value is at least 2/2ⁿ, and Holm multiplies the smallest of m by m. With fewer seeds no data whatever
    reach α.

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
    """Holm's correction of m p-values; whoever rejects at corrected p ≤ α rejects any true hypothesis with at most α.

    Args:
        pvalues: [m]. NaN, for a test that could not be made, stays NaN and still counts among the m: what was planned is
            corrected for, not what happened to finish.

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
    # the smallest of m counts m times, the next m − 1 times, and none less than one before it
    corrected[order] = np.maximum.accumulate(planned[order] * np.arange(raw.size, 0, -1)).clip(max=1)
    return np.where(missing, np.nan, corrected)


class Difference(NamedTuple):
    """What sets a method apart from the baseline.

    `differences` is by seed, NaN where either is missing; `interval` is that of their mean, by itself (not widened for the
    number of methods). `p` and its Holm-corrected `holm_p` are NaN with too few seeds.
    """

    differences: Array
    interval: Interval
    p: float
    holm_p: float
    decision: Decision


def compare_to(baseline: ArrayLike, methods: Mapping[str, ArrayLike], alpha: float = 0.05) -> dict[str, Difference]:
    """Hold several methods against one baseline, paired by seed.

    The decision is that of the sign-flip test with Holm's correction over all the methods: where none of them differs from
    the baseline, one is called better or worse in at most α of all studies. A method whose interval holds 0 is not told
    apart, whatever its p.

    Args:
        baseline: [seeds], e.g. equal weights' worst-task KPI; higher is better. NaN where a run has no value.
        methods: by name [seeds], in the same order.
        alpha: in (0, 1); intervals are at level 1 − α.

    Returns:
        By name. The decision is "too few seeds" for a method that has fewer than `fewest_seeds(len(methods), alpha)`
        together with the baseline.

    Raises:
        InputError: a method's shape is not the baseline's.

    >>> found = compare_to([1, 2, 3, 4, 5, 6], {"dtp": [2, 4, 4, 6, 6, 8], "stch": [1, 2, 3, 4, 5]})
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected the 6 seeds of the baseline for each method; got (5,) for stch.
    >>> found = compare_to([1, 2, 3, 4, 5, 6], {"dtp": [2, 4, 4, 6, 6, 8]})
    >>> found["dtp"].decision, found["dtp"].p, f"{found['dtp'].interval:.2f}"
    ('better', 0.03125, '1.50 [0.93, 2.07]')
    """
    base = np.asarray(baseline, dtype=float)
    differences = {name: np.asarray(values, dtype=float) for name, values in methods.items()}
    for name, values in differences.items():
        if values.shape != base.shape:
            raise InputError(
                f"Expected the {base.size} seeds of the baseline for each method; got {values.shape} for {name}."
            )
        differences[name] = values - base
    if not differences:
        return {}
    intervals = {name: mean_interval(values, 1 - alpha) for name, values in differences.items()}
    fewest = fewest_seeds(len(methods), alpha)
    raw = {name: sign_flip(values) if intervals[name].n >= fewest else math.nan for name, values in differences.items()}
    corrected = dict(zip(raw, holm(list(raw.values())).tolist(), strict=True))
    return {
        name: Difference(
            values, intervals[name], raw[name], corrected[name], _decide(intervals[name], corrected[name], alpha)
        )
        for name, values in differences.items()
    }


def _decide(interval: Interval, holm_p: float, alpha: float) -> Decision:
    if math.isnan(holm_p):
        return "too few seeds"
    if holm_p > alpha or interval.low <= 0 <= interval.high:  # "beats [-0.1, 3.9]" would puzzle its reader
        return "not told apart"
    return "better" if interval.mean > 0 else "worse"
