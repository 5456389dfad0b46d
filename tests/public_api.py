"""What users may build on, as text: names with their signatures, and commands with their options.

`python tests/public_api.py` writes it to tests/public_api.txt anew, which test_public_api.py holds against the code.
"""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

SNAPSHOT = Path(__file__).with_suffix(".txt")
MODULES = (
    "hardfirst",
    "hardfirst.balancers",
    "hardfirst.compat",
    "hardfirst.errors",
    "hardfirst.functional",
    "hardfirst.integrations",
    "hardfirst.integrations.lightning",
    "hardfirst.integrations.transformers",
    "hardfirst.kpi",
    "hardfirst.losses",
    "hardfirst.networks",
    "hardfirst.problems",
    "hardfirst.recipes",
    "hardfirst.records",
    "hardfirst.report",
    "hardfirst.sklearn",
    "hardfirst.stopping",
    "hardfirst.studies",
    "hardfirst.study",
    "hardfirst.trackers",
    "hardfirst.trained",
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


@cache
def _public_classes() -> frozenset[type]:
    modules = map(import_module, MODULES)
    public = [getattr(module, name) for module in modules for name in getattr(module, "__all__", ())]
    return frozenset(each for each in public if inspect.isclass(each))


def _members(found: type) -> Iterator[str]:
    """A class's own public methods and properties and those of its private bases, but for what a public base lists."""
    public = [base for base in found.__mro__[1:] if base in _public_classes()]
    listed = {above for base in public for above in base.__mro__}
    own = [base for base in found.__mro__ if base not in listed and base.__module__.startswith("hardfirst.")]
    members = {name: one for base in reversed(own) for name, one in vars(base).items() if name[0] != "_"}
    for name, one in sorted(members.items()):
        line = _member(name, one)
        if line and all(line != _member(name, getattr(base, name, None)) for base in public):
            yield line


def _member(name: str, one: object) -> str | None:
    inner = getattr(one, "__func__", one)
    if inspect.isfunction(inner):
        return f"{name}{_signature(inner)}"
    return f"{name}: property" if isinstance(one, property) else None


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
    if hasattr(command, "list_commands"):
        for each in sorted(command.list_commands(None)):
            yield from _commands(f"{name} {each}", command.get_command(None, each))


if __name__ == "__main__":
    SNAPSHOT.write_text(text(), encoding="utf-8")
