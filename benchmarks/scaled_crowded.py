"""`mnist_fashion:crowded` with the losses of its eight easy questions multiplied by 5."""

from hardfirst.problems import Problem
from hardfirst.problems.builtin import mnist_fashion
from scaled_fashion import scaled


def problem() -> Problem:
    """Return the problem."""
    return scaled(mnist_fashion.crowded(), "scaled_crowded")
