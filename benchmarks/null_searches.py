"""Simulated searches: `python benchmarks/null_searches.py [--searches 1000] [--fresh 7]`.

A search of twelve candidates has the rungs, winner and verdict of `hardfirst.statistics.search`. It raises the mean over the
hard tasks, or the worst task, and may lose 0.5 points of the mean over all tasks. The candidates:

- alike: none differs from equal weights;
- better by d: one raises the objective by d points and lowers the other tasks so that the mean stays; the others are alike;
- loses d: one raises the objective by 5 points and loses d points of the mean; the others are alike;
- mixed: gains and losses as in `MIXED`.

A recommendation is right if the candidate's true gain is above 0 and it loses no more than is allowed. The last columns are
what a user gets who does as the search says, against equal weights: the true objective and the true mean, on average.

The nine tasks have the levels and the noise of validation KPIs of equal weights in `hardfirst compare digits`. Runs with the
same seed share 40% of their variance, and tasks of the same run 35%. Noise is normal, or heavy-tailed: Student's t with 3
degrees of freedom and the same variance.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from hardfirst.statistics import Interval
from hardfirst.statistics.search import FRESH, Standing, Verdict, chance_gain, replay, rungs, runs, verdict

Array = NDArray[np.float64]

LEVELS = np.array([80.5, 83.5, 43.6, 96.9, 95.6, 96.8, 94.5, 95.7, 95.2])
NOISE = np.array([1.7, 2.0, 3.8, 0.4, 0.6, 0.9, 0.9, 0.5, 0.9])
SAME_SEED, SAME_RUN = 0.4, 0.35
HARD = (0, 1, 2)
RAISED = {"hard": HARD, "worst": (2,)}
CANDIDATES = 12
PLAN = rungs(CANDIDATES)
ALLOWED = 0.5


class Effect(NamedTuple):
    """What a candidate truly changes, in points of the objective and of the mean over tasks."""

    objective: float = 0.0
    mean: float = 0.0

    @property
    def right(self) -> bool:
        """Whether it may be recommended."""
        return self.objective > 0 and self.mean >= -ALLOWED

    def by_task(self, objective: str) -> Array:
        """[tasks]: its change of the tasks that the objective is made of, and one of the others that gives the mean."""
        raised = np.isin(np.arange(LEVELS.size), RAISED[objective])
        others = (self.mean * LEVELS.size - self.objective * raised.sum()) / (~raised).sum()
        return np.where(raised, self.objective, others)


MIXED = ((4, -0.2), (3, 0), (6, -1), (8, -4), (2, 0.3), (-2, 0), (5, -0.7), (0, 0), (1, 0), (-5, -1), (0, -0.5), (10, -2))
SCENES: dict[str, list[Effect]] = {
    "alike": [],
    **{f"better by {gain}": [Effect(gain)] for gain in (1, 2, 3, 5, 10)},
    **{f"loses {loss}": [Effect(5, -loss)] for loss in (1, 2, 4)},
    "mixed": [Effect(*effect) for effect in MIXED],
}


class Result(NamedTuple):
    """The effect of the candidate that won a simulated search, and its verdict; None if equal weights won."""

    effect: Effect
    verdict: Verdict | None

    def recommends(self, keeps: Callable[[Interval], bool] | None = None) -> bool:
        """Whether it is recommended; or would be, if this rule decided on the kept measure."""
        if self.verdict is None or keeps is None:
            return self.verdict is not None and self.verdict.recommended
        return self.verdict.objective.decision == "better" and keeps(self.verdict.kept[0])


def noise(rng: np.random.Generator, shape: tuple[int, ...], heavy: bool) -> Array:
    """[*shape, tasks], partly common to the tasks of a run."""

    def drawn(*size: int) -> Array:
        return rng.standard_t(3, size) / math.sqrt(3) if heavy else rng.normal(size=size)

    common, own = drawn(*shape, 1), drawn(*shape, LEVELS.size)
    return NOISE * (math.sqrt(SAME_RUN) * common + math.sqrt(1 - SAME_RUN) * own)


def levels(scene: str, objective: str) -> Array:
    """[1 + candidates, tasks]: the true KPIs of equal weights and of the candidates."""
    rest = [Effect()] * (CANDIDATES - len(SCENES[scene]))
    return LEVELS + np.stack([effect.by_task(objective) for effect in (Effect(), *SCENES[scene], *rest)])


def measured(rng: np.random.Generator, means: Array, objective: str, seeds: int, heavy: bool = False) -> Array:
    """[methods, 2, seeds]: the objective and the mean over tasks, in runs with the true KPIs [methods, tasks]."""
    shared, own = noise(rng, (1, seeds), heavy), noise(rng, (len(means), seeds), heavy)
    kpis = means[:, None] + math.sqrt(SAME_SEED) * shared + math.sqrt(1 - SAME_SEED) * own
    score = kpis[..., HARD].mean(axis=-1) if objective == "hard" else kpis.min(axis=-1)
    return np.stack([score, kpis.mean(axis=-1)], axis=1)


def named(arrays: Sequence[Array]) -> dict[str, Array]:
    return {str(number): array for number, array in enumerate(arrays)}


def searches(
    count: int, scene: str, objective: str = "hard", *, heavy: bool = False, fresh: int = FRESH
) -> Iterator[Result]:
    """Simulate searches."""
    rng = np.random.default_rng(1)
    means = levels(scene, objective)
    effects = dict(enumerate(SCENES[scene]))
    for _ in range(count):
        equal, *others = measured(rng, means, objective, PLAN[-1].seeds, heavy)
        best, _ = replay(named(others), equal, [ALLOWED], PLAN)
        equal, *others = measured(rng, means, objective, fresh, heavy)  # even without a winner: the same for all procedures
        if best is None:
            yield Result(Effect(), None)
        else:
            yield Result(effects.get(int(best), Effect()), verdict(others[int(best)], equal, [ALLOWED]))


def summary(results: Sequence[Result], keeps: Callable[[Interval], bool] | None = None) -> str:
    """How often a candidate won, the right and the wrong recommendations, and the true changes on average."""
    won = np.mean([result.verdict is not None for result in results])
    effects = [result.effect for result in results if result.recommends(keeps)]
    right = sum(effect.right for effect in effects)
    shares = "".join(f"{100 * number / len(results):8.1f}%" for number in (right, len(effects) - right))
    objective, mean = np.sum([Effect(), *effects], axis=0) / len(results)
    return f"{100 * won:8.0f}%{shares}{objective:+8.2f}{mean:+8.2f}"


def print_searches(count: int, fresh: int) -> None:
    for heavy in (False, True):
        for objective in RAISED:
            print(f"objective {objective}, {'heavy-tailed' if heavy else 'normal'} noise")
            print(HEADS)
            for scene in SCENES:
                results = list(searches(count, scene, objective, heavy=heavy, fresh=fresh))
                print(f"  {scene:24}{summary(results)}", flush=True)


def print_choices(count: int, fresh: int) -> None:
    """Other ways to decide."""
    rules: dict[str, Callable[[Interval], bool]] = {
        "interval not below": lambda interval: interval.high >= -ALLOWED,
        "mean not below (ours)": lambda interval: interval.mean >= -ALLOWED,
        "interval not reaching": lambda interval: interval.low >= -ALLOWED,
    }
    for scene in ("better by 5", "loses 1", "mixed"):
        print(f"other ways to decide, objective hard: {scene}")
        print(HEADS)
        results = list(searches(count, scene, fresh=fresh))
        for name, keeps in rules.items():
            print(f"  {name:24}{summary(results, keeps)}", flush=True)
        with patch.object(Standing, "rank", property(lambda self: (self.objective.low,))):
            print(f"  {'ranked by gain alone':24}{summary(list(searches(count, scene, fresh=fresh)))}", flush=True)
        for margin in (0.0, 1.0):
            with patch("hardfirst.statistics.search.MARGIN", margin):
                print(f"  {f'margin {margin:g}':24}{summary(list(searches(count, scene, fresh=fresh)))}", flush=True)


def print_chance(count: int) -> None:
    """The gain that mere choice shows, and what estimates of it say."""
    rng, means = np.random.default_rng(2), levels("alike", "hard")
    shown, estimates, copies = [], [], []
    for _ in range(count):
        equal, *others = measured(rng, means, "hard", PLAN[-1].seeds)
        best, standing = replay(named(others), equal, [ALLOWED], PLAN)
        shown.append(standing[best].objective.mean if best else 0.0)
        if len(estimates) < count // 10:
            estimates.append(chance_gain(named(others), equal, [ALLOWED], PLAN, repeats=100))
        seeds = measured(rng, means[:1], "hard", 2 * PLAN[-1].seeds)[0, 0].reshape(2, -1)
        copies.append(max(0.0, (seeds.mean(axis=1) - equal[0].mean()).max()))
    print("gain that mere choice among alike candidates shows, objective hard: mean and spread between searches")
    for name, values in (("shown", shown), ("chance_gain", estimates), ("best of two copies", copies)):
        print(f"  {name:24}{np.mean(values):8.2f}{np.std(values):8.2f}", flush=True)


def print_worst_bias(count: int) -> None:
    """How far the worst task of a run lies below the lowest true level, by the number of tasks at that level."""
    drawn = noise(np.random.default_rng(3), (count,), heavy=False) / NOISE
    print("the worst task lies below the lowest level, in standard deviations of a task, if so many tasks are at that level")
    print("  " + "".join(f"{tasks:>4}:{-drawn[:, :tasks].min(axis=1).mean():.2f}" for tasks in (1, 2, 3, 5, 9)))


HEADS = f"  {'':24}{'a winner':>9}{'right':>9}{'wrong':>9}{'gain':>8}{'mean':>8}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=1000, help="searches of each kind")
    parser.add_argument("--fresh", type=int, default=FRESH, help="fresh seeds")
    arguments = parser.parse_args()
    print(
        f"{arguments.searches} searches each; {runs(PLAN)} runs and {arguments.fresh} fresh seeds; shares ± at most", end=" "
    )
    print(f"{50 / math.sqrt(arguments.searches):.1f}% standard error")
    print_searches(arguments.searches, arguments.fresh)
    print_choices(arguments.searches, arguments.fresh)
    print_chance(arguments.searches)
    print_worst_bias(100_000)


if __name__ == "__main__":
    main()
