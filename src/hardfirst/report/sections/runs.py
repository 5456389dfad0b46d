"""The section on runs: how they ended, which epochs were selected, and what they cost."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from hardfirst.records import Record
from hardfirst.records.names import SINGLE
from hardfirst.report.blocks import (
    Paragraphs,
    Section,
    Table,
    TableCell,
    TableRow,
    interval_cell,
    method_cell,
    number_cell,
    row,
    table,
)
from hardfirst.report.figures import Styles
from hardfirst.report.model.case import Case
from hardfirst.statistics import mean_interval


def section(case: Case, styles: Styles) -> Section:
    """A table of the methods' runs, and one of those that did not finish."""
    unfinished = unfinished_table(case) or Paragraphs(("All runs finished.",))
    return Section("Runs and cost", (cost_table(case, styles), unfinished), anchor="runs")


def cost_table(case: Case, styles: Styles) -> Table:
    """The number of runs, the epochs that their weights are from, and what they cost in time and memory."""
    columns = list(_columns(case))
    caption = " ".join(column.note for column in columns if column.note)
    rows = [row(method_cell(method, styles), [column.cell(method) for column in columns]) for method in case.methods]
    return table("Runs and cost by method", caption, ["Method", *(column.heading for column in columns)], rows)


class _Column(NamedTuple):
    """A column of the table: its heading, a method's cell, and what a reader has to know about it."""

    heading: str
    cell: Callable[[str], TableCell]
    note: str = ""


def _columns(case: Case) -> Iterator[_Column]:
    def runs(method: str) -> TableCell:
        finished = len(case.finished(method))
        return TableCell(f"{finished} of {len(case.of(method))}", value=finished)

    def epochs(method: str) -> TableCell:
        return _range_cell([len(record.epochs) for record in case.finished(method)])

    def selected(method: str) -> TableCell:
        tests = [record.test for record in case.finished(method) if record.test]
        firsts = [test["epoch"] - (test.get("averaged") or 1) + 1 for test in tests]
        return _range_cell([*firsts, *(test["epoch"] for test in tests)])

    def seconds(method: str) -> TableCell:
        return interval_cell(mean_interval(case.epoch_seconds(method)), "#.3g")

    def memory(method: str) -> TableCell:
        mean = mean_interval([record.memory / 2**20 for record in case.finished(method)]).mean
        return TableCell("–") if math.isnan(mean) else TableCell(f"{mean:,.0f}", value=mean)

    yield _Column("Finished runs", runs)
    yield _Column("Epochs", epochs)
    averaged = any(record.trial.get("last_epochs") for record in case.method_runs)
    yield _Column("Averaged epochs" if averaged else "Selected epoch", selected)
    note = (
        "Seconds per epoch are wall-clock time, the median of a run's epochs, then the mean over seeds; runs that share a "
        "machine may slow each other down."
    )
    yield _Column("Seconds per epoch", seconds, note)
    if case.costs:
        rounds = max(cost.rounds for cost in case.costs.values())
        note = (
            f"What a training step costs relative to {case.against} was measured in one process where the methods took "
            f"turns: median and quartiles over {rounds} rounds."
        )
        yield _Column(f"Step, relative to {case.against}", partial(_step_cost, case), note)
    elif case.compares:
        note = f"The cost of an epoch relative to {case.against} is paired by seed."
        yield _Column(f"Epoch, relative to {case.against}", partial(_epoch_cost, case), note)
    if not all(math.isnan(record.memory) for method in case.methods for record in case.finished(method)):
        note = "Peak memory is that of a run's whole process or, on a GPU, of its tensors: mean over seeds."
        yield _Column("Peak memory, MiB", memory, note)


def _step_cost(case: Case, method: str) -> TableCell:
    if method not in case.costs:
        return TableCell("–")
    cost = case.costs[method]
    text = "1" if method == case.baseline else f"{cost.relative:.2f} [{cost.low:.2f} to {cost.high:.2f}]"
    return TableCell(text, value=cost.relative)


def _epoch_cost(case: Case, method: str) -> TableCell:
    if method == case.baseline:
        return TableCell("1", value=1)
    seconds, base = case.epoch_seconds(method), case.epoch_seconds(case.baseline)
    ratios = np.divide(seconds, base, out=np.full_like(seconds, np.nan), where=base > 0)
    return interval_cell(mean_interval(ratios), ".2f")


def _range_cell(numbers: Sequence[int]) -> TableCell:
    if not numbers:
        return TableCell("–")
    low, high = min(numbers), max(numbers)
    return TableCell(str(low) if low == high else f"{low} to {high}", value=low)


def reported_runs(case: Case) -> Iterator[tuple[str, Record]]:
    """All runs that are reported on, each with the name of what it is a run of."""
    for method in dict.fromkeys((*case.methods, *case.controls, *case.grid)):
        yield from ((method, record) for record in case.of(method))
    yield from ((f"{SINGLE}, {task}", record) for (task, _), record in case.single.items())


def unfinished_table(case: Case) -> Table | None:
    """The runs that did not finish, each with its reason; None if all finished."""
    rows = [_unfinished_row(name, record) for name, record in reported_runs(case) if record.outcome != "finished"]
    if not rows:
        return None
    caption = "Runs that did not finish. They are in no test figure."
    return table("Runs that did not finish", caption, ["Method", "Seed", "Outcome", "Epochs done", "Reason"], rows)


def _unfinished_row(name: str, record: Record) -> TableRow:
    seed, epochs = (number_cell(number, "d") for number in (record.trial["seed"], len(record.epochs)))
    outcome, reason = record.outcome or "no end recorded", record.reason or "–"
    return row(TableCell(name, breakable=True), [seed, outcome, epochs, reason])
