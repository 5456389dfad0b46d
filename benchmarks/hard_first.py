"""When a priority of hard tasks pays: `python benchmarks/hard_first.py DIR [PART ...] [--workers N]`.

The studies of docs/methods/hard_first.md, as tables in Markdown. Records are kept in DIR, and the same command resumes. A
PART is "order" or "search", alone or with a problem, such as order:digits; without one, all run.

- order: the same weights on the hard tasks early, late, or half as strong throughout, so that each task has the same average
  weight over training; and methods with and without a return to equal weights. Each row is the difference to equal weights
  on the test split, paired by seed, at the learning rate of the problem. The epoch is the best one on validation by the mean
  over tasks; the last two columns are of the validation split at the last epoch, which no choice has touched. Settings were
  fixed before any of these runs, and nothing was tuned.
- search: what `hardfirst search` finds on each problem, what the winner changes on the test split of fresh seeds, and what
  the search costs: in single runs, with those on fresh seeds after the "+"; and in wall time, over that of one run of equal
  weights on one core.

A task is hard if its validation KPI with equal weights is below the mean over tasks, in three runs with the seeds of tuning,
which no reported run has.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import kept_runs
from hardfirst import Spec, records
from hardfirst.records.objective import Objective
from hardfirst.records.search_runs import figures, measured_hard_tasks
from hardfirst.statistics import mean_interval, number_text, paired_interval
from hardfirst.studies.tuning import SEED
from hardfirst.study import Search, Study
from hardfirst.training import Trial, fit

HERE = Path(__file__).parent
FACTOR = 16  # of the weight of a hard task over that of another


class Problem(NamedTuple):
    """A problem, and how long it is trained, and with how many seeds in a study of order."""

    name: str
    epochs: int
    seeds: int = 10


PROBLEMS = {
    "digits": Problem("digits", 40),
    "census": Problem(str(HERE / "small_census.py"), 3),
    "optical": Problem(str(HERE / "small_optical.py"), 4),
    "fashion": Problem(str(HERE / "small_fashion.py"), 1, 7),
    "scaled_fashion": Problem(str(HERE / "scaled_fashion.py"), 1, 7),
    "brown": Problem("brown", 1),
    "crowded": Problem("mnist_fashion:crowded", 3),
    "scaled_crowded": Problem(str(HERE / "scaled_crowded.py"), 3),
}
ORDERS = list(PROBLEMS)[:5]  # the others take hours, and of the two tasks of brown one is as good as solved
METHODS = (
    "dtp",
    "dtp:anneal=0.6+0.8",
    "dtp:uniform=0.2",
    "dtp:uniform=0.2,anneal=0.6+0.8",
    "dtp:uniform=0.8",
    "hard_first",
)
EFFECTS = {  # by what it is called, which row less which other
    "order: early less late": ("hard tasks early", "hard tasks late"),
    "return of `dtp`": ("dtp:anneal=0.6+0.8", "dtp"),
    "return of `dtp:uniform=0.2`": ("dtp:uniform=0.2,anneal=0.6+0.8", "dtp:uniform=0.2"),
}
SEARCHES = {  # by name: the problem, what is maximised, and what may not be lost
    **{name: (name, "hard", "mean:0.3") for name in PROBLEMS},
    "digits_worst": ("digits", "worst", "mean:0.5"),
}


def order_table(folder: Path, name: str, workers: int | None) -> None:
    problem = PROBLEMS[name]
    base = Trial.plan(problem.name, Spec("equal"), epochs=problem.epochs)
    tasks = base.load().task_names
    tuning = [replace(base, seed=SEED + number, test=False) for number in range(3)]
    hard = measured_hard_tasks(kept_runs.run(folder / "single", tuning))
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
    measures = [Objective.parse(text, tasks) for text in ("mean", ",".join(f'"{task}"' for task in hard), "worst")]

    def points(spec: str) -> np.ndarray:
        """The figures of a method's runs, [measures, seeds]: the test split, and validation at the last epoch."""
        runs = [case.runs[str(Spec.parse(spec)), seed] for seed in case.seeds]
        return np.array([[*figures(run, measures, test=True), *_last(run, measures[:2])] for run in runs]).T

    equal = points("equal")
    print(f"\n{name}: {problem.epochs} epochs, {len(case.seeds)} seeds; hard tasks: {', '.join(hard)}\n")
    print(_row("weights", ["mean over tasks", "hard tasks", "worst task", "mean, last epoch", "hard tasks, last epoch"]))
    print(_row("---", ["---"] * 5))
    print(_row("equal", [f"{mean_interval(each):.1f}" for each in equal]))
    for label, spec in labels.items():
        print(_changes(label, points(spec), equal))
    for label, (later, former) in EFFECTS.items():
        print(_changes(f"**{label}**", points(labels.get(later, later)), points(labels.get(former, former))), flush=True)


