"""What users may build on, as text: names with their signatures, and commands with their options.

`python tests/public_api.py` writes it to tests/public_api.txt anew, which test_public_api.py holds against the code.
"""

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

SNAPSHOT = Path(__file__).with_suffix(".txt")
MODULES = (
    "hardfirst",
    "hardfirst.balancers",
    "hardfirst.errors",
    "hardfirst.functional",
    "hardfirst.integrations",
    "hardfirst.integrations.lightning",
    "hardfirst.integrations.transformers",
    "hardfirst.kpi",
    "hardfirst.losses",
    "hardfirst.networks",
    "hardfirst.problems",
    "hardfirst.records",
    "hardfirst.report",
    "hardfirst.stopping",
    "hardfirst.studies",
    "hardfirst.study",
)


def text() -> str:
    """All of it."""
    names = [f"{module}\n" + "".join(f"    {line}\n" for line in _names(module)) for module in MODULES]
    from hardfirst.cli import app

    return "\n".join([*names, "\n".join(_commands("hardfirst", typer.main.get_command(app))) + "\n"])


def _names(name: str) -> Iterator[str]:
    module = import_module(name)
    own = [each for each, one in vars(module).items() if getattr(one, "__module__", None) == name and each[0] != "_"]
    for public in sorted(getattr(module, "__all__", own)):
        found = getattr(module, public)
        if inspect.ismodule(found):
            yield f"{public}: module"
        elif inspect.isclass(found):
            yield f"class {public}{_signature(found)}"
            yield from (f"    {line}" for line in _members(found))
        elif callable(found):
            yield f"{public}{_signature(found)}"
        else:
            yield f"{public}: {type(found).__name__}"


def _members(found: type) -> Iterator[str]:
    """A class's own public methods and properties; those that a base has are listed there."""
    for name, one in sorted(vars(found).items()):
        if name[0] == "_":
            continue
        inner = getattr(one, "__func__", one)
        if inspect.isfunction(inner):
            yield f"{name}{_signature(inner)}"
        elif isinstance(one, property):
            yield f"{name}: property"


def _signature(found: object) -> str:
    """Names and defaults; annotations are spelt in many ways."""
    try:
        signature = inspect.signature(found)  # type: ignore[arg-type]
    except ValueError:
        return ""
    empty = inspect.Parameter.empty
    plain = [one.replace(annotation=empty) for one in signature.parameters.values()]
    said = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", said)


def _commands(name: str, command: Any) -> Iterator[str]:
    options = [f"{'/'.join(one.opts + one.secondary_opts)}={one.default!r}" for one in command.params]
    yield " ".join([name, *options])
    for each, one in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(f"{name} {each}", one)


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")
