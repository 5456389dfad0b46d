"""Loads a problem by its name, or from a user's own Python file or table."""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, TypeVar

from hardfirst.errors import InputError
from hardfirst.problems import PROBLEMS, _table
from hardfirst.problems._base import Problem

T = TypeVar("T")

_CONTRACT = "(A problem file has a function `problem()` that returns a Problem: `hardfirst new` writes one to begin with.)"


class _Loaded(NamedTuple):
    """A user's problem, and the digest of the file that it was made from."""

    digest: str
    problem: Problem


_LOADED: dict[Path, _Loaded] = {}
"""By file, what this process has loaded: a file may read data or take long, so it is executed once unless it changes."""


def load_problem(name: str) -> Problem:
    """Return the built-in problem of this name, or the one that `problem()` in a user's Python file returns.

    A file is executed once per process, and again if its content has changed.

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
        raise PROBLEMS.unknown(name)
    if path.is_dir():
        raise InputError(f"{name} is a folder; give a Python file in it.")
    if not path.is_file():
        raise InputError(
            f"There is no file {name}. A problem is a built-in one ({', '.join(PROBLEMS)}), a Python file, or a CSV table."
        )
    content, location = _digest(path), path.resolve()
    if location not in _LOADED or _LOADED[location].digest != content:
        _LOADED[location] = _Loaded(content, _execute(name, path))
    return _LOADED[location].problem


def digest(name: str) -> str | None:
    """The SHA-256 of a user's file, which identifies it wherever it is; None for a built-in problem."""
    if _table.is_table(name):
        return _table.digest(name)
    path = Path(name)
    return _digest(path) if path.suffix == ".py" and path.is_file() else None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _execute(name: str, path: Path) -> Problem:
    """The problem that a file gives."""
    function = getattr(_module(path), "problem", None)
    if not callable(function):
        raise InputError(f"{path} has no function `problem()`; it should return a hardfirst.problems.Problem.")
    problem = explained(name, function)
    if not isinstance(problem, Problem):
        raise InputError(f"`problem()` in {path} should return a Problem; it returned {type(problem).__name__}.")
    return problem


def _module(path: Path) -> ModuleType:
    name = f"hardfirst_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} cannot be read as a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that classes defined in the file can be pickled
    loader = spec.loader
    explained(str(path), lambda: loader.exec_module(module))
    return module


def explained(name: str, function: Callable[[], T]) -> T:
    """Call a function, and let an error that comes from the user's Python file say in which line.

    Args:
        name: the problem's; other errors than those of its file are passed on as they are.
        function: what is called.

    Raises:
        InputError: the function failed in the file, or raised one itself.
    """
    path = Path(name)
    try:
        return function()
    except SystemExit as error:  # a script, for instance, that reads its own arguments
        if path.suffix != ".py" or not (line := _line(path, error)):
            raise
        raise InputError(f"{path}{line}: it ends the program, by SystemExit {error.code!r}. {_CONTRACT}") from error
    except Exception as error:
        line = _line(path, error)
        # without a line the error is not the file's but, say, that of a missing package or a full disk
        if path.suffix != ".py" or (isinstance(error, InputError | ImportError | OSError) and not line):
            raise
        message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{path}{line}: {message} {_CONTRACT}") from error


def _line(path: Path, error: BaseException) -> str:
    """Where in the file an error comes from, as part of a sentence; empty if it does not come from there."""
    if isinstance(error, SyntaxError) and error.lineno:
        return f", line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f", line {lines[-1]}" if lines else ""
