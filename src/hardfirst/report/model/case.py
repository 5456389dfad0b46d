"""The runs of one problem and network, by what they are in the comparison."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hardfirst._spec import Value, parse_options
from hardfirst.errors import InputError
from hardfirst.records import Record
from hardfirst.records.cost import StepCost
from hardfirst.records.description import Run
from hardfirst.records.measures import Measures
from hardfirst.records.names import EQUAL, HARD_TASKS, OWN, STATIC_FOR, static_by_measure
from hardfirst.records.table_card import TableCard
from hardfirst.statistics.intervals import Array

if TYPE_CHECKING:
    from hardfirst.report.model.search import Search


@dataclass(frozen=True)
class Case:
    """The runs of one problem and network.

    Methods are in alphabetical order, the baseline first and static weights from a grid last; seeds are in ascending order.
    Nothing depends on the order in which the records were read.

    Args:
        problem: its name.
        network: the name of the network.
        tasks: their names.
        methods: what is compared.
        seeds: of the runs that are reported on.
        runs: by method, control or grid point, and seed.
        controls: variants of a method that show why it works, each with that method; None if it is not known.
        grid: grid points of static weights, which are all shown as a reference.
        static: by headline measure, "worst" or "mean", the name of the static weights chosen from a grid for it, and for
            "criterion" if that is neither. In older studies one choice, by the criterion, stands for both.
        constant: the methods that are static weights given by the user.
        single: single-task networks' runs by task and seed.
        tuning: by method, the runs that its settings were chosen from, in the order in which they were tried.
        single_tuning: likewise for the single-task networks, by task.
        costs: by method, what a training step costs, if that was measured.
        baseline: the method that the others are compared with.
        by_hard_tasks: whether epochs and settings were chosen by hard tasks, which a run with the tuning seed measured.
        orders: in a study of orders, the order of tasks of each method.
        measures: by task, what the field's Δm averages over; empty where the field has none.
        trees: by task, the test KPI of gradient-boosted trees; empty where there are none.
        table: how the problem was read, if it is a table.
        search: what a search found before these runs; None in other studies.
        reference: what it is relative to: the "own" single-task networks, or the "published" ones.
    """

    problem: str
    network: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: Mapping[tuple[str, int], Record]
    controls: Mapping[str, str | None] = field(default_factory=dict)
    grid: tuple[str, ...] = ()
    static: Mapping[str, str] = field(default_factory=dict)
    constant: tuple[str, ...] = ()
    single: Mapping[tuple[str, int], Record] = field(default_factory=dict)
    tuning: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    single_tuning: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    costs: Mapping[str, StepCost] = field(default_factory=dict)
    baseline: str = EQUAL
    by_hard_tasks: bool = False
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    measures: Measures = field(default_factory=dict)
    reference: str = "own"
    trees: Mapping[str, float] = field(default_factory=dict)
    table: TableCard | None = None
    search: "Search | None" = None

    @property
    def against(self) -> str:
        """The baseline in words."""
        return "equal weights" if self.baseline == EQUAL else self.baseline

    @property
    def noun(self) -> str:
        """What is compared, in a word."""
        if self.orders:
            return "order"
        return "loss" if any(record.trial.get("loss") for record in self.method_runs) else "method"

    @property
    def name(self) -> str:
        """The problem, and the network unless it is the problem's own."""
        return self.problem if self.network == OWN else f"{self.problem}, {self.network} network"

    @property
    def others(self) -> tuple[str, ...]:
        """The methods that are not the baseline."""
        return tuple(method for method in self.methods if method != self.baseline)

    @property
    def compares(self) -> bool:
        """Whether there are the baseline and a method to compare with it."""
        return self.baseline in self.methods and len(self.methods) > 1

    def measure_of(self, method: str) -> str | None:
        """The headline measure that static weights were chosen by; None for what was chosen by the criterion."""
        return next((measure for measure, name in STATIC_FOR.items() if name == method), None)

    @property
    def method_runs(self) -> list[Record]:
        """The runs of all methods, however they ended."""
        return [record for method in self.methods for record in self.of(method)]

    def of(self, method: str) -> list[Record]:
        """The runs of a method, control or grid point by seed, however they ended."""
        return [self.runs[method, seed] for seed in self.seeds if (method, seed) in self.runs]

    def finished(self, method: str) -> list[Record]:
        """Its runs that finished."""
        return [record for record in self.of(method) if record.outcome == "finished"]

    def points(self, method: str) -> Array:
        """[seeds, tasks]: test KPI × 100; NaN for a seed whose run is missing or did not finish."""
        return self._by_seed(method, lambda record: [100 * record.test_kpi(task) for task in self.tasks])

    def single_points(self) -> Array:
        """[seeds, tasks]: test KPI × 100 of the single-task networks; NaN as in `points`."""
        return np.array(
            [
                [100 * run.test_kpi(task) if (run := self.single.get((task, seed))) else np.nan for task in self.tasks]
                for seed in self.seeds
            ]
        )

    def weights(self, method: str) -> Array:
        """[seeds, tasks]: effective weight, averaged over epochs, relative to the mean over tasks.

        NaN as in `points`, and for a task that never had a label.
        """

        def relative(record: Record) -> Array:
            means = np.array([record.mean_weight(task) for task in self.tasks])
            return np.asarray(means / np.nanmean(means))

        return self._by_seed(method, relative)

    def epoch_seconds(self, method: str) -> Array:
        """[seeds]: median seconds per epoch, since the first epoch includes warming up; NaN as in `points`."""
        seconds = np.full(len(self.seeds), np.nan)
        for record in self.finished(method):
            if record.epochs:
                seconds[self.seeds.index(record.trial["seed"])] = np.median([line["seconds"] for line in record.epochs])
        return seconds

    def settings(self, key: str) -> dict[str, list[str]]:
        """The values that a trial setting took, as text, each with the methods that ran with it."""
        methods: dict[str, list[str]] = {}
        for method in self.methods:
            for value in dict.fromkeys(setting_text(record.trial.get(key)) for record in self.of(method)):
                methods.setdefault(value, []).append(method)
        return methods

    def _by_seed(self, method: str, values: Callable[[Record], Any]) -> Array:
        table = np.full((len(self.seeds), len(self.tasks)), np.nan)
        for record in self.finished(method):
            table[self.seeds.index(record.trial["seed"])] = values(record)
        return table


