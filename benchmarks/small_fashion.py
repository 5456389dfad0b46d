"""`mnist_fashion:crowded` with 8,000 training and 2,000 validation images and batches of 8, for benchmarks of many runs."""

from dataclasses import replace

from hardfirst.problems import Problem, Splits
from hardfirst.problems.builtin import mnist_fashion
from small_census import first

BATCH = 8
TRAIN, VALIDATION = 1000 * BATCH, 2_000


def problem() -> Problem:
    """Return the problem."""
    return replace(mnist_fashion.crowded(), name="small_fashion", data=data, batch_size=BATCH, epochs=1)


def data() -> Splits:
    """Return the splits."""
    whole = mnist_fashion.data(crowded=True)
    return Splits(first(whole.train, TRAIN), first(whole.validation, VALIDATION), whole.test)
