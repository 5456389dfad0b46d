"""Ranges in a recipe, "adamw:weight_decay=1e-5..1e-1" or "0.1..10", from which tuning draws."""

import math
from collections.abc import Iterable, Mapping
from functools import cache
from hashlib import sha256
from inspect import signature
from itertools import islice, repeat
from types import MappingProxyType
from typing import Any, NamedTuple

from scipy.stats import qmc

from hardfirst._spec import Value, format_value, has_range
from hardfirst.balancers import Range
from hardfirst.errors import InputError
from hardfirst.recipes import OptimizerSpec, Recipe, ScheduleSpec

_SPECS: Mapping[str, type[OptimizerSpec] | type[ScheduleSpec]] = MappingProxyType(
    {"optimizer": OptimizerSpec, "schedule": ScheduleSpec}
)
_NO_OPTION = ""  # of a part that is a number itself

Recipes = tuple[tuple[str, Any], ...]
"""Parts of a recipe with their values, as in `Trial.recipe`."""


class Span(NamedTuple):
    """The range of a number.

    Args:
        low: the lower end.
        high: the upper end, above it.
        whole: whether the number is a whole one.
    """

    low: float
    high: float
    whole: bool = False

    @classmethod
    def parse(cls, text: str, *, whole: bool = False) -> "Span":
        """Read "low..high".

        Raises:
            InputError: it is not two numbers in ascending order.

        >>> Span.parse("1e-4..0.1")
        Span(low=0.0001, high=0.1, whole=False)
        """
        try:
            low, high = map(float, text.split(".."))
        except ValueError:
            low, high = math.nan, math.nan
        if not -math.inf < low < high < math.inf:
            raise InputError(f"Expected a range as its lower and its upper end, such as 0.1..10; got {text}.")
        return cls(low, high, whole)

    def __str__(self) -> str:
        return "..".join(format_value(int(end) if end.is_integer() else end) for end in self[:2])

    def at(self, share: float) -> float:
        """The value at a share of the range, 0 for the lower end and 1 for the upper.

        The scale is logarithmic if both ends are above 0. Between 0.5 and 1 it is the distance to 1 that has this scale, as
        is usual for decays and momentum.

        >>> Span(1e-4, 1e-2).at(0.5), Span(0, 0.2).at(0.5), Span(0.9, 0.999).at(0.5), Span(1, 9, whole=True).at(0.5)
        (0.001, 0.1, 0.99, 3)
        """
        if self.low >= 0.5 and self.high < 1:
            value = float(f"{1 - Range(1 - self.high, 1 - self.low, log=True).at(1 - share):.12g}")
        else:
            value = Range(self.low, self.high, log=self.low > 0).at(share)
        value = min(max(value, self.low), self.high)  # it is rounded
        return round(value) if self.whole else value


def drawn(recipe: Mapping[str, Any], count: int) -> list[Recipes]:
    """Recipes to try, in the order of the candidates' learning rates.

    Numbers come from a Latin hypercube, so that each is tried at evenly spaced values. The draw depends on the ranges alone:
    all methods try the same recipes at the same learning rates.

    Args:
        recipe: parts of a recipe by name, those without a range included.
        count: of the candidates.

    Returns:
        For each candidate, the parts that have a range; nothing without ranges.

    >>> drawn({"clip": "0.1..10", "loaders": 2}, 3)
    [(('clip', 4.64),), (('clip', 0.215),), (('clip', 1.0),)]
    >>> drawn({"loaders": 2}, 2)
    [(), ()]
    """
    if not (parts := ranged(recipe)):
        return [()] * count
    dimensions = sum(len(_spans(name, part)) for name, part in parts.items())
    return [_at(parts, row) for row in hypercube(repr(parts), dimensions, count)]


@cache  # with two dimensions or more it takes seconds
def hypercube(text: str, dimensions: int, count: int) -> list[list[float]]:
    """Points of a Latin hypercube in [0, 1), [count, dimensions], in the order of the learning rates; the text draws it."""
    seed = int.from_bytes(sha256(text.encode()).digest()[:8], "big")
    shares = qmc.LatinHypercube(1 + dimensions, scramble=False, optimization="random-cd", rng=seed).random(count)
    rows: list[list[float]] = shares[shares[:, 0].argsort()][:, 1:].tolist()  # the first column is the learning rate's
    return rows


def ranged(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a recipe that have a range.

    >>> ranged({"clip": "0.1..10", "average": 0.9})
    {'clip': '0.1..10'}
    """
    return {name: recipe[name] for name in sorted(recipe) if has_range(recipe[name])}


def middle(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a recipe with the middle of each range.

    >>> middle({"optimizer": "sgd:momentum=0.9..0.999", "clip": 1.0})
    {'optimizer': 'sgd:momentum=0.99', 'clip': 1.0}
    """
    return dict(recipe) | dict(_at(ranged(recipe), repeat(0.5)))


def checked(name: str, part: str) -> str:
    """A part that has ranges, in its normal form.

    Raises:
        InputError: a range cannot be read, or a recipe does not take what it contains.

    >>> checked("optimizer", "adamw:weight_decay=1e-4..0.10")
    'adamw:weight_decay=0.0001..0.1'
    """
    spans = _spans(name, part)
    for share in (0.0, 0.5, 1.0):
        _at({name: part}, repeat(share))
    return str(_with(name, part, {option: str(span) for option, span in spans.items()}))


def _at(parts: Mapping[str, str], shares: Iterable[float]) -> Recipes:
    """The parts with each range at its share."""
    left, values = iter(shares), {}
    for name, part in parts.items():
        spans = _spans(name, part)
        numbers = {option: spans[option].at(share) for option, share in zip(spans, islice(left, len(spans)), strict=True)}
        values[name] = _with(name, part, numbers)
    recipe = Recipe().replace(values)  # in normal form
    return tuple((name, getattr(recipe, name)) for name in parts)


def _with(name: str, part: str, values: Mapping[str, Value]) -> Value:
    """The part with these values of its options."""
    return str(_SPECS[name].parse(part).replace(values)) if name in _SPECS else values[_NO_OPTION]


def _spans(name: str, part: str) -> dict[str, Span]:
    """The ranges in a part of a recipe, by option.

    Raises:
        InputError: it cannot have one, or one cannot be read.
    """
    if name not in _SPECS:
        return {_NO_OPTION: Span.parse(part)}
    spec = _SPECS[name].parse(part)
    types = {parameter.name: parameter.annotation for parameter in signature(spec.maker()).parameters.values()}
    texts = {option: str(value) for option, value in spec.options if has_range(value)}
    if not texts:
        raise InputError(f"The {spec.kind} {part!r} has dots that are no range of an option, OPTION=LOW..HIGH.")
    return {option: Span.parse(text, whole=types[option] in (int, "int")) for option, text in texts.items()}