def arrange(
    runs: Iterable[Run],
    costs: Mapping[str, StepCost] | None = None,
    baseline: str = EQUAL,
    network: str | None = None,
    reference: str = "own",
) -> Case:
    """Arrange the runs of one problem and network.

    Args:
        runs: in any order.
        costs: by method, what a training step costs.
        baseline: the method that the others are compared with.
        network: the study's name for the network. Default: the first record's.
        reference: of the field's Δm over metrics, as in `Case`.

    Raises:
        InputError: there is no run to report on; runs are of different problems or tasks; or two are of one method and seed.
    """
    runs = list(runs)
    reported = [run for run in runs if not run.entry.tuning and run.entry.role != "single"]
    if not any(run.entry.shown for run in runs):
        raise InputError("Expected at least one run record to report on; got none.")
    first = (reported or runs)[0].record
    _check_same_problem(runs, first)

    def with_role(*roles: str) -> list[Run]:
        return [run for run in reported if run.entry.role in roles]

    single = [run for run in runs if run.entry.role == "single"]
    tuning = [run for run in runs if run.entry.role not in ("single", "order", "candidate") and run.entry.tuning]
    static = sorted({run.entry.method for run in with_role("static")})
    compared = {run.entry.method for run in with_role("method", "static")}
    return Case(
        problem=first.trial["problem"],
        network=network or first.trial.get("network", OWN),
        tasks=first.tasks,
        methods=tuple(sorted(compared, key=lambda method: (method != baseline, method in static, method))),
        seeds=tuple(sorted({run.record.trial["seed"] for run in reported})),
        runs=_unique((run.entry.method, run) for run in reported),
        controls={run.entry.method: run.entry.control_of for run in with_role("control")},
        grid=tuple(dict.fromkeys(run.entry.method for run in with_role("grid"))),
        static=static_by_measure(static),
        constant=tuple(sorted({run.entry.method for run in reported if run.entry.constant_weights})),
        single=_unique((run.record.tasks[0], run) for run in single if not run.entry.tuning),
        tuning=_grouped((name, run) for run in tuning for name in _tuned(run, static)),
        single_tuning=_grouped((run.record.tasks[0], run) for run in single if run.entry.tuning),
        costs=costs or {},
        baseline=baseline,
        by_hard_tasks=any(run.entry.role == "order" and run.entry.method == HARD_TASKS for run in runs),
        orders={run.entry.method: order_of(run.record) for run in with_role("order")},
        measures=next((run.record.measures for run in reported if run.record.measures), {}),
        reference=reference,
    )


