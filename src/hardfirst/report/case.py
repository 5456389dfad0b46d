"""The runs of one problem and network, arranged: which methods ran, with which seeds, and what came of each run."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardfirst.errors import InputError
from hardfirst.networks import NetworkSpec
from hardfirst.records import Record
from hardfirst.records.cost import StepCost
from hardfirst.records.names import OWN
from hardfirst.records.study_folder import Run

EQUAL = "equal"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """The runs of one problem and network.

    Methods stand in alphabetical order, the baseline first and static weights from a grid last, seeds in ascending order:
    nothing depends on the order in which the records were found.

    Args:
        problem: its name.
        network: which of the problem's.
        tasks: their names.
        methods: what is compared.
        controls: variants of DTP that tell why it does what it does.
        grid: static weights that are shown whole as a reference.
        static: what the static weights chosen from a grid are called; None where there are none.
        seeds: of the runs that are reported on.
        runs: by method, control or grid point, and seed.
        single: single-task networks' runs by task and seed.
        tuning: by method, the runs that its settings were chosen from, in the order in which they were tried.
        single_tuning: the same of the single-task networks, by task.
        costs: what a step of each method costs, where that was measured.
        baseline: the method that the others are held against.
        orders: in a study of them, the orders of tasks that were run, by what `runs` calls them.
    """

    problem: str
    network: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: Mapping[tuple[str, int], Record]
    controls: tuple[str, ...] = ()
    grid: tuple[str, ...] = ()
    static: str | None = None
    single: Mapping[tuple[str, int], Record] = field(default_factory=dict)
    tuning: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    single_tuning: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    costs: Mapping[str, StepCost] = field(default_factory=dict)
    baseline: str = EQUAL
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def against(self) -> str:
        """The baseline in words."""
        return "equal weights" if self.baseline == EQUAL else self.baseline

    @property
    def name(self) -> str:
        """What to call it: the problem, and the network where it is not the problem's own."""
        return self.problem if self.network == OWN else f"{self.problem}, {self.network} network"

    @property
    def others(self) -> tuple[str, ...]:
        """The methods that are not the baseline."""
        return tuple(method for method in self.methods if method != self.baseline)

    @property
    def compares(self) -> bool:
        """Whether there are the baseline and something to hold against it."""
        return self.baseline in self.methods and len(self.methods) > 1

    def of(self, method: str) -> list[Record]:
        """The runs of a method, control or grid point by seed, however they ended."""
        return [self.runs[method, seed] for seed in self.seeds if (method, seed) in self.runs]

    def finished(self, method: str) -> list[Record]:
        """Those that came to their regular end."""
        return [record for record in self.of(method) if record.outcome == "finished"]

    def points(self, method: str) -> Array:
        """[seeds, tasks]: test KPI × 100, NaN for a seed whose run is missing or did not finish."""
        return self._by_seed(method, lambda record: [100 * record.test_kpi(task) for task in self.tasks])

    def single_points(self) -> Array:
        """[seeds, tasks]: test KPI × 100 of the single-task networks, NaN as in `points`."""
        return np.array(
            [
                [100 * run.test_kpi(task) if (run := self.single.get((task, seed))) else np.nan for task in self.tasks]
                for seed in self.seeds
            ]
        )

    def weights(self, method: str) -> Array:
        """[seeds, tasks]: each task's effective weight, averaged over epochs, relative to the mean over tasks; NaN as in
        `points`, and for a task that never had a label.
        """

        def relative(record: Record) -> Array:
            curves = np.array([record.curve(task, "weight") for task in self.tasks])
            known = ~np.isnan(curves)
            counts = known.sum(axis=1)
            sums = np.where(known, curves, 0).sum(axis=1)
            means = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
            return np.asarray(means / np.nanmean(means))

        return self._by_seed(method, relative)

    def epoch_seconds(self, method: str) -> Array:
        """[seeds]: a run's median seconds per epoch, since the first epoch also pays for warming up; NaN as in `points`."""
        found = np.full(len(self.seeds), np.nan)
        for record in self.finished(method):
            if record.epochs:
                found[self.seeds.index(record.trial["seed"])] = np.median([line["seconds"] for line in record.epochs])
        return found

    def _by_seed(self, method: str, values: Callable[[Record], Any]) -> Array:
        found = np.full((len(self.seeds), len(self.tasks)), np.nan)
        for record in self.finished(method):
            found[self.seeds.index(record.trial["seed"])] = values(record)
        return found


