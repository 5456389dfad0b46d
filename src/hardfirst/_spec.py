"""The syntax of specs, `name:key=value,key=value`: reading and writing them, and converting them to arguments."""

import inspect
import math
import re
import typing
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hardfirst.errors import InputError, unknown

Value = bool | int | float | str | None | tuple["Value", ...]

_SPEC = re.compile(r"([^=,]*\.py:\w+|[^:]*)(?::(.*))?", re.DOTALL)  # a name may be a class in a file


@dataclass(frozen=True)
class SpecBase:
    """A name, and options sorted by key.

    A value is a number, true, false, none, a word, or a list joined by "+". An option that takes one value per task is
    written `gamma.depth=2` (the task is everything after the first dot).

    A subclass sets `kind`, the word for it in errors; `registry`, the callables that take the options, by name; and
    `from_caller`, the parameters that the caller supplies and a spec cannot.
    """

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    kind: ClassVar[str]
    registry: ClassVar[Mapping[str, Callable[..., Any]]]
    from_caller: ClassVar[tuple[str, ...]] = ("tasks", "parts", "process_group")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a spec and check its name and options.

        Raises:
            InputError: the name or an option is unknown, or a piece is not `key=value`.
        """
        spec = cls.read(text)
        spec.arguments()
        return spec

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a spec without looking up its name: for example, a record is read without the balancer's file.

        Raises:
            InputError: a piece is not `key=value`, or an option is given twice.
        """
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"Expected a {cls.kind} as text, {next(iter(cls.registry))} or NAME:OPTION=VALUE; got {text!r}."
            )
        try:
            name, options = parse_options(text)
        except InputError:
            cls(_split_name(text)[0]).maker()  # an unknown name is the more likely mistake
            raise
        return cls(name, tuple(sorted(options.items())))

    @classmethod
    def split(cls, text: str) -> list[str]:
        """Split a list of specs joined by commas into the text of each spec.

        A piece with "=" but no name is a further option of the spec before it.

        Raises:
            InputError: the list is empty.
        """
        texts: list[str] = []
        for piece in filter(None, (piece.strip() for piece in text.split(","))):
            key, equals, _ = piece.partition("=")
            if texts and equals and ":" not in key:
                texts[-1] += (":" if _split_name(texts[-1])[1] is None else ",") + piece
            else:
                texts.append(piece)
        if not texts:
            raise InputError(f"Expected at least one {cls.kind}; got none.")
        return texts

    def maker(self) -> Callable[..., Any]:
        """Return the callable that takes the options.

        Raises:
            InputError: the name is unknown.
        """
        return self.registry[self.name]

    def option(self, key: str) -> Value:
        """Return the option's value; None if it is not given."""
        return dict(self.options).get(key)

    def replace(self, options: Mapping[str, Value]) -> Self:
        """Return the spec with these options changed or added; None removes one."""
        changed = {**dict(self.options), **options}
        return type(self)(self.name, tuple(sorted((key, value) for key, value in changed.items() if value is not None)))

    def __str__(self) -> str:
        text = ",".join(f"{key}={format_value(value)}" for key, value in self.options)
        return f"{self.name}:{text}" if text else self.name

    def arguments(self) -> dict[str, Any]:
        """Return the options as keyword arguments, with `a.b=c` collected to `a={b: c}`.

        Raises:
            InputError: the name or an option is unknown.
        """
        names, direct = _parameters(self.maker(), self.from_caller)
        arguments: dict[str, Any] = {direct: {}} if direct else {}
        for key, value in self.options:
            option, _, task = key.partition(".")
            if direct and option not in names:
                option, task = direct, key  # fixed:a=1 for fixed:weights.a=1
            if option not in names:
                raise unknown(f"option of {self.kind} {self.name!r}:", option, names)
            if not task:
                arguments[option] = value
            elif isinstance(nested := arguments.setdefault(option, {}), dict):
                nested[task] = value
            else:
                raise InputError(f"Option {option!r} of {self.name!r} is given both for all tasks and by task. Give one.")
        return arguments