def order_of(record: Record) -> tuple[str, ...]:
    """The order of tasks in the run's task hierarchy; empty if its network has none."""
    order = options_of(record.trial["network"]).get("order")
    return tuple(map(str, order)) if isinstance(order, tuple) else ()


def options_of(spec: str) -> Mapping[str, Value]:
    """The options of a spec; empty for a text that is no spec, such as another library may have recorded."""
    try:
        return parse_options(spec)[1]
    except InputError:
        return {}


def given_weights(spec: str) -> Mapping[str, Value]:
    """The weights by task that a spec of static weights gives; empty for other specs."""
    prefix = "weights."
    return {key.removeprefix(prefix): value for key, value in options_of(spec).items() if key.startswith(prefix)}


def setting_text(value: Any) -> str:
    """A trial's setting as text.

    >>> setting_text({"optimizer": "sgd:momentum=0.9", "clip": 1.0})
    'clip 1.0, optimizer sgd:momentum=0.9'
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {setting_text(value[name])}" for name in sorted(value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _unique(named: Iterable[tuple[str, Run]]) -> dict[tuple[str, int], Record]:
    """By name and seed. One record may come twice: equal weights are a method and a point of the grid of two tasks."""
    records: dict[tuple[str, int], Record] = {}
    for name, run in named:
        key = (name, run.record.trial["seed"])
        if records.get(key, run.record) is not run.record:
            raise _two_runs(records[key], run.record)
        records[key] = run.record
    return records


def _tuned(run: Run, static: Sequence[str]) -> Sequence[str]:
    """The methods whose settings the tuning run serves to choose: the grid's runs serve all static weights."""
    return (static if run.entry.role == "static" else ()) or (run.entry.method,)


def _grouped(named: Iterable[tuple[str, Run]]) -> dict[str, tuple[Record, ...]]:
    groups: dict[str, list[Record]] = {}
    for name, run in named:
        groups.setdefault(name, []).append(run.record)
    return {name: tuple(records) for name, records in groups.items()}


def _check_same_problem(runs: list[Run], first: Record) -> None:
    for run in runs:
        record = run.record
        if record.trial["problem"] != first.trial["problem"]:
            problems = f"{first.trial['problem']!r} and {record.trial['problem']!r}"
            raise InputError(f"Expected records of one problem; got {problems}: make a report of each.")
        if record.tasks != first.tasks and run.entry.role != "single":
            tasks = f"{', '.join(first.tasks)} and {', '.join(record.tasks)}"
            raise InputError(f"Expected records with the same tasks; got {tasks}: make a report of each.")


def _two_runs(first: Record, second: Record) -> InputError:
    run = f"{first.trial['balancer']} with seed {first.trial['seed']}"
    keys = sorted(key for key in {*first.trial, *second.trial} if first.trial.get(key) != second.trial.get(key))
    difference = f"which differ in {', '.join(keys)}" if keys else "with the same settings"
    return InputError(
        f"Expected one record for each method and seed; got two of {run}, {difference}: make a report of each setting."
    )
