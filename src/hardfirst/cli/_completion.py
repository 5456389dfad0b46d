"""Names for the shell to complete. Importing them would import torch, for which nobody waits after a Tab."""

import ast
from collections.abc import Callable
from importlib import resources


def keys(file: str, table: str) -> list[str]:
    """The keys of a table of names, as they are written in a file of this package."""
    text = resources.files("hardfirst").joinpath(file).read_text(encoding="utf-8")
    for line in ast.parse(text).body:
        if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == table and isinstance(line.value, ast.Dict):
            return sorted(
                key.value for key in line.value.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )
    return []


def balancers() -> list[str]:
    """The names in `BALANCERS`."""
    return keys("balancers/_registry.py", "BALANCERS")


def networks() -> list[str]:
    """The names in `NETWORKS`."""
    return keys("networks/_registry.py", "NETWORKS")


def problems() -> list[str]:
    """The names in `PROBLEMS`."""
    from hardfirst.problems import PROBLEMS

    return sorted(PROBLEMS)


def one(names: Callable[[], list[str]], *besides: str) -> Callable[[str], list[str]]:
    """What completes a word to one of the names; typer calls it with what has been typed of the word."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in [*besides, *names()] if name.startswith(incomplete)]

    return complete


def several(names: Callable[[], list[str]], *besides: str) -> Callable[[str], list[str]]:
    """What completes the last of several names that are joined by commas."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in one(names, *besides)(last)]

    return complete
