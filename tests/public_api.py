"""The public API as text: names with their signatures, and commands with their options.

`python tests/public_api.py` writes tests/public_api.txt, which test_public_api.py compares with the code.
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
    "hardfirst.study",
)


def text() -> str:
    """Return the whole API."""
    names = [f"{module}\n" + "".join(f"    {line}\n" for line in _names(module)) for module in MODULES]
    from hardfirst.cli import app

    return "\n".join([*names, "\n".join(_commands("hardfirst", typer.main.get_command(app))) + "\n"])


def _names(name: str) -> Iterator[str]:
    module = import_module(name)
    own = [each for each, value in vars(module).items() if getattr(value, "__module__", None) == name and each[0] != "_"]
    for public in sorted(getattr(module, "__all__", own)):
        value = getattr(module, public)
        if inspect.ismodule(value):
            yield f"{public}: module"
        elif inspect.isclass(value):
            yield f"class {public}{_signature(value)}"
            yield from (f"    {line}" for line in _members(value))
        elif callable(value):
            yield f"{public}{_signature(value)}"
        else:
            yield f"{public}: {type(value).__name__}"


def _members(owner: type) -> Iterator[str]:
    """List a class's own public methods and properties; those of a base are listed there."""
    for name, member in sorted(vars(owner).items()):
        if name[0] == "_":
            continue
        inner = getattr(member, "__func__", member)
        if inspect.isfunction(inner):
            yield f"{name}{_signature(inner)}"
        elif isinstance(member, property):
            yield f"{name}: property"


def _signature(value: object) -> str:
    """Return names and defaults; annotations have many spellings."""
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except ValueError:
        return ""
    empty = inspect.Parameter.empty
    plain = [parameter.replace(annotation=empty) for parameter in signature.parameters.values()]
    said = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", said)


def _commands(name: str, command: Any) -> Iterator[str]:
    options = [f"{'/'.join(option.opts + option.secondary_opts)}={option.default!r}" for option in command.params]
    yield " ".join([name, *options])
    for child, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(f"{name} {child}", inner)


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")
