"""Errors that say what is wrong with an input and how to fix it, and checks that raise them."""

import errno
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from reprlib import Repr

_MOST_LISTED = 12  # names in an error
_ALIKE = 0.4  # the least similarity of names that an error suggests
# a warning does not point at lines of these packages, since they call hardfirst on the user's behalf
_HOSTS = frozenset(
    {"hardfirst", "torch", "lightning", "lightning_fabric", "pytorch_lightning", "transformers", "accelerate", "contextlib"}
)

# A YAML file's references can make a short file stand for a value of any size, so errors show one level of it.
_REPR = Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 1, 80, 80


class InputError(ValueError):
    """An input that hardfirst cannot work with. The message says what is wrong and how to fix it.

    The command line prints it and exits with code 2. In Python it is a `ValueError`.
    """


class MissingPackage(InputError):  # noqa: N818  # named after the problem
    """An optional package is missing. The message contains the command that installs it."""


def short(value: object) -> str:
    """Format a value of any size for an error.

    >>> short([1, [2, [3]], "x" * 100])
    "[1, [...], 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx']"
    """
    try:
        return _REPR.repr(value)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        return f"{type(value).__name__} with too many digits"


def warn_caller(text: str) -> None:
    """Warn at the user's line that led here, regardless of the calls in hardfirst and the host loop in between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _HOSTS:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` in the `with` block into an `InputError` that says why the file cannot be written.

    >>> with writing(Path("study.json")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    hardfirst.errors.InputError: study.json cannot be written: No space left on device. Free some space and ...
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "Free some space and continue: what was written before is kept." if full else "Choose another place for it."
        raise InputError(f"{path} cannot be written: {error.strerror or error}. {remedy}") from error


def unknown(kind: str, name: object, known: Iterable[str], *, where: str = "", listing: str | None = None) -> InputError:
    """Return the error for a name that is not among the known ones, with the nearest known names.

    Args:
        kind: the kind of thing that the name is for.
        name: the unknown name.
        known: the names to choose from. If there are more than twelve, the error lists at most the five nearest.
        where: what has the name, such as "in the objective 'dept'".
        listing: a command that lists all of them.

    Example:
        >>> str(unknown("task", "dept", ["depth", "segment"]))
        "Unknown task 'dept'; did you mean 'depth'? Known: depth, segment."
    """
    names = [str(each) for each in known]
    near = get_close_matches(str(name), names, n=1) or [each for each in names if each.lower() == str(name).lower()]
    hint = f" {where}".rstrip() + (f"; did you mean {near[0]!r}?" if near else ".")
    if len(names) <= _MOST_LISTED:
        return InputError(f"Unknown {kind} {short(name)}{hint} Known: {', '.join(names) or 'none'}.")
    ratios = {each: SequenceMatcher(None, str(name).lower(), each.lower()).ratio() for each in names}
    others = [each for each in names if ratios[each] > _ALIKE and each not in near]
    nearest = sorted(others, key=ratios.__getitem__, reverse=True)[:5]
    listed = f" {'Others near it' if near else 'The nearest'}: {', '.join(nearest)}." if nearest else ""
    remedy = f" `{listing}` lists all of them." if listing else ""
    return InputError(f"Unknown {kind} {short(name)}{hint}{listed}{remedy}")


def check_names(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise `InputError` for the first name that is not known."""
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
    finite: bool = True,
) -> float:
    """Return the value as a float, or raise an `InputError` that names the violated bound.

    >>> number("gamma", -1, least=0)
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected `gamma` to be at least 0; got -1.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise InputError(f"Expected `{name}` to be a number; got {short(value)}.")
    violated: Mapping[str, bool] = {
        f"at least {least}": least is not None and value < least,
        f"above {above}": above is not None and value <= above,
        f"at most {most}": most is not None and value > most,
        f"below {below}": below is not None and value >= below,
    }
    for bound, is_violated in violated.items():
        if is_violated:
            raise InputError(f"Expected `{name}` to be {bound}; got {short(value)}.")
    try:
        result = float(value)
    except OverflowError:  # an int of more than 308 digits
        result = math.inf
    if finite and math.isinf(result):
        raise InputError(f"Expected `{name}` to be a finite number; got {short(value)}.")
    return result


def whole(name: str, value: object, *, least: int) -> int:
    """Return the value as an int, or raise an `InputError`.

    >>> whole("epochs", 2.5, least=1)
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected `epochs` to be a whole number, at least 1; got 2.5.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"Expected `{name}` to be a whole number, at least {least}; got {short(value)}.")
    return value


def flag(name: str, value: object) -> bool:
    """Return the value as a bool, or raise an `InputError`, since every word would count as true.

    >>> flag("normalize", "no")
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected `normalize` to be true or false; got 'no'.
    """
    if not isinstance(value, int) or value not in (0, 1):
        raise InputError(f"Expected `{name}` to be true or false; got {short(value)}.")
    return bool(value)


def check_kpi(task: str, value: float) -> None:
    """Raise `InputError` unless a KPI is in [0, 1], up to rounding, or NaN.

    >>> check_kpi("depth", 71.0)
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected the KPI of task 'depth' to be in [0, 1]; got 71.0. Divide a percentage by 100.
    """
    number = float(value)
    if not math.isnan(number) and not -1e-6 <= number <= 1 + 1e-6:
        raise InputError(f"Expected the KPI of task {task!r} to be in [0, 1]; got {value}. Divide a percentage by 100.")


def mapping(name: str, value: object, example: str) -> None:
    """Raise `InputError` unless the value is a mapping.

    >>> mapping("losses", [1.0], "{'depth': loss}")
    Traceback (most recent call last):
    hardfirst.errors.InputError: Expected `losses` to be a mapping by task, such as {'depth': loss}; got list.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"Expected `{name}` to be a mapping by task, such as {example}; got {type(value).__name__}.")


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
    """Expand an option, a number or numbers by task, to one number per task; missing tasks get the default.

    >>> per_task("gamma", {"b": 2.0}, ["a", "b"], default=1.0)
    [1.0, 2.0]
    """
    if not isinstance(value, Mapping):
        return [number(name, value, least=least, above=above, most=most)] * len(tasks)
    check_names("task", value, tasks)
    return [number(f"{name}.{task}", value.get(task, default), least=least, above=above, most=most) for task in tasks]
