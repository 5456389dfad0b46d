"""Problems to train on: data, a network and tasks. One built-in problem a file."""

from collections.abc import Callable

from hardfirst.problems import _load, brown, census, digits, mnist_fashion, optical, qm9, scenes
from hardfirst.problems._base import OWN, Choice, Measure, Metric, Problem, Splits, Task
from hardfirst.problems._csv import name as table_name
from hardfirst.problems._data import IGNORE, Batch, Split, TensorTable, Together, collate
from hardfirst.problems._load import digest, explained
from hardfirst.problems._sources import Source, data_folder

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "digits": digits.problem,
    "mnist_fashion": mnist_fashion.problem,
    "mnist_fashion:crowded": mnist_fashion.crowded,
    "mnist_fashion:apart": mnist_fashion.apart,
    "census": census.problem,
    "qm9": qm9.problem,
    "brown": brown.problem,
    "optical": optical.problem,
    "scenes": scenes.problem,
    "scenes:small": scenes.small,
}


def load_problem(name: str) -> Problem:
    """The built-in problem of this name, or the one that `problem()` in a user's Python file returns.

    Args:
        name: a name in `PROBLEMS`, or the path of a `.py` file. Its code is run: load only files that you trust. Or a table
            with its targets, `table.csv?price=regression&sold=classification`.

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
    "Choice",
    "Measure",
    "Metric",
    "Problem",
    "Source",
    "Split",
    "Splits",
    "Task",
    "TensorTable",
    "Together",
    "collate",
    "data_folder",
    "digest",
    "explained",
    "load_problem",
    "table_name",
]
