"""The field's Δm: over metrics in their own units, lower is better."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hardfirst.records import PublishedMeasure, Record
from hardfirst.report.model.case import Case
from hardfirst.statistics import Interval, delta_m, mean_interval
from hardfirst.statistics.intervals import Array


class Measured(NamedTuple):
    """A measure and its task."""

    task: str
    measure: PublishedMeasure


def measured(case: Case) -> list[Measured]:
    """What the field's Δm averages over, in the order of the tasks."""
    return [Measured(task, measure) for task in case.tasks for measure in case.measures.get(task, ())]


def field_delta(values: Array, reference: Array, higher_is_better: Sequence[bool]) -> Array:
    """[seeds]: 100 · mean over measures of (−1)^[higher is better] · (x − reference)/reference.

    Args:
        values: x, [seeds, measures].
        reference: [measures], or [seeds, measures] for a difference that is paired by seed.
        higher_is_better: [measures].
    """
    return -delta_m(values, reference, [not higher for higher in higher_is_better])


def deltas(case: Case) -> dict[str, Interval]:
    """Each method's Δm over metrics; empty if the problem has no such measures, or there is no reference."""
    columns = measured(case)
    reference = _reference(case, columns)
    if reference is None:
        return {}
    higher = [column.measure.higher_is_better for column in columns]
    tables = {method: values(case, columns, _run_of(case, method)) for method in case.methods}
    return {method: mean_interval(field_delta(table, reference, higher)) for method, table in tables.items()}


def _reference(case: Case, columns: Sequence[Measured]) -> Array | None:
    if not columns or (case.reference == "own" and not case.single):
        return None
    if case.reference == "own":
        return values(case, columns, lambda task, seed: case.single.get((task, seed)))
    return np.array([np.nan if (value := each.measure.single_task) is None else value for each in columns])


def _run_of(case: Case, method: str) -> Callable[[str, int], Record | None]:
    return lambda task, seed: case.runs.get((method, seed))


def values(case: Case, columns: Sequence[Measured], run_of: Callable[[str, int], Record | None]) -> Array:
    """[seeds, measures]: what the runs measured on the test split; NaN where a run is missing or did not finish.

    Args:
        case: the case.
        columns: the measures.
        run_of: a task and a seed → the run that has the task's figures.
    """
    table = np.full((len(case.seeds), len(columns)), np.nan)
    for row, seed in enumerate(case.seeds):
        for column, (task, measure) in enumerate(columns):
            record = run_of(task, seed)
            if record is not None and record.outcome == "finished":
                table[row, column] = record.test_value(task, measure.name)
    return table