def parse_options(text: str) -> tuple[str, dict[str, Value]]:
    """Parse `name:key=value,key=value` into the name and the options, without looking up either.

    The name may be a class in a file, `path/to/file.py:ClassName`.

    Raises:
        InputError: a piece is not `key=value`, or a key is given twice.

    >>> parse_options("dtp:gamma.depth=2,normalize=false")
    ('dtp', {'gamma.depth': 2, 'normalize': False})
    >>> parse_options("mine.py:LossRank:power=0.5")
    ('mine.py:LossRank', {'power': 0.5})
    """
    name, rest = _split_name(text)
    options: dict[str, Value] = {}
    for piece in filter(None, (piece.strip() for piece in (rest or "").split(","))):
        key, equals, value = piece.partition("=")
        if not equals or not key or not value:
            raise InputError(f"Expected options of {name!r} as key=value; got {piece!r}.")
        if key in options:
            raise InputError(f"Option {key!r} of {name!r} is given twice.")
        options[key] = _value(value)
    return name, options


def format_value(value: Value) -> str:
    """Format an option's value as in a spec.

    >>> format_value((0.5, True)), format_value(1e25)
    ('0.5+true', '1e25')
    """
    if isinstance(value, tuple):
        return "+".join(format_value(item) for item in value)
    if isinstance(value, float):
        return str(value).replace("e+", "e")  # a plus would make it a list
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def has_range(value: object) -> bool:
    """Return whether a value, or a spec with it, is a range in place of a number, from which a study's tuning draws.

    >>> has_range("1e-4..0.1"), has_range("adamw:weight_decay=1e-4..0.1"), has_range("adamw"), has_range(0.5)
    (True, True, False, False)
    """
    return isinstance(value, str) and ".." in value


def as_names(value: Value, tasks: Iterable[str]) -> Value:
    """Convert an option's list to names of tasks, including tasks whose names look like a number or another value.

    >>> as_names(("depth", 0, True), ["0", "depth", "True"])
    ('depth', '0', 'True')
    """
    if isinstance(value, str):
        return value
    tasks = list(tasks)
    names = {format_value(_value(task)): task for task in tasks} | {task: task for task in tasks}
    items = value if isinstance(value, tuple) else (value,)
    return tuple(names.get(text := format_value(item), text) for item in items)


def name_options(maker: Callable[..., Any], from_caller: Container[str]) -> list[str]:
    """Return the options that are lists of names, by their annotations."""
    parameters = _signature(maker).parameters.values()
    return [p.name for p in parameters if p.name not in from_caller and _is_names(p.annotation)]


def _split_name(text: str) -> tuple[str, str | None]:
    """Return the name, and the text of the options; None if there is no colon after the name."""
    match = _SPEC.fullmatch(text.strip())
    assert match is not None  # any text has a name
    return match[1], match[2]


def _parameters(maker: Callable[..., Any], from_caller: Container[str]) -> tuple[list[str], str | None]:
    """Return the names of the options, and the one, if any, that is a mapping by task and may be omitted in a spec."""
    parameters = [p for p in _signature(maker).parameters.values() if p.name not in from_caller]
    direct = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and _is_mapping(p.annotation)]
    return [parameter.name for parameter in parameters], direct[0] if direct else None


def _signature(maker: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(maker, eval_str=True)
    except NameError:  # an annotation of a user's class that is imported for type checking only
        return inspect.signature(maker)


def _is_mapping(annotation: Any) -> bool:
    """Return whether an annotation is a mapping, or a union with one."""
    origins = [typing.get_origin(each) or each for each in _alternatives(annotation)]
    return any(isinstance(origin, type) and issubclass(origin, Mapping) for origin in origins)


def _is_names(annotation: Any) -> bool:
    """Return whether an annotation is a list of strings, or a union with one."""
    return any(
        typing.get_origin(each) in (Sequence, list, tuple) and typing.get_args(each)[0] is str
        for each in _alternatives(annotation)
    )


def _alternatives(annotation: Any) -> list[Any]:
    return [annotation, *typing.get_args(annotation)] if not isinstance(annotation, str) else []


def _value(text: str) -> Value:
    if "+" in text.strip("+") and not _is_number(text):
        return tuple(_value(item) for item in text.split("+"))
    words: dict[str, Value] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    if not _is_number(text):
        return text
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))  # "nan" is a word: no option takes it, and it does not equal itself
    except ValueError:
        return False
