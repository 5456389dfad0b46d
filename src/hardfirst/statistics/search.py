"""How a search for settings decides: who stays after a rung, who wins, what mere choice gains, and whether to recommend.

A search runs candidates on search seeds and compares them with equal weights on validation data, paired by seed. It measures
an objective and the measures that must not lose more than is allowed. Candidates are halved by rungs; the winner then has
its verdict from seeds that the search has not seen. All figures are [measures, seeds] in points, the objective first.
`benchmarks/null_searches.py` simulates searches with these functions.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hardfirst.errors import InputError, whole
from hardfirst.statistics.intervals import Array, Interval, mean_interval
from hardfirst.statistics.paired_tests import Difference, compare_to
from hardfirst.statistics.rounding import differences

SEEDS = (1, 3, 6)
"""The seeds with which a candidate has been run after each rung."""

SHARE = 0.4
"""The share of the candidates that goes from one rung to the next; at least two do."""

MARGIN = 1.0
"""The standard errors that a lower bound lies below the mean."""

CREDIBLE = 2.0
"""The standard errors by which a kept measure must miss what it may lose for the candidate to drop out before the end."""

FRESH = 7
"""The fewest fresh seeds for a verdict."""

_PRIOR = 4.0  # the weight of the pooled variance against a candidate's own, in degrees of freedom

State = Literal["in", "loses", "diverged"]
Reason = Literal["better", "not better", "loses", "diverged", "too few seeds"]


class Rung(NamedTuple):
    """A rung of a search: so many candidates have each been run with so many search seeds at its end."""

    candidates: int
    seeds: int


def rungs(candidates: int) -> tuple[Rung, ...]:
    """The rungs of a search, the first with all candidates; equal weights do not count among them.

    All runs have full length, since annealing and the phases of a method depend on the length of training. All candidates
    of a rung have the same seeds.

    Args:
        candidates: at least 1.

    >>> rungs(12)
    (Rung(candidates=12, seeds=1), Rung(candidates=5, seeds=3), Rung(candidates=2, seeds=6))
    >>> runs(rungs(12))
    34
    """
    whole("candidates", candidates, least=1)
    plan = [Rung(candidates, SEEDS[0])]
    for seeds in SEEDS[1:]:
        plan.append(Rung(min(plan[-1].candidates, max(2, math.ceil(SHARE * plan[-1].candidates))), seeds))
    return tuple(plan)


def runs(plan: Sequence[Rung]) -> int:
    """The runs that a search takes, those of equal weights with all search seeds included, fresh seeds not."""
    total, before = max(rung.seeds for rung in plan), 0
    for rung in plan:
        total += rung.candidates * (rung.seeds - before)
        before = rung.seeds
    return total


class Gain(NamedTuple):
    """A mean gain over equal weights and its standard error, in points; the error is NaN if no noise has been measured."""

    mean: float
    error: float

    @property
    def low(self) -> float:
        """The lower bound by which candidates are ranked and kept measures are checked."""
        return self.mean - MARGIN * (0.0 if math.isnan(self.error) else self.error)


class Standing(NamedTuple):
    """How a candidate stands.

    `state` is "in", "loses" if a kept measure is credibly below what it may lose, or "diverged" if a run has no KPI where
    equal weights have one. `holds` is whether the lower bound of each kept measure is within what it may lose.
    """

    objective: Gain
    kept: tuple[Gain, ...]
    seeds: int
    state: State
    holds: bool


def standings(candidates: Mapping[str, ArrayLike], equal: ArrayLike, allowed: Sequence[float]) -> dict[str, Standing]:
    """How all candidates stand against equal weights.

    Standard errors: with few seeds a candidate's own spread says little, so its variance is averaged with that of all
    candidates, pooled, which counts as four degrees of freedom. As long as no candidate has two seeds, the noise is that
    of a difference of two runs of equal weights with different seeds.

    Args:
        candidates: by name [measures, seeds], the objective first; the first seeds of the search, in the same order for
            all, possibly fewer for some. NaN where a run diverged.
        equal: [measures, seeds] of equal weights, with at least as many seeds. Seeds with a NaN are left out for all.
        allowed: for each kept measure, the points that it may lose.

    Raises:
        InputError: the shapes do not match.

    >>> equal = [[50, 52, 51], [80, 80, 81]]
    >>> found = standings({"dtp": [[60, 61, 61], [76, 75, 77]], "fixed": [[54, 55], [80, 81]]}, equal, [0.5])
    >>> {name: (standing.objective.mean, standing.state) for name, standing in found.items()}
    {'dtp': (9.666666666666666, 'loses'), 'fixed': (3.5, 'in')}
    """
    base = _figures("equal weights", equal, 1 + len(allowed))
    measured = np.asarray(~np.isnan(base).any(axis=0))
    gains = {}
    for name, values in candidates.items():
        own = _figures(name, values, 1 + len(allowed))
        n = own.shape[1]
        if n > base.shape[1]:
            raise InputError(f"Expected a run of equal weights for each of the {n} seeds of {name}; got {base.shape[1]}.")
        gains[name] = differences(own, base[:, :n])[:, measured[:n]]
    pooled = _pooled([each for each in gains.values() if not np.isnan(each).any()], base[:, measured])
    return {name: _standing(each, pooled, np.asarray(allowed, dtype=float)) for name, each in gains.items()}


def survivors(standing: Mapping[str, Standing], count: int) -> tuple[str, ...]:
    """The candidates of the next rung, best first: those with the highest lower bound of the objective.

    Only candidates with the most seeds so far are considered, those of the last rung. Candidates that diverged or credibly
    lose what must be kept drop out, so there may be fewer than `count`. Equal weights are not among the candidates and
    always stay.

    >>> def gained(points): return Standing(Gain(points, 1.0), (), 2, "in", True)
    >>> survivors({"a": gained(1.0), "b": gained(3.0), "c": gained(2.0)}, 2)
    ('b', 'c')
    """
    most = _most(standing)
    ranked = [name for name, each in standing.items() if each.seeds == most and each.state == "in"]
    return tuple(sorted(ranked, key=lambda name: -standing[name].objective.low)[:count])


def winner(standing: Mapping[str, Standing]) -> str | None:
    """The candidate to run on fresh seeds; None for equal weights.

    It has the highest lower bound of the objective among the candidates of the last rung whose kept measures hold by their
    lower bounds, and that bound is above 0.
    """
    holding = {name: each for name, each in standing.items() if each.holds and each.objective.low > 0}
    best = survivors({name: each for name, each in holding.items() if each.seeds == _most(standing)}, 1)
    return best[0] if best else None


def _most(standing: Mapping[str, Standing]) -> int:
    return max((each.seeds for each in standing.values()), default=0)


class Verdict(NamedTuple):
    """What fresh seeds say: whether the winner is recommended, why, and its differences to equal weights in points."""

    recommended: bool
    reason: Reason
    objective: Difference
    kept: tuple[Interval, ...]


def verdict(values: ArrayLike, equal: ArrayLike, allowed: Sequence[float]) -> Verdict:
    """Whether the winner is recommended over equal weights, from test figures of fresh seeds.

    It is, if the objective's 95% t-interval of the paired difference lies above 0 and its sign-flip test says the same, and
    the mean difference of each kept measure is not below what it may lose.

    Args:
        values: [measures, seeds] of the winner, the objective first.
        equal: [measures, seeds] of equal weights, in the same order.
        allowed: for each kept measure, the points that it may lose.

    Returns:
        The reason is "too few seeds" with fewer than seven, and "diverged" if a run of the winner has no figure where
        equal weights have one.
    """
    base = _figures("equal weights", equal, 1 + len(allowed))
    own = _figures("the winner", values, 1 + len(allowed))
    objective = compare_to(base[0], {"winner": own[0]})["winner"]
    kept = tuple(mean_interval(each) for each in differences(own, base)[1:])
    reason: Reason = "better"
    if (np.isnan(own) & ~np.isnan(base)).any():
        reason = "diverged"
    elif objective.interval.n < FRESH:
        reason = "too few seeds"
    elif any(interval.mean < -points for interval, points in zip(kept, allowed, strict=True)):
        reason = "loses"
    elif objective.decision != "better":
        reason = "not better"
    return Verdict(reason == "better", reason, objective, kept)


def chance_gain(
    candidates: Mapping[str, ArrayLike], equal: ArrayLike, allowed: Sequence[float], plan: Sequence[Rung], repeats: int = 300
) -> float:
    """The gain in the objective that mere choice among so many candidates shows on the search seeds, in points.

    It is the mean gain of the winner, 0 where that is equal weights, over simulated searches with the same rungs in which
    every candidate is a copy of equal weights: a run of its own with the noise of this search, so that gains over the same
    equal-weights run have a correlation of 1/2.

    Args:
        candidates: as in `standings`.
        equal: as in `standings`.
        allowed: as in `standings`.
        plan: the rungs of the search.
        repeats: the number of simulated searches.
    """
    base = _figures("equal weights", equal, 1 + len(allowed))
    gains = [differences(np.asarray(each, dtype=float), base[:, : np.shape(each)[1]]) for each in candidates.values()]
    covariance = _covariance([each[:, ~np.isnan(each).any(axis=0)] for each in gains], base)
    rng, shape = np.random.default_rng(0), (1 + plan[0].candidates, plan[-1].seeds)
    total = 0.0
    for _ in range(repeats):
        alike, *copies = np.moveaxis(rng.multivariate_normal(np.zeros(len(base)), covariance / 2, shape), 2, 1)
        total += _apparent({str(number): copy for number, copy in enumerate(copies)}, alike, allowed, plan)
    return total / repeats


def _apparent(copies: Mapping[str, Array], equal: Array, allowed: Sequence[float], plan: Sequence[Rung]) -> float:
    """The gain that the winner of a search shows on the search seeds; 0 if equal weights win."""
    best, standing = replay(copies, equal, allowed, plan)
    return standing[best].objective.mean if best else 0.0


def replay(
    candidates: Mapping[str, ArrayLike], equal: ArrayLike, allowed: Sequence[float], plan: Sequence[Rung]
) -> tuple[str | None, dict[str, Standing]]:
    """Decide a whole search from figures that are all there: the winner, None for equal weights, and the last standings.

    Args:
        candidates: by name [measures, seeds], with all seeds of the plan.
        equal: [measures, seeds].
        allowed: as in `standings`.
        plan: the rungs.
    """
    known: dict[str, ArrayLike] = {}
    names = tuple(candidates)
    for rung in plan:
        if known:
            names = survivors(standings(known, equal, allowed), rung.candidates)
        known |= {name: np.asarray(candidates[name])[:, : rung.seeds] for name in names}
    last = standings(known, equal, allowed)
    return winner(last), last


def _figures(name: str, values: ArrayLike, measures: int) -> Array:
    figures = np.asarray(values, dtype=float)
    if figures.ndim != 2 or len(figures) != measures:
        raise InputError(f"Expected the figures of {name} as [{measures} measures, seeds]; got {figures.shape}.")
    return figures


def _pooled(gains: Sequence[Array], equal: Array) -> Array:
    """[measures]: the variance of a gain between seeds; NaN if nothing has two seeds."""
    several = [each for each in gains if each.shape[1] > 1]
    if several:
        squares = sum(((each - each.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) for each in several)
        return np.asarray(squares / sum(each.shape[1] - 1 for each in several))
    if equal.shape[1] > 1:
        return np.asarray(2 * equal.var(axis=1, ddof=1))
    return np.full(len(equal), np.nan)


def _covariance(gains: Sequence[Array], equal: Array) -> Array:
    """[measures, measures]: the covariance of gains between seeds, pooled over the candidates."""
    several = [each for each in gains if each.shape[1] > 1]
    if not several:
        return 2 * np.atleast_2d(np.cov(equal[:, ~np.isnan(equal).any(axis=0)]))
    centred = np.concatenate([each - each.mean(axis=1, keepdims=True) for each in several], axis=1)
    return np.asarray(centred @ centred.T / sum(each.shape[1] - 1 for each in several))


def _standing(gains: Array, pooled: Array, allowed: Array) -> Standing:
    n = gains.shape[1]
    if not n or np.isnan(gains).any():
        nothing = Gain(math.nan, math.nan)
        return Standing(nothing, (nothing,) * len(allowed), n, "diverged", False)
    own = gains.var(axis=1, ddof=1) if n > 1 else pooled
    error = np.sqrt((_PRIOR * pooled + (n - 1) * own) / (_PRIOR + n - 1) / n)
    objective, *kept = map(Gain, gains.mean(axis=1).tolist(), error.tolist())
    spare = [gain.mean + points for gain, points in zip(kept, allowed, strict=True)]
    loses = any(left < -CREDIBLE * gain.error for left, gain in zip(spare, kept, strict=True))
    holds = all(gain.low >= -points for gain, points in zip(kept, allowed, strict=True))
    return Standing(objective, tuple(kept), n, "loses" if loses else "in", holds)
