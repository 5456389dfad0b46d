"""Problems to train on: data, a network and tasks. One built-in problem a file."""

from collections.abc import Callable

from hardfirst.problems import _load, digits
from hardfirst.problems._base import OWN, Measure, Metric, Problem, Splits, Task
from hardfirst.problems._data import IGNORE, Batch, Split, TensorTable, Together, collate
from hardfirst.problems._load import digest, explained

PROBLEMS: dict[str, Callable[[], Problem]] = {"digits": digits.problem}


def load_problem(name: str) -> Problem:
    """The built-in problem of this name, or the one that `problem()` in a user's Python file returns.

    Args:
        name: a name in `PROBLEMS`, or the path of a `.py` file. Its code is run: load only files that you trust.

    Raises:
        InputError: there is no such name or file, or the file does not give a problem.

    Example:
        >>> load_problem("digits").name
        'digits'
    """
    return _load.load(name, PROBLEMS)


__all__ = [
    "IGNORE",
    "OWN",
    "PROBLEMS",
    "Batch",
    "Measure",
    "Metric",
    "Problem",
    "Split",
    "Splits",
    "Task",
    "TensorTable",
    "Together",
    "collate",
    "digest",
    "explained",
    "load_problem",
]
