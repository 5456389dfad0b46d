"""A comparison as pandas frames."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hardfirst.records import Record
from hardfirst.records.names import SINGLE
from hardfirst.records.selection import chosen
from hardfirst.report.model.case import Case, setting_text
from hardfirst.report.model.leaderboard import leaderboard
from hardfirst.report.model.summary import summary
from hardfirst.statistics import Interval, mean_interval

if TYPE_CHECKING:
    import pandas as pd

Rows = Iterator[dict[str, Any]]


def _frame(rows: Rows) -> "pd.DataFrame":
    import pandas as pd  # slow to import, and most reports need no frame

    return pd.DataFrame(list(rows))


def runs(cases: Iterable[Case]) -> "pd.DataFrame":
    """A row for each run that is reported on and each of its tasks.

    Columns: problem, network, method, role ("method", "control", "grid", "single-task"), seed, task, outcome, balancer (the
    spec that ran), learning_rate, epoch (the selected one), kpi and loss on the test split, one column for each of the
    tasks' metrics, weight (mean over epochs), seconds. NaN if a run did not finish.
    """
    return _frame(row for case in cases for row in _runs(case))


def _runs(case: Case) -> Rows:
    groups: dict[str, Iterable[str]] = {"method": case.methods, "control": case.controls, "grid": case.grid}
    for role, methods in groups.items():
        for method in methods:
            for record in case.of(method):
                yield from _tasks(case, method, role, record)
    for record in case.single.values():
        yield from _tasks(case, SINGLE, SINGLE, record)


def _tasks(case: Case, method: str, role: str, record: Record) -> Rows:
    for task in record.tasks:
        figures = record.test["tasks"][task] if record.test else {}
        yield {
            "problem": case.problem,
            "network": case.network,
            "method": method,
            "role": role,
            "seed": record.trial["seed"],
            "task": task,
            "outcome": record.outcome,
            "balancer": record.trial["balancer"],
            "learning_rate": record.trial.get("learning_rate"),
            "epoch": record.test["epoch"] if record.test else math.nan,
            "kpi": figures.get("kpi", math.nan),
            "loss": figures.get("loss", math.nan),
            "weight": record.mean_weight(task),
            "seconds": record.seconds,
            **record.test_metrics(task),
        }


def summaries(cases: Iterable[Case]) -> "pd.DataFrame":
    """A row for each task, measure and method: the numbers of the page.

    Columns: problem, network, row (a task, "worst task", "mean over tasks", …), kind (see `report.Row`), method, role
    ("baseline", "method", "static", "single-task"), n, mean, low and high (the 95% interval; points, that is KPI × 100, but
    for ranks and Δm), difference, difference_low and difference_high (method − baseline, paired by seed), and decision (of
    the test on the worst task and on the mean; empty for what is not tested).

    A search adds rows of kind "objective" and "keep" for the methods on fresh seeds; and rows of kind "rung" for each rung,
    candidate and measure, of the validation split, where difference_low is the lower bound and difference_high as far above.
    """
    return _frame(row for case in cases for row in (*_summary(case), *_searched(case)))


def _summary(case: Case) -> Rows:
    found, board = summary(case), leaderboard(case)
    standings = {name: row for row in board.rows for name in row.names}
    for row in found.rows:
        for method, standing in standings.items():
            cell, decision = row.cells[method], standing.decisions.get(row.kind)
            role = "static" if method in case.static.values() else standing.role
            yield _row(case, row.name, row.kind, method, role, cell.kpi, cell.difference) | {"decision": decision}
        if row.name in found.single:
            yield _row(case, row.name, row.kind, SINGLE, SINGLE, found.single[row.name], None) | {"decision": None}


def _searched(case: Case) -> Rows:
    if (search := case.search) is None:
        return
    texts = [measure.text for measure in search.measures]
    for name, change in search.fresh.items():
        kinds = ("objective", *["keep"] * len(change.kept))
        for text, kind, interval in zip(texts, kinds, (change.objective, *change.kept), strict=True):
            yield _row(case, text, kind, name, "method", None, interval)
    for rung in search.ended_rungs:
        for name, standing in rung.standings.items():
            for text, gain in zip(texts, (standing.objective, *standing.kept), strict=True):
                interval = Interval(gain.mean, gain.low, 2 * gain.mean - gain.low, standing.seeds)
                yield _row(case, f"rung {rung.number}: {text}", "rung", name, "candidate", None, interval)


def _row(
    case: Case, row: str, kind: str, method: str, role: str, kpi: Interval | None, difference: Interval | None
) -> dict[str, Any]:
    change, change_low, change_high, n = difference or mean_interval([])
    return {
        "problem": case.problem,
        "network": case.network,
        "row": row,
        "kind": kind,
        "method": method,
        "role": role,
        "n": kpi.n if kpi else n,
        **({"mean": kpi.mean, "low": kpi.low, "high": kpi.high} if kpi else {}),
        "difference": change,
        "difference_low": change_low,
        "difference_high": change_high,
    }


def tuning(cases: Iterable[Case]) -> "pd.DataFrame":
    """A row for each run that settings were chosen from.

    Columns: problem, network, method, task (of a single-task network), balancer (the spec that was tried), learning_rate,
    recipe (what is not the default in it, as text), outcome, validation_kpi (at its best epoch, by the criterion, or by the
    measure that static weights are chosen for), chosen. Each choice of static weights has a row for each point of the grid.
    """
    return _frame(row for case in cases for row in _tuning(case))


def _tuning(case: Case) -> Rows:
    groups: list[tuple[str, str | None, Sequence[Record]]] = [
        *((method, None, records) for method, records in case.tuning.items()),
        *((SINGLE, task, records) for task, records in case.single_tuning.items()),
    ]
    for method, task, records in groups:
        measure = case.measure_of(method)
        best = chosen(records, measure)
        for index, record in enumerate(records):
            yield {
                "problem": case.problem,
                "network": case.network,
                "method": method,
                "task": task,
                "balancer": record.trial["balancer"],
                "learning_rate": record.trial.get("learning_rate"),
                "recipe": setting_text(recipe) if (recipe := record.trial.get("recipe")) else None,
                "outcome": record.outcome,
                "validation_kpi": record.selected(measure)[1],
                "chosen": index == best,
            }
