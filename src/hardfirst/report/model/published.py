"""Published figures of the field's benchmarks, each with its source: a reference, and no rival in any test."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import numpy as np

from hardfirst.report.model.case import Case
from hardfirst.report.model.field_delta import deltas, field_delta, measured, values
from hardfirst.statistics import Interval, mean_interval

MOST_COLUMNS = 12
"""The largest number of measures with a column each; with more, the table has only the mean."""


class PublishedRow(NamedTuple):
    """A method's published figures, in the units of the problem's metrics; NaN where none is published.

    Args:
        method: its name in the publication.
        network: what it was trained with.
        source: where the figures stand.
        values: one for each measure.
        mean: over the measures.
        delta: Δm over metrics against the published single-task networks, lower is better.
        rerun: that of another code's own run of the method.
    """

    method: str
    network: str
    source: str
    values: tuple[float, ...]
    mean: float
    delta: float
    rerun: float


class PublishedFigures(NamedTuple):
    """The published figures of a problem.

    Args:
        measures: pairs of a task and a metric, or "KPI".
        rows: one for each method and source.
        reruns: whose other runs of the methods there are.
    """

    measures: tuple[tuple[str, str], ...]
    rows: tuple[PublishedRow, ...]
    reruns: tuple[str, ...]


class PublishedTable(NamedTuple):
    """The study's methods and the published ones, with the same columns.

    Args:
        columns: what they are.
        specs: the format of each column's numbers.
        own: by method, the mean over seeds.
        published: each row with its numbers.
        reruns: as in `PublishedFigures`.
    """

    columns: tuple[str, ...]
    specs: tuple[str, ...]
    own: Mapping[str, tuple[Interval, ...]]
    published: tuple[tuple[PublishedRow, tuple[float, ...]], ...]
    reruns: tuple[str, ...]


def published_table(case: Case) -> PublishedTable | None:
    """The case's methods next to the published figures of its problem; None if there are none, or its tasks are others."""
    places = {(task, measure.name): index for index, (task, measure) in enumerate(measured(case))}
    figures = _read(case.problem.partition(" (")[0]) if places else None
    if figures is None or not set(figures.measures) <= places.keys():
        return None
    each = len(figures.measures) <= MOST_COLUMNS
    names = [f"{task}, {measure}" for task, measure in figures.measures] if each else ["mean over measures"]
    columns = [*names, "Δm, %", *["Δm of another code, %"] * bool(figures.reruns)]
    chosen = [places[measure] for measure in figures.measures]
    by_method = deltas(case)
    return PublishedTable(
        tuple(columns),
        tuple("+z.2f" if name.startswith("Δm") else "#.4g" for name in columns),
        {
            method: _own(case, method, chosen, by_method.get(method), each=each, count=len(columns))
            for method in case.methods
        },
        tuple((row, (*(row.values if each else [row.mean]), row.delta, row.rerun)[: len(columns)]) for row in figures.rows),
        figures.reruns,
    )


def _own(
    case: Case, method: str, chosen: Sequence[int], delta: Interval | None, *, each: bool, count: int
) -> tuple[Interval, ...]:
    found = values(case, measured(case), lambda _, seed: case.runs.get((method, seed)))[:, chosen]
    means = found if each else found.mean(axis=1, keepdims=True)
    nothing = mean_interval([])
    return (*map(mean_interval, means.T), delta or nothing, nothing)[:count]


@cache
def _read(problem: str) -> PublishedFigures | None:
    folder = resources.files("hardfirst.report") / "published"
    files = {file.name: file for file in folder.iterdir()}
    names = (f"{name}.json" for name in (problem.replace(":", "_"), problem.partition(":")[0]))
    file = next((files[name] for name in names if name in files), None)
    if file is None:
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    return PublishedFigures(
        tuple((task, measure) for task, measure in content["columns"]),
        tuple(row for group in content["groups"] for row in _rows(group, content["higher_is_better"])),
        tuple(group["rerun"] for group in content["groups"] if "rerun" in group),
    )


def _rows(group: Mapping[str, Any], higher_is_better: Sequence[bool]) -> list[PublishedRow]:
    single = group.get("single_task")
    rows = [*([{"method": "single-task", "values": single}] if single else []), *group["rows"]]
    return [_row(row, group, single, higher_is_better) for row in rows]


def _row(
    row: Mapping[str, Any], group: Mapping[str, Any], single: list[float] | None, higher_is_better: Sequence[bool]
) -> PublishedRow:
    numbers = np.array([row.get("values") or [None] * len(higher_is_better)], dtype=float)
    delta = float(field_delta(numbers, np.array(single), higher_is_better)[0]) if single else math.nan
    return PublishedRow(
        method=row["method"],
        network=group["network"],
        source=group["source"],
        values=tuple(numbers[0].tolist()),
        mean=row.get("mean", float(numbers.mean())),
        delta=row.get("delta", delta),
        rerun=row.get("rerun", math.nan),
    )
