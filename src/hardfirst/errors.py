"""Errors that say what was wrong with an input, and what to do about it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches


class InputError(ValueError):
    """An input that hardfirst cannot work with; its text is a sentence for the user.

    The command line prints it and exits with code 2. In Python it is a `ValueError`.
    """


class MissingPackage(InputError):  # noqa: N818  # what is wrong, not that it is an error
    """Something that hardfirst can do without is not installed; the text has the command that installs it."""


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not among the known ones, with the nearest one that is.

    >>> str(unknown("task", "dept", ["depth", "segment"]))
    "Unknown task 'dept'; did you mean 'depth'? Known: depth, segment."
    """
    names = list(known)
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return InputError(f"Unknown {kind} {name!r}{hint} Known: {', '.join(names) or 'none'}.")


def check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `InputError` at the first name that is not known."""
    known = tuple(known)
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)


def number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """The value as a float, or an `InputError` that names the bound it breaks.

    >>> number("gamma", -1, least=0)
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected `gamma` to be at least 0; got -1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise InputError(f"Expected `{name}` to be a number; got {value!r}.")
    bounds: Mapping[str, bool] = {
        f"at least {least}": least is not None and value < least,
        f"above {above}": above is not None and value <= above,
        f"at most {most}": most is not None and value > most,
        f"below {below}": below is not None and value >= below,
    }
    for text, broken in bounds.items():
        if broken:
            raise InputError(f"Expected `{name}` to be {text}; got {value!r}.")
    return float(value)


def whole(name: str, value: object, *, least: int) -> int:
    """The value as an int, or an `InputError`.

    >>> whole("epochs", 2.5, least=1)
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected `epochs` to be a whole number, at least 1; got 2.5.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"Expected `{name}` to be a whole number, at least {least}; got {value!r}.")
    return value


def per_task(
    name: str,
    value: float | Mapping[str, float],
    tasks: Sequence[str],
    *,
    default: float,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> list[float]:
    """An option given for all tasks or by task, as one number per task; tasks that are left out get the default.

    >>> per_task("gamma", {"b": 2.0}, ["a", "b"], default=1.0)
    [1.0, 2.0]
    """
    if not isinstance(value, Mapping):
        return [number(name, value, least=least, above=above, most=most)] * len(tasks)
    check_names("task", value, tasks)
    return [number(f"{name}.{task}", value.get(task, default), least=least, above=above, most=most) for task in tasks]
