"""Coverage of intervals and false verdicts on simulated studies: `python benchmarks/null_studies.py [--studies 200]`.

- coverage: how often the 95% interval of a method's difference to equal weights, paired by seed, on the worst task, contains
  the true difference, which is 0 ("alike") or that of a method that lifts the hardest task and is twice as noisy ("better").
  The second column is the BCa bootstrap, which covers less often: this is why the interval is Student's t;
- null studies: how often at least one of six methods is declared better or worse than equal weights on the worst task,
  although all have the same distribution, by the Holm-corrected decision and by the uncorrected p-values.

A study is an array [methods, seeds, tasks] of KPIs in points, equal weights first. Noise of equal size comes from the seed,
common to all methods, and from each run.
"""

import argparse
import gc
import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardfirst.statistics import compare_to, holm, paired_interval, worst_task

Array = NDArray[np.float64]

LEVELS = np.array([90.0, 80.0, 70.0, 62.0, 60.0])  # either of the last two tasks may be the worst
NOISE = 2.0
LIFT = np.array([0.0, 0.0, 0.0, 0.0, 4.0])


def study(rng: np.random.Generator, *, methods: int = 6, seeds: int = 10) -> Array:
    """A study of equal weights and `methods` methods with the same distribution."""
    shared = rng.normal(0, NOISE, (1, seeds, len(LEVELS)))
    return np.asarray(LEVELS + shared + rng.normal(0, NOISE, (1 + methods, seeds, len(LEVELS))))


def uneven_study(rng: np.random.Generator, *, seeds: int) -> Array:
    """A study of equal weights and one method with another mean and twice the noise."""
    points = study(rng, methods=1, seeds=seeds)
    points[1] += LIFT + rng.normal(0, math.sqrt(3) * NOISE, points[1].shape)
    return points


def declares(kpis: Array, *, corrected: bool = True) -> bool:
    """Whether any method is declared better or worse than equal weights on the worst task."""
    equal, *others = (worst_task(points) for points in kpis)
    differences = compare_to(equal, {f"method {number}": other for number, other in enumerate(others)}).values()
    if corrected:
        return any(difference.decision in ("better", "worse") for difference in differences)
    return any(difference.p <= 0.05 for difference in differences)


def covers(kpis: Array, true: float) -> bool:
    """Whether the interval of the first method's difference to equal weights contains the true one."""
    interval = paired_interval(worst_task(kpis[1]), worst_task(kpis[0]))
    return interval.low <= true <= interval.high


def bootstrap_coverage(studies: list[Array], true: float) -> float:
    """How often the BCa bootstrap interval contains the true difference."""
    differences = np.array([worst_task(kpis[1]) - worst_task(kpis[0]) for kpis in studies])
    result = stats.bootstrap((differences,), np.mean, axis=1, method="BCa", n_resamples=1999, batch=50, rng=0)
    low, high = result.confidence_interval
    return float(((low <= true) & (true <= high)).mean())


def sampling_error(share: float, repeats: int) -> float:
    """The standard error of a share estimated from this many repeats."""
    return math.sqrt(share * (1 - share) / repeats)


def print_coverage(repeats: int) -> None:
    rng = np.random.default_rng(1)
    large = uneven_study(rng, seeds=1_000_000)
    lift = float((worst_task(large[1]) - worst_task(large[0])).mean())
    print(f"coverage of the paired 95% interval, ± {100 * sampling_error(0.95, repeats):.1f}% sampling error")
    print(f"{'':24}{'t':>8}{'BCa':>8}")
    for seeds in (5, 10, 20):
        for name, make, true in (("alike", study, 0.0), ("better", uneven_study, lift)):
            studies = [make(rng, seeds=seeds) for _ in range(repeats)]
            student = np.mean([covers(each, true) for each in studies])
            bootstrap = bootstrap_coverage(studies, true)
            print(f"  n = {seeds:<3} {name:15}{100 * student:7.1f}%{100 * bootstrap:7.1f}%", flush=True)


def print_null_studies(count: int) -> None:
    rng = np.random.default_rng(2)
    studies = [study(rng) for _ in range(count)]
    print(f"{count} null studies (6 methods, 5 tasks, 10 seeds) with any method declared better or worse on the worst task,")
    print(f"± {100 * sampling_error(0.05, count):.1f}% sampling error")
    for name, corrected in (("Holm-corrected", True), ("uncorrected", False)):
        share = np.mean([declares(each, corrected=corrected) for each in studies])
        print(f"  {name:15}{100 * share:7.1f}%", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="null studies")
    parser.add_argument("--repeats", type=int, default=2000, help="studies per coverage")
    arguments = parser.parse_args()
    holm([1.0])  # imports statsmodels, which collects garbage at each correction: with nothing to look through that is quick
    gc.freeze()
    print_coverage(arguments.repeats)
    print_null_studies(arguments.studies)


if __name__ == "__main__":
    main()
