"""How a search decides: which candidates stay after a rung, which one wins, what mere choice gains, and the verdict.

A search runs candidates on search seeds and compares them with equal weights on validation data, paired by seed. It measures
an objective, and kept measures that may lose only so many points. Rungs halve the candidates; the winner's verdict comes
from seeds that the search has not seen. All figures are [measures, seeds] in points, the objective first.
`benchmarks/null_searches.py` simulates searches with these functions, and the constants below were chosen with it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hardfirst.errors import InputError, whole
from hardfirst.statistics.intervals import Array, Interval, paired_interval
from hardfirst.statistics.paired_tests import Difference, compare_to
from hardfirst.statistics.rounding import differences

SEEDS = (1, 3, 6)
"""The seeds with which a candidate has been run after each rung."""

SHARE = 0.4
"""The share of the candidates that goes from one rung to the next; at least two do."""

MARGIN = 0.5
"""The standard errors by which a lower bound lies below the mean."""

CREDIBLE = 2.0
"""The standard errors by which a kept measure must miss what it may lose for the candidate to drop out before the end."""

FRESH = 7
"""The fewest fresh seeds for a verdict."""

_PRIOR = 4.0  # the weight of the pooled variance against a candidate's own, in degrees of freedom
State = Literal["in", "loses", "diverged", "unmeasured"]
Reason = Literal["better", "not better", "loses", "diverged", "too few seeds"]


class Rung(NamedTuple):
    """A rung of a search: so many candidates have each been run with so many search seeds at its end."""

    candidates: int
    seeds: int


def rungs(candidates: int) -> tuple[Rung, ...]:
    """The rungs of a search, the first with all candidates; equal weights do not count among them.

    All candidates of a rung have the same seeds. All runs have full length, since annealing and the phases of a method
    depend on the length of training.

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
    new = np.diff([0, *(rung.seeds for rung in plan)])
    return plan[-1].seeds + sum(rung.candidates * int(seeds) for rung, seeds in zip(plan, new, strict=True))


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

    `seeds` are those of its runs. `state` is "in", "loses" if a kept measure is credibly below what it may lose, "diverged"
    if a run has no KPI where equal weights have one, or "unmeasured" if these never have one. `holds` is whether the lower
    bound of each kept measure is within what it may lose, and `likely` the probability that all true ones are.
    """

    objective: Gain
    kept: tuple[Gain, ...]
    seeds: int
    state: State
    holds: bool
    likely: float = 1.0

    @property
    def rank(self) -> tuple[float, float]:
        """What candidates are sorted by: the lower bound of the objective if it is above 0, times `likely`; then the bound.

        Without `likely`, a candidate that raises the objective at the cost of what must be kept takes the place of one that
        can win.
        """
        return max(self.objective.low, 0.0) * self.likely, self.objective.low


def standings(candidates: Mapping[str, ArrayLike], equal: ArrayLike, allowed: Sequence[float]) -> dict[str, Standing]:
    """How all candidates stand against equal weights.

    Few seeds say little about a candidate's own spread. For standard errors its variance is therefore averaged with the
    pooled variance of all candidates, which counts as four degrees of freedom. As long as no candidate has two seeds, that
    of a difference of two runs of equal weights with different seeds takes its place.

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
    gains = _gains(candidates, base)
    pooled = _covariance(gains.values(), base).diagonal()
    return {name: _standing(each, np.shape(candidates[name])[1], pooled, allowed) for name, each in gains.items()}


def survivors(standing: Mapping[str, Standing], count: int) -> tuple[str, ...]:
    """The candidates of the next rung, best first: those with the highest rank.

    They are of the last rung, those with the most seeds. Candidates that are not "in" drop out, so there may be fewer than
    `count`. Equal weights are not among the candidates and always stay.

    >>> def gained(points): return Standing(Gain(points, 1.0), (), 2, "in", True)
    >>> survivors({"a": gained(1.0), "b": gained(3.0), "c": gained(2.0)}, 2)
    ('b', 'c')
    """
    most = max((each.seeds for each in standing.values()), default=0)
    ranked = [name for name, each in standing.items() if each.seeds == most and each.state == "in"]
    return tuple(sorted(ranked, key=lambda name: standing[name].rank, reverse=True)[:count])


def winner(standing: Mapping[str, Standing]) -> str | None:
    """The candidate to run on fresh seeds; None for equal weights.

    It has the highest rank among the candidates of the last rung that have a lower bound of the objective above 0, and whose
    kept measures hold by their lower bounds.
    """
    last = survivors(standing, len(standing))
    return next((name for name in last if standing[name].holds and standing[name].objective.low > 0), None)


class Verdict(NamedTuple):
    """What fresh seeds say: whether the winner is recommended, why, and its differences to equal weights in points."""

    recommended: bool
    reason: Reason
    objective: Difference
    kept: tuple[Interval, ...]


