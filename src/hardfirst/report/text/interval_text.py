"""Intervals in sentences."""

import numpy as np

from hardfirst.statistics import Interval


def negative(interval: Interval) -> Interval:
    """The interval of the difference taken the other way round."""
    return Interval(-interval.mean, -interval.high, -interval.low, interval.n)


def points_of(interval: Interval, sign: str = "") -> str:
    """The mean in points with its interval and n; `sign` "+" shows the sign of all."""
    return f"{interval.mean:{sign}z.1f} points{bounds(interval, sign)}, n = {interval.n}"


def bounds(interval: Interval, sign: str = "") -> str:
    """A space and the interval in brackets; nothing where one seed shows none."""
    spec = f"{sign}z.1f"
    return "" if np.isnan(interval.low) else f" [{interval.low:{spec}}, {interval.high:{spec}}]"
