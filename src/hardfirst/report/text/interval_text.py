"""Intervals and counts in sentences."""

import math

from hardfirst.statistics import Interval


def negative(interval: Interval) -> Interval:
    """The interval of the opposite difference."""
    return Interval(-interval.mean, -interval.high, -interval.low, interval.n)


def points_text(interval: Interval, sign: str = "") -> str:
    """The mean in points with its interval and n; with `sign` "+" every number has its sign."""
    return f"{interval.mean:{sign}z.1f} points{bounds_text(interval, sign)}, n = {interval.n}"


def bounds_text(interval: Interval, sign: str = "") -> str:
    """A space and the interval in brackets; empty for a single seed, which has none."""
    spec = f"{sign}z.1f"
    return "" if math.isnan(interval.low) else f" [{interval.low:{spec}}, {interval.high:{spec}}]"


def p_text(p: float) -> str:
    """A p-value; a dash for NaN."""
    return "–" if math.isnan(p) else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def count_text(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def capitalized(text: str) -> str:
    """The text with its first letter in upper case."""
    return f"{text[0].upper()}{text[1:]}"
