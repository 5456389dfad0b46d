"""The settings that a study tries for a method, all with one seed that no reported run has."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.studies.ranges import Recipes, drawn, hypercube

SEED = 1_000_000
"""The seed of all tuning runs; reported runs have the seeds 0, 1, 2, …"""

EQUAL = Spec("equal")
STL = "stl"
"""What a spec gives as `potential` for "the KPI that the single-task network reaches"."""

_SPAN = 10.0


class Candidate(NamedTuple):
    """A method's settings."""

    spec: Spec
    learning_rate: float
    recipe: Recipes = ()
    """The parts of the recipe that have ranges, with a value for each."""


def candidates(
    spec: Spec,
    tasks: Sequence[str],
    learning_rate: float,
    count: int,
    span: tuple[float, float] | None = None,
    recipe: Mapping[str, Any] = MappingProxyType({}),
) -> list[Candidate]:
    """Settings to choose from, in ascending order of the learning rate.

    Learning rates are evenly spaced on a log scale. Options that the method declares and the spec leaves open come from a
    Latin hypercube, so that each option is tried at evenly spaced values as well. Which value goes with which learning rate
    depends on the spec alone. The middle candidate has the method's defaults. Ranges in the recipe are drawn from likewise,
    for all methods the same.

    Args:
        spec: the method. Options that it gives are kept.
        tasks: the problem's.
        learning_rate: the middle of the grid.
        count: the number of candidates; 0 for one, with the given learning rate and spec.
        span: the least and the greatest learning rate. Default: a tenth and ten times the middle one.
        recipe: what the study changes in the recipe, by name; see `hardfirst.studies.ranges`.

    >>> [candidate.learning_rate for candidate in candidates(Spec("equal"), ["a", "b"], 1e-3, 5)]
    [0.0001, 0.000316, 0.001, 0.00316, 0.01]
    >>> [str(spec) for spec, *_ in candidates(Spec.parse("dwa"), ["a", "b"], 1e-3, 3)]
    ['dwa:temperature=1.0', 'dwa', 'dwa:temperature=2.92']
    """
    if not count:
        return [Candidate(spec, learning_rate)]
    low, high = span or (learning_rate / _SPAN, learning_rate * _SPAN)
    rates = [float(f"{rate:.3g}") for rate in np.geomspace(low, high, count)]
    specs = _drawn(spec, tasks, count)
    specs[count // 2] = spec.untuned
    return [Candidate(*settings) for settings in zip(specs, rates, drawn(recipe, count), strict=True)]


def beyond(tried: Sequence[Candidate], best: Candidate) -> Candidate | None:
    """The best candidate with the next learning rate of the grid, if its own is the lowest or highest one; None otherwise.

    Args:
        tried: at least three.
        best: one of them.

    >>> tried = candidates(Spec("equal"), ["a", "b"], 1e-3, 3)
    >>> [rate and rate.learning_rate for rate in (beyond(tried, best) for best in tried)]
    [1e-05, None, 0.1]
    """
    rates = sorted(candidate.learning_rate for candidate in tried)
    # From the second rate, by the ratio of two steps: that of one is rounded, and 0.00316 would lead to 0.00999.
    if best.learning_rate == rates[-1]:
        rate = rates[-2] * rates[-1] / rates[-3]
    elif best.learning_rate == rates[0]:
        rate = rates[1] * rates[0] / rates[2]
    else:
        return None
    return best._replace(learning_rate=float(f"{rate:.3g}"))


def _drawn(spec: Spec, tasks: Sequence[str], count: int) -> list[Spec]:
    """The spec with its free options at the points of a Latin hypercube."""
    free = {
        option: span for option, span in spec.free.items() if _accepts(spec.untuned.replace({option: span.at(1)}), tasks)
    }
    if not free:
        return [spec] * count
    return [
        spec.replace({option: span.at(share) for (option, span), share in zip(free.items(), row, strict=True)})
        for row in hypercube(str(spec), len(free), count)
    ]


def _accepts(spec: Spec, tasks: Sequence[str]) -> bool:
    """Whether the method takes these options together; `uniform` and `normalize=false` for instance exclude each other."""
    if spec.option("potential") is not None:
        spec = spec.replace({"potential": None})
    try:
        spec.build(tasks)
    except InputError:
        return False
    return True


def simplex_grid(tasks: Sequence[str]) -> list[Spec]:
    """Static weights to choose from, equal weights first; the weights of each point add up to the number of tasks.

    Of two tasks, the first gets 1/6, 2/6, … 5/6 of the weight. Of three or four, each proper subset of the tasks gets half
    of the weight in addition to its equal share of the other half; of more, each single task. This is the simplex-centroid
    design, moved halfway to its centre so that no task has weight 0.

    References:
        Scheffé, "The Simplex-Centroid Design for Experiments with Mixtures", JRSS B 25, 1963.

    >>> [str(spec) for spec in simplex_grid(["a", "b"])][:2]
    ['equal', 'fixed:normalize=true,weights.a=0.3333,weights.b=1.667']
    >>> [len(simplex_grid("abcdefghi"[:count])) for count in (1, 2, 3, 4, 5, 9)]
    [1, 5, 7, 15, 6, 10]
    """
    count = len(tasks)
    if count == 2:
        lifted: list[tuple[float, ...]] = [(share, 1 - share) for share in (1 / 6, 2 / 6, 4 / 6, 5 / 6)]
    else:
        sizes = range(1, count) if count <= 4 else range(1, 2)
        subsets = [set(subset) for size in sizes for subset in combinations(range(count), size)]
        lifted = [tuple(0.5 / count + (0.5 / len(s) if task in s else 0) for task in range(count)) for s in subsets]
    return [Spec("equal"), *(fixed(dict(zip(tasks, point, strict=True))) for point in lifted)]


def fixed(weights: dict[str, float]) -> Spec:
    """Static weights in the given proportions, scaled to add up to the number of tasks, with four significant digits.

    >>> str(fixed({"a": 1, "b": 3}))
    'fixed:normalize=true,weights.a=0.5,weights.b=1.5'
    """
    scale = len(weights) / sum(weights.values())
    digits = {f"weights.{task}": float(f"{scale * weight:.4g}") for task, weight in weights.items()}
    return Spec("fixed").replace({**digits, "normalize": True})
