"""Loads a problem by its name, or from a user's own Python file or table."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from hardfirst._user_file import explain_errors, file_sha256, load_module, modules_sha256
from hardfirst.errors import InputError, MissingPackage, unknown
from hardfirst.problems import PROBLEMS, fields, tables
from hardfirst.problems._base import Problem

T = TypeVar("T")

_CONTRACT = "(A problem file has a function `problem()` that returns a Problem: `hardfirst new` writes an example.)"


_LOADED: dict[Path, tuple[ModuleType, Problem]] = {}
"""By file, its module and problem in this process. `problem()` may be slow, so it is called once unless a file changes."""


def load_problem(name: str) -> Problem:
    """Return the built-in problem of this name, or the one that `problem()` in a user's Python file returns.

    A file is executed once per process, and again if it or a module that it imports has changed.

    Args:
        name: a name in `PROBLEMS`, or the path of a `.py` file, which is executed: load only files that you trust. Or a
            table with its targets, `table.csv?price=regression&sold=classification`; or one of `FIELDS` with the folder of
            its data, `nyuv2?data=DIR`.

    Raises:
        InputError: the name or file does not exist, or the file does not return a problem.

    Example:
        >>> load_problem("digits").name
        'digits'
    """
    if name in PROBLEMS:
        problem: Problem = PROBLEMS[name]()
        return problem
    if fields.is_folder_problem(name):
        return fields.load(name)
    if tables.is_table(name):
        return tables.load(name)
    path = Path(name)
    if path.suffix != ".py":
        tables.check_format(name)
        raise _unknown(name)
    if path.is_dir():
        raise InputError(f"{name} is a folder. Give a Python file in it.")
    if not path.is_file():
        raise InputError(
            f"There is no file {name}. A problem is a built-in one ({', '.join(PROBLEMS)}), a Python file, or a table."
        )
    module, location = load_module(path, contract=_CONTRACT), path.resolve()
    if location not in _LOADED or _LOADED[location][0] is not module:
        _LOADED[location] = module, _call(name, path, module)
    return _LOADED[location][1]


def digest(name: str) -> str | None:
    """Compute the SHA-256 of a user's file or folder, which identifies it anywhere; None for a built-in problem."""
    if fields.is_folder_problem(name):
        return fields.digest(name)
    if tables.is_table(name):
        return tables.digest(name)
    path = Path(name)
    return file_sha256(path) if path.suffix == ".py" and path.is_file() else None


def modules_digest(name: str) -> str | None:
    """Compute the SHA-256 of the local modules that a user's file imports; None if there are none, or no such file."""
    path = Path(name)
    return modules_sha256(path) if path.suffix == ".py" and path.is_file() else None


def _unknown(name: str) -> InputError:
    problem, mark, _ = name.partition("?")
    if mark and problem in PROBLEMS:
        return InputError(f"{problem} does not read a folder. Leave out {mark}{name.partition('?')[2]}.")
    error = PROBLEMS.unknown(problem)
    return (
        error
        if isinstance(error, MissingPackage)
        else unknown("problem", problem, [*PROBLEMS, *fields.FIELDS], listing="hardfirst list problems")
    )


def _call(name: str, path: Path, module: ModuleType) -> Problem:
    """Return the problem that a file's function returns."""
    function = getattr(module, "problem", None)
    if not callable(function):
        raise InputError(f"{path} has no function `problem()`; it should return a hardfirst.problems.Problem.")
    problem = explain_errors(Path(name), function, contract=_CONTRACT)
    if not isinstance(problem, Problem):
        raise InputError(f"`problem()` in {path} should return a Problem; it returned {type(problem).__name__}.")
    return problem


def explained(name: str, function: Callable[[], T]) -> T:
    """Call a function, and add the line to an error that comes from the user's Python file.

    Args:
        name: the name of the problem; errors from outside its file are passed on unchanged.
        function: the function to call.

    Raises:
        InputError: the function failed in the file, or raised an `InputError` itself.
    """
    return explain_errors(Path(name), function)
