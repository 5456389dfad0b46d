"""When a priority of hard tasks pays: `python benchmarks/hard_first.py DIR [PART ...] [--workers N]`.

The studies of docs/methods/hard_first.md, as tables in Markdown. Records are kept in DIR, and the same command resumes. A
PART is "order" or "search", alone or with a problem, such as order:digits; without one, all run.

- order: the same weights on the hard tasks early, late, or half as strong throughout, so that each task has the same average
  weight over training; and methods with and without a return to equal weights. Each row is the difference to equal weights
  on the test split, paired by seed, at the learning rate of the problem. The epoch is the best one on validation by the mean
  over tasks. Settings were fixed before any of these runs, and nothing was tuned.
- search: what `hardfirst search` finds on each problem, and what it gains on fresh seeds.

A task is hard if its validation KPI with equal weights is below the mean over tasks, in three runs with the seeds of tuning,
which no reported run has.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch

import kept_runs
from hardfirst import Spec
from hardfirst.records import Record
from hardfirst.statistics import mean_interval, paired_interval
from hardfirst.studies.tuning import SEED
from hardfirst.study import Study
from hardfirst.training import Trial

HERE = Path(__file__).parent
FACTOR = 16  # of the weight of a hard task over that of another


class Problem(NamedTuple):
    """A problem, and how long and how often it is trained."""

    name: str
    epochs: int
    seeds: int


ORDERS = {
    "digits": Problem("digits", 40, 10),
    "census": Problem(str(HERE / "small_census.py"), 3, 10),
    "optical": Problem(str(HERE / "small_optical.py"), 4, 10),
    "fashion": Problem(str(HERE / "small_fashion.py"), 1, 7),
    "scaled_fashion": Problem(str(HERE / "scaled_fashion.py"), 1, 7),
}
METHODS = (
    "dtp",
    "dtp:anneal=0.6+0.8",
    "dtp:uniform=0.2",
    "dtp:uniform=0.2,anneal=0.6+0.8",
    "dtp:uniform=0.8",
    "hard_first",
)


def hard_tasks(folder: Path, problem: Problem) -> list[str]:
    """The tasks below the mean over tasks with equal weights, on validation."""
    base = replace(Trial.plan(problem.name, Spec("equal"), epochs=problem.epochs), test=False)
    records = kept_runs.run(folder, [replace(base, seed=SEED + number) for number in range(3)])
    kpis = {task: fmean(record.validation_kpi(task) for record in records) for task in records[0].tasks}
    return [task for task in kpis if kpis[task] < fmean(kpis.values())]


def schedules(tasks: Sequence[str], hard: Sequence[str]) -> dict[str, str]:
    """By what it is called, the spec of each schedule of static weights. The first three have the same average weights."""
    scale = len(tasks) / (len(tasks) + (FACTOR - 1) * len(hard))
    full = {task: scale * (FACTOR if task in hard else 1) for task in tasks}
    half = {task: (1 + weight) / 2 for task, weight in full.items()}
    return {
        "hard tasks early": _fixed(full, "anneal=0.4+0.6"),
        "half as strong throughout": _fixed(half),
        "hard tasks late": _fixed(full, "anneal=0.6+0.4"),
        "hard tasks throughout": _fixed(full),
    }


def _fixed(weights: Mapping[str, float], *options: str) -> str:
    return "fixed:" + ",".join([*(f"{task}={weight:.4f}" for task, weight in weights.items()), *options])


def order_table(folder: Path, name: str, workers: int | None) -> None:
    problem = ORDERS[name]
    hard = hard_tasks(folder / "tuning", problem)
    tasks = Trial.plan(problem.name, Spec("equal")).load().task_names
    labels = schedules(tasks, hard) | {f"`{method}`": method for method in METHODS}
    study = Study(
        problems=[problem.name],
        balancers=["equal", *labels.values()],
        seeds=problem.seeds,
        epochs=problem.epochs,
        baselines=False,
        controls=False,
        cost=False,
        workers=workers,
    )
    case = study.run(folder / "order" / name).cases[0]
    equal = [case.runs["equal", seed] for seed in case.seeds]
    print(f"\n{name}: {problem.epochs} epochs, {len(case.seeds)} seeds; hard tasks: {', '.join(hard)}\n")
    print("| weights | mean over tasks | hard tasks | worst task |\n|---|---|---|---|")
    print(_row("equal", [f"{mean_interval(points(equal, which)):.1f}" for which in (tasks, hard, "worst")]))
    for label, spec in labels.items():
        runs = [case.runs[str(Spec.parse(spec)), seed] for seed in case.seeds]
        cells = [paired_interval(points(runs, which), points(equal, which)) for which in (tasks, hard, "worst")]
        print(_row(label, [f"{cell:+.1f}" for cell in cells]), flush=True)


def points(runs: Sequence[Record], which: Sequence[str] | str) -> np.ndarray:
    """The mean test KPI × 100 of these tasks, or that of the worst task, [runs]."""
    kpis = np.array([[100 * run.test_kpi(task) for task in run.tasks] for run in runs])
    if which == "worst":
        return kpis.min(axis=1)
    return kpis[:, [task in which for task in runs[0].tasks]].mean(axis=1)


def _row(label: str, cells: Sequence[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"


PARTS: dict[str, tuple[Callable[[Path, str, int | None], None], Mapping[str, Problem]]] = {"order": (order_table, ORDERS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--workers", type=int, help="runs at a time; default: one per core")
    arguments = parser.parse_args()
    known = [f"{part}:{name}" for part, (_, problems) in PARTS.items() for name in problems]
    asked = arguments.parts or list(PARTS)
    if unknown := [part for part in asked if part not in PARTS and part not in known]:
        parser.error(f"there is no part {unknown[0]}; the parts are {', '.join(known)}")
    torch.set_num_threads(1)
    (arguments.folder / "tuning").mkdir(parents=True, exist_ok=True)
    for text in known:
        part, _, name = text.partition(":")
        if text in asked or part in asked:
            PARTS[part][0](arguments.folder, name, arguments.workers)


if __name__ == "__main__":
    main()
