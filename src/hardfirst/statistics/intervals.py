"""Means over seeds with their intervals.

The interval is Student's t. On differences of worst-task KPIs it has the stated coverage from three seeds on; bootstrap
intervals (BCa) do not, even with twenty seeds: `benchmarks/null_studies.py` measures both.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hardfirst.errors import InputError, number
from hardfirst.statistics.rounding import differences

Array = NDArray[np.float64]


FEWEST_FOR_BOUNDS = 3
"""The fewest seeds with an interval: that of two seeds is 13 times as wide as the seeds are apart."""


class Interval(NamedTuple):
    """A mean over `n` seeds and the bounds of its confidence interval; the bounds are NaN for fewer than three seeds.

    A format specification applies to each number:

    >>> f"{Interval(6.13, -3.9, 8.22, 5):.1f}"
    '6.1 [−3.9, 8.2]'
    >>> f"{Interval(6.13, math.nan, math.nan, 1):+.1f}"
    '+6.1'
    """

    mean: float
    low: float
    high: float
    n: int

    def __format__(self, spec: str) -> str:
        if not self.bounded:
            return number_text(self.mean, spec)
        return f"{number_text(self.mean, spec)} [{number_text(self.low, spec)}, {number_text(self.high, spec)}]"

    @property
    def bounded(self) -> bool:
        """Whether it has bounds."""
        return not math.isnan(self.low)

    def clipped(self, least: float, most: float) -> "Interval":
        """The interval with bounds that are possible, such as 0 and 100 for a KPI in points."""
        return self._replace(low=max(self.low, least), high=min(self.high, most)) if self.bounded else self


def number_text(value: float, spec: str) -> str:
    """A number with a true minus; a dash for NaN.

    >>> number_text(-3.94, "+.1f"), number_text(math.nan, ".1f")
    ('−3.9', '–')
    """
    return "–" if math.isnan(value) else format(value, spec).replace("-", "−")


def mean_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over seeds with its t-interval, mean ± t((1 + level)/2, n − 1)·s/√n.

    Args:
        values: [seeds]; NaN where a seed has no value.
        level: the coverage, in (0, 1): the probability that the interval contains the true mean.

    Returns:
        The interval over the seeds that have a value. With fewer than three the bounds are NaN; with none the mean is too.

    >>> f"{mean_interval([1.0, 2.0, 3.0, float('nan')]):.3f}"
    '2.000 [−0.484, 4.484]'
    """
    number("level", level, above=0, below=1)
    measured = np.asarray(values, dtype=float)
    measured = measured[~np.isnan(measured)]
    mean = float(measured.mean()) if measured.size else math.nan
    if measured.size < FEWEST_FOR_BOUNDS:
        return Interval(mean, math.nan, math.nan, measured.size)
    half = float(stats.t.ppf((1 + level) / 2, measured.size - 1) * stats.sem(measured))
    return Interval(mean, mean - half, mean + half, measured.size)


def paired_interval(values: ArrayLike, baseline: ArrayLike, level: float = 0.95) -> Interval:
    """Mean difference `values − baseline` over the seeds that have both, with its t-interval.

    Runs with the same seed share initial weights and the order of the data, so the difference seed by seed removes what
    these contribute to both. A difference at rounding is 0.

    Args:
        values: [seeds]; NaN where a seed has no value.
        baseline: [seeds], in the same order.
        level: as in `mean_interval`.

    Raises:
        InputError: the shapes do not match.
    """
    own, base = np.asarray(values, dtype=float), np.asarray(baseline, dtype=float)
    if own.ndim != 1 or own.shape != base.shape:
        raise InputError(f"Expected `values` and `baseline` both as [seeds]; got {own.shape} and {base.shape}.")
    return mean_interval(differences(own, base), level)
