"""`census` with the first 20,096 people of its training split and 10,000 of validation, for benchmarks of many runs."""

from dataclasses import replace

from hardfirst.problems import Problem, Splits, TensorTable
from hardfirst.problems.builtin import census

BATCH = 128
TRAIN, VALIDATION = 157 * BATCH, 10_000


def problem() -> Problem:
    """Return the problem."""
    return replace(census.problem(), name="small_census", data=data, batch_size=BATCH)


def data() -> Splits:
    """Return the splits."""
    whole = census.data()
    return Splits(first(whole.train, TRAIN), first(whole.validation, VALIDATION), whole.test)


def first(table: TensorTable, count: int) -> TensorTable:
    """The first examples of a table."""
    return TensorTable(*table[slice(count)])
