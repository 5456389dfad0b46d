"""Means over seeds with their intervals.

The interval is Student's t. On differences of worst-task KPIs it holds its level from three seeds on, where bootstrap
intervals (BCa) do not, and have not caught up at twenty: `benchmarks/null_studies.py` measures both.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from hardfirst.errors import InputError, number


class Interval(NamedTuple):
    """A mean over `n` seeds, and the bounds of its confidence interval; NaN bounds where one seed shows no spread.

    A format specification applies to each number:

    >>> f"{Interval(6.13, 3.9, 8.22, 5):.1f}"
    '6.1 [3.9, 8.2]'
    >>> f"{Interval(6.13, math.nan, math.nan, 1):+.1f}"
    '+6.1'
    """

    mean: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        if math.isnan(self.mean):
            return "–"
        if math.isnan(self.low):
            return format(self.mean, spec)
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """The mean over seeds with its t-interval, mean ± t((1 + level)/2, n − 1)·s/√n.

    Args:
        values: [seeds]; NaN where a seed has no value.
        level: the probability, in (0, 1), with which the interval is to hold the true mean.

    Returns:
        The interval over the seeds that have a value. Below two its bounds are NaN; with none, so is the mean.

    >>> f"{mean_interval([1.0, 2.0, 3.0, float('nan')]):.3f}"
    '2.000 [-0.484, 4.484]'
    """
    number("level", level, above=0, below=1)
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    mean = float(known.mean()) if known.size else math.nan
    if known.size < 2:
        return Interval(mean, math.nan, math.nan, known.size)
    half = float(stats.t.ppf((1 + level) / 2, known.size - 1) * stats.sem(known))
    return Interval(mean, mean - half, mean + half, known.size)


def paired_interval(values: ArrayLike, baseline: ArrayLike, level: float = 0.95) -> Interval:
    """The mean difference `values − baseline` over the seeds that have both, with its t-interval.

    Runs that share a seed share initial weights and the order of the data; taking the difference seed by seed removes
    what these do to both.

    Args:
        values: [seeds]; NaN where a seed has no value.
        baseline: [seeds], in the same order.
        level: as in `mean_interval`.

    Raises:
        InputError: the shapes do not fit.
    """
    found, base = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    if found.ndim != 1 or found.shape != base.shape:
        raise InputError(f"Expected `values` and `baseline` both as [seeds]; got {found.shape} and {base.shape}.")
    return mean_interval(found - base, level)
