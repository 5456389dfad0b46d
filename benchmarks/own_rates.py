"""The rates at which balancers learn their own weights: `python benchmarks/own_rates.py DIR [METHOD ...]`.

`uncertainty`, `imtl_l`, `famo` and `gradnorm` learn weights by gradient steps of their own. For each rate of a grid, on
three problems, at the problem's own learning rate and at the best of a third, once and three times that for equal weights
(chosen on three other seeds): the difference to equal weights in the validation score, which is the mean over tasks at the
best epoch, paired over ten seeds. The test split is never read. Records are kept in DIR, and the same command goes on where
it was stopped.

The default of a method is the rate with the highest mean over the six cells; of rates whose means differ from it by less
than half a point, the smallest. This rule was written before the first run.
"""

import sys
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import torch

from hardfirst import Spec, records
from hardfirst.problems import load_problem
from hardfirst.training import NotVectorizable, Trial, fit, fit_together

EPOCHS = {"digits": 10, "optical": 5, "census": 1}
SEEDS, CHOOSING = range(10), range(100, 103)
RATES = {
    "uncertainty": (1e-4, 1e-3, 5e-3, 2.5e-2, 0.1),
    "imtl_l": (1e-4, 1e-3, 5e-3, 2.5e-2, 0.1),
    "famo": (1e-4, 1e-3, 5e-3, 2.5e-2, 0.1),
    "gradnorm": (1e-3, 5e-3, 2.5e-2, 0.1),
}
TIE = 0.5  # points

Scores = dict[int, float]


def run(folder: Path, trials: list[Trial]) -> list[float]:
    """The trials' validation scores × 100; NaN for a run that diverged."""
    problem = trials[0].load()
    files = [folder / f"{trial.key(problem)}.jsonl" for trial in trials]
    left = [(trial, file) for trial, file in zip(trials, files, strict=True) if not _ended(file)]
    if left:
        missing, paths = zip(*left, strict=True)
        try:
            fit_together(missing, record_files=paths, accelerator="cpu")
        except NotVectorizable:
            for trial, path in left:
                fit(trial, record_file=path, accelerator="cpu")
    return [100 * records.read(file).selected()[1] for file in files]


def _ended(file: Path) -> bool:
    return file.exists() and records.read(file).outcome is not None


def scores(folder: Path, base: Trial, spec: Spec, seeds: range) -> Scores:
    trials = [replace(base, balancer=spec, seed=seed) for seed in seeds]
    return dict(zip(seeds, run(folder, trials), strict=True))


def network_rates(folder: Path, base: Trial) -> dict[str, float]:
    """The problem's learning rate, and the one that equal weights do best with."""
    rate = base.learning_rate
    means = {
        factor * rate: fmean(scores(folder, replace(base, learning_rate=factor * rate), base.balancer, CHOOSING).values())
        for factor in (1 / 3, 1, 3)
    }
    return {"own": rate, "tuned": max(means, key=lambda each: means[each])}


def cell(folder: Path, base: Trial, method: str) -> dict[float, tuple[float, float]]:
    """By rate, the mean paired difference to equal weights and half its 95% interval."""
    equal = scores(folder, base, Spec("equal"), SEEDS)
    specs = {rate: Spec(method).replace({"lr": rate}) for rate in RATES[method]}
    trials = [replace(base, balancer=spec, seed=seed) for spec in specs.values() for seed in SEEDS]
    values = run(folder, trials)
    results = {}
    for position, rate in enumerate(specs):
        own = values[position * len(SEEDS) : (position + 1) * len(SEEDS)]
        differences = [value - equal[seed] for seed, value in zip(SEEDS, own, strict=True)]
        results[rate] = fmean(differences), 2.262 * stdev(differences) / len(SEEDS) ** 0.5  # t, nine degrees of freedom
    return results


def main(folder: Path, methods: list[str]) -> None:
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    cells: dict[str, list[dict[float, tuple[float, float]]]] = {}
    for name, epochs in EPOCHS.items():
        base = replace(Trial.plan(name, Spec("equal"), epochs=epochs, loaded=load_problem(name)), test=False)
        for which, rate in network_rates(folder, base).items():
            for method in methods:
                results = cell(folder, replace(base, learning_rate=rate), method)
                cells.setdefault(method, []).append(results)
                line = "  ".join(f"{own:g}: {mean:+5.1f} ± {half:.1f}" for own, (mean, half) in results.items())
                print(f"{name:8} {which:6} {rate:8.2g}  {method:12} {line}", flush=True)
    for method, each in cells.items():
        means = {rate: fmean(results[rate][0] for results in each) for rate in RATES[method]}
        best = min(rate for rate, mean in means.items() if mean > max(means.values()) - TIE)
        line = "  ".join(f"{rate:g}: {mean:+5.2f}" for rate, mean in means.items())
        print(f"{'mean of cells':26} {method:12} {line}  -> {best:g}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(RATES))
