"""Text that comes from files, made safe to print."""

import re
from typing import Any

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""Replace control characters, which could rename or clear a terminal, by U+FFFD; line breaks and tabs stay.

    >>> printable("dtp\x1b]0;title\x07")
    'dtp�]0;title�'
    """
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def printable_json(text: str, content: Any) -> Any:
    """Return the content parsed from a JSON text, with `printable` names and values."""
    # most texts contain neither a backslash, with which JSON escapes control characters, nor a raw control character
    return _printable(content) if "\\" in text or _CONTROLS.search(text) else content


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value