def _last(run: records.Record, measures: Sequence[Objective]) -> list[float]:
    kpis = {task: run.curve(task, "validation_kpi")[-1] for task in run.tasks}
    return [100 * measure.value(kpis) for measure in measures]


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


def search_row(folder: Path, name: str, workers: int | None) -> None:
    of, maximise, keep = SEARCHES[name]
    problem, home = PROBLEMS[of], folder / "search" / name
    search = Search(
        problems=[problem.name], maximise=maximise, keep=[keep], epochs=problem.epochs, cost=False, workers=workers
    )
    home.mkdir(parents=True, exist_ok=True)
    with _Clock(home / "seconds.txt") as clock:
        found = search.run(home).cases[0].search
    assert found is not None
    cells = [f"`{maximise}`, `{keep}`", f"`{found.winner}`" if found.winner else "none"]
    change = found.fresh.get(found.winner or "")
    cells += [f"{change.objective:+.1f}", f"{change.kept[0]:+.1f}"] if change else ["0", "0"]
    cells += [
        "yes" if found.verdict and found.verdict.recommended else "no",
        number_text(found.gain, "+.1f"),
        number_text(found.chance, "+.1f"),
    ]
    cells += [f"{found.cost:.0f} + {found.fresh_cost:.0f}", f"{clock.seconds / _single_seconds(folder, problem):.1f}"]
    print(_row(name, cells), flush=True)


class _Clock:
    """Adds the time of a block to what a file has, also if the block is stopped."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds = float(file.read_text(encoding="utf-8")) if file.exists() else 0.0

    def __enter__(self) -> "_Clock":
        self.start = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += time.monotonic() - self.start
        self.file.write_text(str(self.seconds), encoding="utf-8")


def _single_seconds(folder: Path, problem: Problem) -> float:
    """The wall time of one run of equal weights."""
    file = folder / "single" / f"{Path(problem.name).stem}.jsonl"
    if not file.exists():
        fit(Trial.plan(problem.name, Spec("equal"), epochs=problem.epochs), record_file=file, accelerator="cpu")
    return records.read(file).seconds


def _changes(label: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    return _row(label, [f"{paired_interval(*pair):+.1f}" for pair in zip(ours, theirs, strict=True)])


def _row(label: str, cells: Sequence[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"


PARTS: dict[str, tuple[Callable[[Path, str, int | None], None], Sequence[str]]] = {
    "order": (order_table, ORDERS),
    "search": (search_row, list(SEARCHES)),
}
COLUMNS = (
    "objective, kept",
    "winner",
    "objective",
    "mean",
    "recommended",
    "gain in the search",
    "by chance",
    "runs",
    "time",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--workers", type=int, help="runs at a time; default: one per core")
    arguments = parser.parse_args()
    known = [f"{part}:{name}" for part, (_, names) in PARTS.items() for name in names]
    asked = arguments.parts or list(PARTS)
    if unknown := [part for part in asked if part not in PARTS and part not in known]:
        parser.error(f"there is no part {unknown[0]}; the parts are {', '.join(known)}")
    torch.set_num_threads(1)
    (arguments.folder / "single").mkdir(parents=True, exist_ok=True)
    for part, (run, names) in PARTS.items():
        chosen = [name for name in names if part in asked or f"{part}:{name}" in asked]
        if part == "search" and chosen:
            print(_row("search", COLUMNS) + "\n" + _row("---", ["---"] * len(COLUMNS)), flush=True)
        for name in chosen:
            run(arguments.folder, name, arguments.workers)


if __name__ == "__main__":
    main()