def verdict(values: ArrayLike, equal: ArrayLike, allowed: Sequence[float]) -> Verdict:
    """Whether the winner is recommended over equal weights, from test figures of fresh seeds.

    It is, if the objective's 95% t-interval of the paired difference lies above 0 and its sign-flip test says the same, and
    the mean difference of each kept measure is not below what it may lose. This is stricter than an interval that does not
    lie below: seven seeds seldom tell a loss of one point from none.

    Args:
        values: [measures, seeds] of the winner, the objective first.
        equal: [measures, seeds] of equal weights, in the same order.
        allowed: for each kept measure, the points that it may lose.

    Returns:
        The reason is "diverged" if a run of the winner has no figure where equal weights have one, "too few seeds" if a
        measure has fewer than seven, "not better" if the gain is not shown, and otherwise "loses" or "better".
    """
    base, own = (_figures(*each, 1 + len(allowed)) for each in (("equal weights", equal), ("the winner", values)))
    objective = compare_to(base[0], {"winner": own[0]})["winner"]
    kept = tuple(map(paired_interval, own[1:], base[1:]))
    reason: Reason = "better"
    if (np.isnan(own) & ~np.isnan(base)).any():
        reason = "diverged"
    elif min(interval.n for interval in (objective.interval, *kept)) < FRESH:
        reason = "too few seeds"
    elif objective.decision != "better":
        reason = "not better"
    elif any(interval.mean < -points for interval, points in zip(kept, allowed, strict=True)):
        reason = "loses"
    return Verdict(reason == "better", reason, objective, kept)


def chance_gain(
    candidates: Mapping[str, ArrayLike], equal: ArrayLike, allowed: Sequence[float], plan: Sequence[Rung], repeats: int = 200
) -> float:
    """The gain in the objective that mere choice among so many candidates shows on the search seeds, in points.

    Searches with the same rungs are simulated in which every candidate is a copy of equal weights: runs alike, with normal
    noise, so that gains have the covariance between seeds that this search has measured, and gains over the same run a
    correlation of 1/2. The result is the winner's mean gain, 0 where equal weights win; NaN if the noise is unknown.

    Args:
        candidates: as in `standings`.
        equal: as in `standings`.
        allowed: as in `standings`.
        plan: the rungs of the search.
        repeats: the number of simulated searches.
    """
    base = _figures("equal weights", equal, 1 + len(allowed))
    covariance = _covariance(_gains(candidates, base).values(), base)
    if np.isnan(covariance).any():
        return math.nan
    rng, shape = np.random.default_rng(0), (1 + plan[0].candidates, plan[-1].seeds)
    total = 0.0
    for _ in range(repeats):
        alike, *copies = rng.multivariate_normal(np.zeros(len(base)), covariance / 2, shape).swapaxes(1, 2)
        best, standing = replay({str(number): copy for number, copy in enumerate(copies)}, alike, allowed, plan)
        total += standing[best].objective.mean if best else 0.0
    return total / repeats


def replay(
    candidates: Mapping[str, ArrayLike], equal: ArrayLike, allowed: Sequence[float], plan: Sequence[Rung]
) -> tuple[str | None, dict[str, Standing]]:
    """Decide a whole search: the winner, None for equal weights, and the last standings.

    Args:
        candidates: as in `standings`, with all seeds of the plan.
        equal: as in `standings`.
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


def _gains(values: Mapping[str, ArrayLike], equal: Array) -> dict[str, Array]:
    """By candidate [measures, seeds]: its gains, without the seeds that equal weights have no figures for."""
    measured = np.asarray(~np.isnan(equal).any(axis=0))
    gains = {}
    for name, each in values.items():
        own = _figures(name, each, len(equal))
        n = own.shape[1]
        if n > equal.shape[1]:
            raise InputError(f"Expected a run of equal weights for each of the {n} seeds of {name}; got {equal.shape[1]}.")
        gains[name] = differences(own, equal[:, :n])[:, measured[:n]]
    return gains


def _covariance(gains: Iterable[Array], equal: Array) -> Array:
    """[measures, measures]: of gains between seeds, pooled over candidates that did not diverge; NaN without two seeds."""
    several = [each for each in gains if each.shape[1] > 1 and not np.isnan(each).any()]
    if not several:  # two runs of equal weights with different seeds differ by twice the variance of one
        several = [math.sqrt(2) * equal[:, ~np.isnan(equal).any(axis=0)]]
    if (free := sum(each.shape[1] - 1 for each in several)) < 1:
        return np.full((len(equal), len(equal)), math.nan)
    centred = np.concatenate([each - each.mean(axis=1, keepdims=True) for each in several], axis=1)
    return np.asarray(centred @ centred.T / free)


def _standing(gains: Array, seeds: int, pooled: Array, allowed: Sequence[float]) -> Standing:
    n = gains.shape[1]
    if not n or np.isnan(gains).any():
        nothing = Gain(math.nan, math.nan)
        return Standing(nothing, (nothing,) * len(allowed), seeds, "diverged" if n else "unmeasured", False)
    own = gains.var(axis=1, ddof=1) if n > 1 else pooled
    error = np.sqrt((_PRIOR * pooled + (n - 1) * own) / (_PRIOR + n - 1) / n)
    objective, *kept = map(Gain, gains.mean(axis=1).tolist(), error.tolist())
    spare = [Gain(gain.mean + points, gain.error) for gain, points in zip(kept, allowed, strict=True)]
    loses = any(gain.mean < -CREDIBLE * gain.error for gain in spare)
    holds = all(gain.low >= 0 for gain in spare)
    likely = math.prod(_probability(*gain) for gain in spare)
    return Standing(objective, tuple(kept), seeds, "loses" if loses else "in", holds, likely)


def _probability(mean: float, error: float) -> float:
    """That the true value is at least 0, for normal noise; 0 or 1 without noise, or if none has been measured."""
    return 0.5 * math.erfc(-mean / error / math.sqrt(2)) if error > 0 else float(mean >= 0)
