"""Intervals and counts in sentences."""

import math
from collections.abc import Callable, Mapping, Sequence

from hardfirst.statistics import Difference, Interval, number_text


def negative(interval: Interval) -> Interval:
    """The interval of the opposite difference."""
    return Interval(-interval.mean, -interval.high, -interval.low, interval.n)


def points_text(interval: Interval, sign: str = "") -> str:
    """The mean in points with its interval and n; with `sign` "+" every number has its sign."""
    return f"{number_text(interval.mean, f'{sign}z.1f')} points{bounds_text(interval, sign)}, n = {interval.n}"


def bounds_text(interval: Interval, sign: str = "") -> str:
    """A space and the interval in brackets; empty for fewer than three seeds, which have none."""
    spec = f"{sign}z.1f"
    low, high = number_text(interval.low, spec), number_text(interval.high, spec)
    return f" [{low}, {high}]" if interval.bounded else ""


def p_text(p: float) -> str:
    """A p-value; a dash for NaN."""
    return "–" if math.isnan(p) else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def count_text(number: int, noun: str) -> str:
    """A number and its noun, in the plural unless the number is 1."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of a noun."""
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def listed(names: Sequence[str], most: int = 3) -> str:
    """The names in a sentence, each as code; of more than `most`, the first ones and how many others there are.

    >>> listed(["dtp", "famo"]), listed(["a", "b", "c", "d"])
    ('`dtp` and `famo`', '`a`, `b` and 2 others')
    """
    shown = [f"`{name}`" for name in (names if len(names) <= most else names[: most - 1])]
    shown += [] if len(names) <= most else [f"{len(names) - most + 1} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def by_decision(differences: Mapping[str, Difference], size: Callable[[Difference], str]) -> dict[str, list[str]]:
    """The names by what was decided; with its size in brackets where a difference was found."""
    names: dict[str, list[str]] = {}
    for name, difference in differences.items():
        found = difference.decision in ("better", "worse")
        names.setdefault(difference.decision, []).append(f"{name} ({size(difference)})" if found else name)
    return names


def capitalized(text: str) -> str:
    """The text with its first letter in upper case."""
    return f"{text[0].upper()}{text[1:]}"
