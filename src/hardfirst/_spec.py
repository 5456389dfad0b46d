"""What is made from a line of text, `name:key=value,key=value`: how the line is read and written."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from hardfirst.errors import InputError, unknown

Value = bool | int | float | str | None | tuple["Value", ...]

_GIVEN = ("tasks", "parts", "process_group")  # what whoever makes it has, and no text


@dataclass(frozen=True)
class SpecBase:
    """A name, and options sorted by their keys.

    A value is a number, true, false, none, a word, or a list joined by "+". An option that takes one value per task is
    written `gamma.depth=2` (the task is all that follows the first dot).

    A subclass has a `kind`, which errors call it by, and what there is to be made, `makers`.
    """

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    kind: ClassVar[str]
    makers: ClassVar[Mapping[str, Callable[..., Any]]]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one line.

        Raises:
            InputError: the name or an option is unknown, or a piece is not `key=value`.
        """
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"Expected a {cls.kind} as text, {next(iter(cls.makers))} or NAME:OPTION=VALUE; got {text!r}.")
        name, _, rest = text.strip().partition(":")
        if name not in cls.makers:
            raise unknown(cls.kind, name, cls.makers)
        options: dict[str, Value] = {}
        for piece in filter(None, (piece.strip() for piece in rest.split(","))):
            key, equals, value = piece.partition("=")
            if not equals or not key or not value:
                raise InputError(f"Expected options of {name!r} as key=value; got {piece!r}.")
            if key in options:
                raise InputError(f"Option {key!r} of {name!r} is given twice.")
            options[key] = _value(value)
        line = cls(name, tuple(sorted(options.items())))
        line._arguments()
        return line

    @classmethod
    def split(cls, text: str) -> list[str]:
        """The texts of several, joined by commas; a piece with "=" but no name goes on with the one before it.

        Raises:
            InputError: there is none.
        """
        texts: list[str] = []
        for piece in filter(None, (piece.strip() for piece in text.split(","))):
            if texts and "=" in piece and ":" not in piece.partition("=")[0]:
                texts[-1] += ("," if ":" in texts[-1] else ":") + piece
            else:
                texts.append(piece)
        if not texts:
            raise InputError(f"Expected at least one {cls.kind}; got none.")
        return texts

    def option(self, key: str) -> Value:
        """The option's value; None where it is not given."""
        return dict(self.options).get(key)

    def replace(self, options: Mapping[str, Value]) -> Self:
        """The same with these options in place of its own; the value None takes one away."""
        changed = {**dict(self.options), **options}
        return type(self)(self.name, tuple(sorted((key, value) for key, value in changed.items() if value is not None)))

    def __str__(self) -> str:
        text = ",".join(f"{key}={_text(value)}" for key, value in self.options)
        return f"{self.name}:{text}" if text else self.name

    def _arguments(self) -> dict[str, Any]:
        """The options as keyword arguments, `a.b=c` gathered to `a={b: c}`."""
        known, direct = _options(self.makers[self.name])
        arguments: dict[str, Any] = {direct: {}} if direct else {}
        for key, value in self.options:
            option, _, task = key.partition(".")
            if direct and option not in known:
                option, task = direct, key  # fixed:a=1 for fixed:weights.a=1
            if option not in known:
                raise unknown(f"option of {self.kind} {self.name!r}:", option, known)
            if not task:
                arguments[option] = value
            elif isinstance(nested := arguments.setdefault(option, {}), dict):
                nested[task] = value
            else:
                raise InputError(f"Option {option!r} of {self.name!r} is given both for all tasks and by task.")
        return arguments


def _options(maker: Callable[..., Any]) -> tuple[list[str], str | None]:
    """Its options, and the one, if any, that is a mapping and need not be named."""
    parameters = [p for p in inspect.signature(maker).parameters.values() if p.name not in _GIVEN]
    direct = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and "Mapping" in str(p.annotation)]
    return [parameter.name for parameter in parameters], direct[0] if direct else None


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
        return not math.isnan(float(text))  # which is a word: no option takes it, and it is not equal to itself
    except ValueError:
        return False


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        return "+".join(_text(item) for item in value)
    if isinstance(value, float):
        return str(value).replace("e+", "e")  # a plus would make it a list
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
