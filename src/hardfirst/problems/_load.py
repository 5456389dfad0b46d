"""A problem by its name, or from a user's own Python file."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hardfirst._user_file import explain_errors, file_sha256, load_module
from hardfirst.errors import InputError, unknown
from hardfirst.problems import PROBLEMS, _table
from hardfirst.problems._base import Problem

T = TypeVar("T")

_CONTRACT = "(A problem file has a function `problem()` that returns a Problem: `hardfirst new` writes one to begin with.)"


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
    if name in PROBLEMS:
        problem: Problem = PROBLEMS[name]()
        return problem
    if _table.is_table(name):
        return _table.load(name)
    path = Path(name)
    if path.suffix != ".py":
        raise unknown("problem", name, PROBLEMS)
    if path.is_dir():
        raise InputError(f"{name} is a folder; give a Python file in it.")
    if not path.is_file():
        raise InputError(
            f"There is no file {name}. A problem is a built-in one ({', '.join(PROBLEMS)}), a Python file, or a CSV table."
        )
    function = getattr(load_module(path, contract=_CONTRACT), "problem", None)
    if not callable(function):
        raise InputError(f"{path} has no function `problem()`; it should return a hardfirst.problems.Problem.")
    problem = explained(name, function)
    if not isinstance(problem, Problem):
        raise InputError(f"`problem()` in {path} should return a Problem; it returned {type(problem).__name__}.")
    return problem


def digest(name: str) -> str | None:
    """The SHA-256 of a file's bytes, which stand for it wherever it lies; None for a built-in problem."""
    if _table.is_table(name):
        return _table.digest(name)
    path = Path(name)
    return file_sha256(path) if path.suffix == ".py" and path.is_file() else None


def explained(name: str, function: Callable[[], T]) -> T:
    """What the function returns; if it fails in the code of the Python file of this name, the error says in which line.

    Raises:
        InputError: it failed, or raised one itself.
    """
    return explain_errors(Path(name), function, contract=_CONTRACT)
