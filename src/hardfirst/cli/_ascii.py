"""What a terminal shows that cannot encode a character."""

import codecs
import unicodedata

HANDLER = "hardfirst.ascii"
"""The name of the handler for `errors=` of a text stream."""

_NEAREST = {
    **{"−": "-", "–": "-", "…": "...", "×": "x", "·": "*", "±": "+/-", "→": "->", "←": "<-", "∝": "~", "≈": "~"},
    **{
        "≤": "<=",
        "≥": ">=",
        "‖": "||",
        "½": "1/2",
        "√": "sqrt ",
        "∇": "grad ",
        "∈": " in ",
        "Δ": "D",
        "Σ": "sum",
        "Π": "prod",
    },
    **{"’": "'", "‘": "'", "“": '"', "”": '"', "\N{NO-BREAK SPACE}": " ", "●": "*", "✓": "ok"},
}


def register() -> None:
    """Register the handler."""
    codecs.register_error(HANDLER, _replace)


def nearest(character: str) -> str:
    """What stands for a character in ASCII; a question mark where there is nothing like it.

    >>> "".join(map(nearest, "−3.9 ≤ ö, α"))
    '-3.9 <= o, alpha'
    """
    if character in _NEAREST or character.isascii():
        return _NEAREST.get(character, character)
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):
        return name.rpartition(" ")[2].lower()
    if unicodedata.combining(character):
        return ""
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(nearest, error.object[error.start : error.end])), error.end
