"""Records arranged for comparison: which methods ran, with which seeds, and what came of each run."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardfirst.errors import InputError
from hardfirst.record import Record

EQUAL = "equal"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """The runs of one problem, one for each method and seed.

    Methods stand in alphabetical order with equal weights first, seeds in ascending order: nothing depends on the order
    in which the records were found.
    """

    problem: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    runs: Mapping[tuple[str, int], Record]

    @property
    def others(self) -> tuple[str, ...]:
        """The methods that are not equal weights."""
        return tuple(method for method in self.methods if method != EQUAL)

    @property
    def compares(self) -> bool:
        """Whether there are equal weights and something to hold against them."""
        return EQUAL in self.methods and len(self.methods) > 1

    def of(self, method: str) -> list[Record]:
        """The method's runs by seed, however they ended."""
        return [self.runs[method, seed] for seed in self.seeds if (method, seed) in self.runs]

    def finished(self, method: str) -> list[Record]:
        """The method's runs that came to their regular end."""
        return [record for record in self.of(method) if record.outcome == "finished"]

    def points(self, method: str) -> Array:
        """[seeds, tasks]: test KPI × 100, NaN for a seed whose run is missing or did not finish."""
        found = np.full((len(self.seeds), len(self.tasks)), np.nan)
        for record in self.finished(method):
            row = self.seeds.index(record.trial["seed"])
            found[row] = [100 * record.test_kpi(task) for task in self.tasks]
        return found

    def epoch_seconds(self, method: str) -> Array:
        """[seeds]: a run's median seconds per epoch, since the first epoch also pays for warming up; NaN as in `points`."""
        found = np.full(len(self.seeds), np.nan)
        for record in self.finished(method):
            if record.epochs:
                found[self.seeds.index(record.trial["seed"])] = np.median([line["seconds"] for line in record.epochs])
        return found


def arrange(records: Iterable[Record]) -> Comparison:
    """Arrange the records of one comparison.

    Raises:
        InputError: there are none; they are of different problems or tasks; or two are of one method and seed.
    """
    records = list(records)
    if not records:
        raise InputError("Expected at least one run record to report on; got none.")
    _check_same_problem(records)
    runs: dict[tuple[str, int], Record] = {}
    for record in records:
        key = (record.trial["balancer"], record.trial["seed"])
        if key in runs:
            raise _two_runs(runs[key], record)
        runs[key] = record
    return Comparison(
        problem=records[0].trial["problem"],
        tasks=records[0].tasks,
        methods=tuple(sorted({method for method, _ in runs}, key=lambda method: (method != EQUAL, method))),
        seeds=tuple(sorted({seed for _, seed in runs})),
        runs=runs,
    )


def _check_same_problem(records: list[Record]) -> None:
    first = records[0]
    for record in records:
        if record.trial["problem"] != first.trial["problem"]:
            problems = f"{first.trial['problem']!r} and {record.trial['problem']!r}"
            raise InputError(f"Expected records of one problem; got {problems}: make a report of each.")
        if record.tasks != first.tasks:
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


def settings(comparison: Comparison, key: str) -> dict[str, list[str]]:
    """The values that a trial setting took, each with the methods that ran with it."""
    found: dict[str, list[str]] = {}
    for method in comparison.methods:
        for value in dict.fromkeys(setting(record.trial.get(key)) for record in comparison.of(method)):
            found.setdefault(value, []).append(method)
    return found