def arrange(
    runs: Iterable[Run],
    costs: Mapping[str, StepCost] | None = None,
    baseline: str = EQUAL,
    network: str | None = None,
) -> Case:
    """Arrange the runs of one problem and network.

    Args:
        runs: in any order.
        costs: what a step of each method costs.
        baseline: the method that the others are held against.
        network: what the study calls the network; unless given, what the first record does.

    Raises:
        InputError: none is to be reported on; they are of different problems or tasks; or two are of one method and seed.
    """
    runs = list(runs)
    reported = [run for run in runs if not run.tuning and run.role != "single"]
    if not reported:
        raise InputError("Expected at least one run record to report on; got none.")
    _check_same_problem(runs, reported[0].record)
    compared = {run.method for run in reported if run.role in ("method", "static")}
    static = {run.method for run in reported if run.role == "static"}
    first = reported[0].record
    return Case(
        problem=first.trial["problem"],
        network=network or first.trial.get("network", OWN),
        tasks=first.tasks,
        methods=tuple(sorted(compared, key=lambda method: (method != baseline, method in static, method))),
        seeds=tuple(sorted({run.record.trial["seed"] for run in reported})),
        runs=_once((run.method, run) for run in reported),
        controls=tuple(dict.fromkeys(run.method for run in reported if run.role == "control")),
        grid=tuple(dict.fromkeys(run.method for run in reported if run.role == "grid")),
        static=next(iter(static), None),
        single=_once((run.record.tasks[0], run) for run in runs if run.role == "single" and not run.tuning),
        tuning=_grouped((run.method, run) for run in runs if run.role not in ("single", "order") and run.tuning),
        single_tuning=_grouped((run.record.tasks[0], run) for run in runs if run.role == "single" and run.tuning),
        costs=costs or {},
        baseline=baseline,
        orders={run.method: order_of(run.record) for run in reported if run.role == "order"},
    )


def order_of(record: Record) -> tuple[str, ...]:
    """The order of tasks in the run's task hierarchy."""
    order = NetworkSpec.read(record.trial["network"]).option("order")
    return tuple(map(str, order)) if isinstance(order, tuple) else ()


def as_runs(records: Iterable[Record]) -> list[Run]:
    """Records on their own as runs of the methods that they are of."""
    return [Run(record, record.trial["balancer"]) for record in records]


def _once(named: Iterable[tuple[str, Run]]) -> dict[tuple[str, int], Record]:
    """By name and seed. One record may come twice, since equal weights are a method and on the grid of two tasks as well."""
    found: dict[tuple[str, int], Record] = {}
    for name, run in named:
        key = (name, run.record.trial["seed"])
        if found.get(key, run.record) is not run.record:
            raise _two_runs(found[key], run.record)
        found[key] = run.record
    return found


def _grouped(named: Iterable[tuple[str, Run]]) -> dict[str, tuple[Record, ...]]:
    found: dict[str, list[Record]] = {}
    for name, run in named:
        found.setdefault(name, []).append(run.record)
    return {name: tuple(records) for name, records in found.items()}


def _check_same_problem(runs: list[Run], first: Record) -> None:
    for run in runs:
        record = run.record
        if record.trial["problem"] != first.trial["problem"]:
            problems = f"{first.trial['problem']!r} and {record.trial['problem']!r}"
            raise InputError(f"Expected records of one problem; got {problems}: make a report of each.")
        if record.tasks != first.tasks and run.role != "single":
            tasks = f"{', '.join(first.tasks)} and {', '.join(record.tasks)}"
            raise InputError(f"Expected records with the same tasks; got {tasks}: make a report of each.")


def _two_runs(one: Record, other: Record) -> InputError:
    run = f"{one.trial['balancer']} with seed {one.trial['seed']}"
    keys = sorted(key for key in {*one.trial, *other.trial} if one.trial.get(key) != other.trial.get(key))
    difference = f"which differ in {', '.join(keys)}" if keys else "with the same settings"
    return InputError(
        f"Expected one record for each method and seed; got two of {run}, {difference}: make a report of each setting."
    )


def setting(value: Any) -> str:
    """A trial's setting as text."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def settings(case: Case, key: str) -> dict[str, list[str]]:
    """The values that a trial setting took, each with the methods that ran with it."""
    found: dict[str, list[str]] = {}
    for method in case.methods:
        for value in dict.fromkeys(setting(record.trial.get(key)) for record in case.of(method)):
            found.setdefault(value, []).append(method)
    return found
