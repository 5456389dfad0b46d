"""The rates at which balancers learn their own weights: `python benchmarks/own_rates.py DIR [METHOD ...]`.

`uncertainty`, `imtl_l`, `famo` and `gradnorm` learn their weights by gradient steps. For each rate of a grid, on
three problems, at the problem's own learning rate and at the best of a third, once and three times that for equal weights
(chosen on three other seeds): the difference to equal weights in the validation score, which is the mean over tasks at the
best epoch, paired over ten seeds. The test split is never read. Records are kept in DIR, and the same command resumes.

The default of a method is found from means over the six cells. Candidates are the rates whose mean over tasks is less than
half a point below the highest, and whose worst task is at most two points below that of the rate with the highest (worst
tasks vary more between seeds). The default is the highest candidate, since a rate near 0 leaves weights where they begin
and is equal weights under another name. A better worst task is printed, and does not buy a lower mean.

Decided after digits and before the other two problems: the rule (the first one took the smallest of tied rates, and did not
look at the worst task); the grid of `famo`, to which .5 was added, since .1 at its edge was the best; and, for their cost,
the grid of `gradnorm`, from which .1 was taken, since it was not told apart from .025, the sizes of the other two problems
(`small_optical.py` and `small_census.py`), and their lengths: 330 and 314 steps, next to 630 of digits.
Run one process at a time on a DIR.
"""

import sys
from dataclasses import replace
from math import isnan
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import torch

import kept_runs
from hardfirst import Spec, records
from hardfirst.training import Trial

HERE = Path(__file__).parent
EPOCHS = {"digits": 10, str(HERE / "small_optical.py"): 3, str(HERE / "small_census.py"): 2}
SEEDS, CHOOSING = range(10), range(100, 103)
RATES = {
    "uncertainty": (1e-4, 1e-3, 5e-3, 2.5e-2, 0.1),
    "imtl_l": (1e-4, 1e-3, 5e-3, 2.5e-2, 0.1),
    "famo": (1e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5),
    "gradnorm": (1e-3, 5e-3, 2.5e-2),
}
TIE, WORST_TIE = 0.5, 2.0  # points


class Score(NamedTuple):
    """KPIs × 100 on the validation split at the best epoch by their mean; NaN for a run that diverged at once."""

    mean: float
    worst: float


class Result(NamedTuple):
    """Paired differences to equal weights: the mean one of each, with half its 95% interval."""

    mean: float
    half: float
    worst: float
    worst_half: float


def run(folder: Path, trials: list[Trial]) -> list[Score]:
    return [_score(record) for record in kept_runs.run(folder, trials)]


def _score(record: records.Record) -> Score:
    return Score(100 * record.selected()[1], 100 * min(record.validation_kpi(task) for task in record.tasks))


def seeds_of(base: Trial, spec: Spec, seeds: range) -> list[Trial]:
    return [replace(base, balancer=spec, seed=seed) for seed in seeds]


def network_rates(folder: Path, base: Trial) -> dict[str, float]:
    """The problem's learning rate, and the one that equal weights do best with."""
    rate = base.learning_rate
    means = {
        factor * rate: fmean(
            score.mean
            for score in run(folder, seeds_of(replace(base, learning_rate=factor * rate), base.balancer, CHOOSING))
        )
        for factor in (1 / 3, 1, 3)
    }
    return {"own": rate, "tuned": max(means, key=lambda each: means[each])}


def cell(folder: Path, base: Trial, method: str) -> dict[float, Result]:
    """By rate, the differences to equal weights."""
    equal = run(folder, seeds_of(base, Spec("equal"), SEEDS))
    trials = [trial for rate in RATES[method] for trial in seeds_of(base, Spec(method).replace({"lr": rate}), SEEDS)]
    scores, count = run(folder, trials), len(SEEDS)
    return {
        rate: Result(
            *_difference(scores[i * count : (i + 1) * count], equal, "mean"),
            *_difference(scores[i * count : (i + 1) * count], equal, "worst"),
        )
        for i, rate in enumerate(RATES[method])
    }


def _difference(own: list[Score], equal: list[Score], what: str) -> tuple[float, float]:
    differences = [getattr(one, what) - getattr(other, what) for one, other in zip(own, equal, strict=True)]
    return fmean(differences), 2.262 * stdev(differences) / len(SEEDS) ** 0.5  # t, nine degrees of freedom


def main(folder: Path, methods: list[str]) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    cells: dict[str, list[dict[float, Result]]] = {method: [] for method in methods}
    for name, epochs in EPOCHS.items():
        base = replace(Trial.plan(name, Spec("equal"), epochs=epochs), test=False)
        for which, rate in network_rates(folder, base).items():
            for method in methods:
                results = cell(folder, replace(base, learning_rate=rate), method)
                cells[method].append(results)
                for what, shown in (("mean", slice(0, 2)), ("worst", slice(2, 4))):
                    values = (("{:+5.1f} ± {:.1f}".format(*tuple(result)[shown]), own) for own, result in results.items())
                    line = "  ".join(f"{own:g}: {value}" for value, own in values)
                    print(f"{Path(name).stem:13} {which:5} {rate:7.2g}  {method:11} {what:5}  {line}", flush=True)
    for method, each in cells.items():
        means, worsts = averages(each, "mean"), averages(each, "worst")
        for what, values in (("mean", means), ("worst", worsts)):
            line = "  ".join(f"{rate:g}: {value:+5.2f}" for rate, value in values.items())
            print(f"{'mean of cells':28} {method:11} {what:5}  {line}")
        print(f"{'':28} {method:11} default {default(means, worsts):g}")


def averages(cells: list[dict[float, Result]], what: str) -> dict[float, float]:
    """By rate, the mean over the cells; NaN where a run diverged at once."""
    return {rate: fmean(getattr(results[rate], what) for results in cells) for rate in cells[0]}


def default(means: dict[float, float], worsts: dict[float, float]) -> float:
    """The rate that the rule above chooses."""
    best = max((rate for rate in means if not isnan(means[rate])), key=lambda rate: means[rate])
    return max(r for r in means if means[r] > means[best] - TIE and worsts[r] >= worsts[best] - WORST_TIE)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(RATES))
