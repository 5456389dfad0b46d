"""Lists and cards as plain lines that fit the terminal."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

SCREEN = 40  # lines that a list should fit into
_WIDEST = 100  # characters in a line of running text, beyond which it is hard to read
_GAP = "  "


class Group(NamedTuple):
    """Entries under a heading; the last field of each entry is running text, the others are short."""

    heading: str
    entries: Sequence[Sequence[str]]


def listing(columns: Sequence[str], groups: Sequence[Group], closing: str, width: int) -> str:
    """All entries in aligned columns, each on as few lines as it takes for the list to fit a screen.

    Texts are cut at a word, with "…", where they do not fit.

    Args:
        columns: the headings of the fields.
        groups: the entries; a heading may be "".
        closing: the last line.
        width: of the terminal, in characters.
    """
    widths = [max(map(len, column)) for column in zip(columns, *(e for g in groups for e in g.entries), strict=True)][:-1]
    indent = "" if len(groups) == 1 else _GAP
    for most in (3, 2, 1):
        lines = [indent + _joined(columns, widths)]
        for group in groups:
            lines += [group.heading] if group.heading else []
            lines += [line for entry in group.entries for line in _entry(entry, widths, indent, width, most)]
        lines += textwrap.wrap(closing, width, break_on_hyphens=False)
        if len(lines) <= SCREEN:
            break
    return "\n".join(lines)


def _joined(fields: Sequence[str], widths: Sequence[int]) -> str:
    *short, text = fields
    return _GAP.join([*(f"{field:{size}}" for field, size in zip(short, widths, strict=True)), text])


def _entry(entry: Sequence[str], widths: Sequence[int], indent: str, width: int, most: int) -> list[str]:
    """The lines of an entry, at most `most`."""
    *short, text = entry
    first = indent + _joined([*short, ""], widths)
    room = max(20, width - len(first))
    parts = textwrap.wrap(text, room, max_lines=most, placeholder=" …", break_on_hyphens=False) or [""]
    return [f"{first if number == 0 else ' ' * len(first)}{part}".rstrip() for number, part in enumerate(parts)]


def card(name: str, sentence: str, parts: Mapping[str, str | Mapping[str, str]], width: int) -> str:
    """A name with what is known about it.

    Args:
        name: what the card is of.
        sentence: what it is.
        parts: by heading a text, or texts by name; empty ones are left out.
        width: of the terminal, in characters.
    """
    return "\n".join(_card_lines(name, sentence, parts, min(width, _WIDEST)))


def _card_lines(name: str, sentence: str, parts: Mapping[str, str | Mapping[str, str]], width: int) -> Iterator[str]:
    yield from wrapped(f"{name}: {sentence}", width)
    yield ""
    for heading, part in parts.items():
        if isinstance(part, str):
            yield from wrapped(f"{heading}: {part}", width) if part else ()
        elif part:
            yield f"{heading}:"
            for option, text in part.items():
                yield from (f"  {line}" for line in wrapped(f"{option}: {text}", width - 2))
        else:
            yield f"{heading}: none"


def wrapped(text: str, width: int, indent: str = "    ") -> list[str]:
    """A paragraph in lines, all but the first indented; no word, path or address is broken."""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
