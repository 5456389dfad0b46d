"""Helpers that check the settings of a plan."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from hardfirst.errors import InputError, short


def joined(what: str, value: Any) -> str:
    """A text as it is, or texts in a list as one with commas.

    Raises:
        InputError: it is neither.
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise InputError(f"Expected {what}, as a list or joined by commas; got {short(value)}.")
    return ",".join(items)


def listed(value: Any) -> Any:
    """A text with commas as a list; anything else as it is."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def without_repeats(kind: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names.

    Raises:
        InputError: there is none, or one is given twice.
    """
    if not names:
        raise InputError(f"Expected at least one {kind}; got none.")
    for position, name in enumerate(names):
        if name in names[:position]:
            raise InputError(f"The {kind} {name!r} is given twice.")
    return names


def check_each(checks: Iterable[Callable[[], object]]) -> None:
    """Run all checks and raise their errors as one, a line each.

    Raises:
        InputError: a check raised one.
    """
    messages: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except InputError as error:
            messages[str(error)] = None
    if messages:
        raise InputError("\n".join(messages))


def as_input_error(error: ValidationError, names: list[str], typed: Mapping[str, str]) -> InputError:
    """All errors of a plan as one error, a line each.

    Args:
        error: pydantic's.
        names: those of all settings, for the nearest one to a name that is unknown.
        typed: by field, the setting by which the user set it, where that has another name.
    """
    lines = [f"{_location(detail, typed)}: {text}" for detail in error.errors() for text in _texts(detail, names)]
    return InputError(lines[0] if len(lines) == 1 else "\n  ".join([f"The study has {len(lines)} errors:", *lines]))


def _location(detail: Any, typed: Mapping[str, str]) -> str:
    first, *rest = detail["loc"]
    return typed.get(first, str(first)) + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)


def _texts(detail: Any, names: list[str]) -> list[str]:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"]).splitlines()
    if detail["type"] == "extra_forbidden":
        near = get_close_matches(str(detail["loc"][0]), names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "`hardfirst compare --help` lists them."
        return [f"there is no such setting; {hint}"]
    if detail["type"] == "missing":
        return [f"it has to be given, for example `{detail['loc'][0]}: [digits]`."]
    return [f"{detail['msg']}; got {short(detail['input'])}."]
