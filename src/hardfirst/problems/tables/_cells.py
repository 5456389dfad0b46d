"""What text in cells means: numbers with marks and units, and dates."""

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

_UNITS = r"[$€£¥%]|EUR|USD|GBP|CHF|JPY"
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+−])?\s*(?P<before>{_UNITS})?\s*(?P<second>[-−])?"
    rf"(?P<digits>\d[\d.,'’\s]*|[.,]\d+)(?P<exponent>[eE][-+]?\d+)?\s*(?P<after>{_UNITS})?(?P<close>\))?"
)
_DIGITS = {
    mark: re.compile(rf"(?P<whole>\d+|\d{{1,3}}(?P<group>[{other}'’\s])\d{{3}}((?P=group)\d{{3}})*)?({mark}(?P<rest>\d*))?")
    for mark, other in ((r"\.", ","), (",", "."))
}
_DATE = re.compile(
    r"(?P<first>\d{1,4})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<third>\d{1,4})"
    r"(?P<time>[ T]\d{1,2}:\d{2}(?P<seconds>:\d{2})?)?"
)
_NAMED_MONTHS = ("%d %b %Y", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y")


class NumberFormat(NamedTuple):
    """How the numbers of a column are written.

    Args:
        decimal: the decimal mark, "." or ",".
        unit: what stands before or after each of them, such as "€" or "%"; "" for nothing.
    """

    decimal: str = "."
    unit: str = ""

    def value(self, text: str) -> float:
        """The number that a cell holds; NaN if it holds none in this format."""
        parts = _parts(text)
        if parts is None or parts.unit != self.unit:
            return math.nan
        return parts.value(self.decimal)


class _Parts(NamedTuple):
    sign: float
    digits: str
    exponent: str
    unit: str

    def value(self, decimal: str) -> float:
        match = _DIGITS[r"\." if decimal == "." else ","].fullmatch(self.digits)
        if match is None:
            return math.nan
        whole = re.sub(r"\D", "", match["whole"] or "")
        return self.sign * float(f"{whole or 0}.{match['rest'] or 0}{self.exponent}")


@cache
def _parts(text: str) -> _Parts | None:
    match = _CELL.fullmatch(text.strip())
    if match is None or (match["open"] is None) != (match["close"] is None):
        return None
    if (match["before"] and match["after"]) or (match["sign"] and match["second"]):
        return None
    negative = match["open"] or match["sign"] in ("-", "−") or match["second"]
    return _Parts(
        -1.0 if negative else 1.0,
        match["digits"].strip(),
        match["exponent"] or "",
        match["before"] or match["after"] or "",
    )


def number_format(cells: Iterable[str], decimal: str) -> NumberFormat | None:
    """How cells write their numbers, if all of them are numbers with one unit and one decimal mark.

    Args:
        cells: different cells.
        decimal: the mark where either may be meant, as in "1,234".
    """
    parts = [_parts(cell) for cell in cells]
    known = [part for part in parts if part is not None]
    if not parts or len(known) < len(parts) or len({part.unit for part in known}) > 1:
        return None
    marks = [mark for mark in (decimal, "," if decimal == "." else ".") if not any(math.isnan(p.value(mark)) for p in known)]
    return NumberFormat(marks[0], known[0].unit) if marks else None


def is_ambiguous(cells: Iterable[str]) -> bool:
    """Whether the marks of numbers may separate thousands or decimals, as in "1,234"."""
    cells = list(cells)
    both = all(part is not None and not math.isnan(part.value(mark)) for part in map(_parts, cells) for mark in ".,")
    return both and any(mark in cell for cell in cells for mark in ".,")


def shows_decimal_comma(cells: Sequence[str]) -> bool:
    """Whether cells are numbers that can only be meant with a comma as the decimal mark."""
    found = number_format(cells, ".")
    return found is not None and found.decimal == ","


def date_format(cells: Sequence[str]) -> str | None:
    """The format of dates, as in `strptime`, if all cells are dates in one format; None otherwise.

    Where day and month may be exchanged in all of them, the day is first, but not between slashes.
    """
    matches = [_DATE.fullmatch(cell.strip()) for cell in cells]
    if not cells:
        return None
    if all(matches):
        return _numeric_format([match for match in matches if match])
    if any(matches) or not re.search(r"[A-Za-z]{3}", cells[0]):
        return None
    return next((form for form in _NAMED_MONTHS if _all_dates(cells, form)), None)


def _numeric_format(matches: Sequence["re.Match[str]"]) -> str | None:
    if len({(match["mark"], match["time"] is None, match["seconds"] is None) for match in matches}) > 1:
        return None
    mark, time = matches[0]["mark"], matches[0]["time"]
    if all(len(match["first"]) == 4 for match in matches):
        order = ["%Y", "%m", "%d"]
    elif all(len(match["third"]) == 4 for match in matches):
        month_first = any(int(match["second"]) > 12 for match in matches)
        day_first = any(int(match["first"]) > 12 for match in matches)
        order = ["%m", "%d", "%Y"] if month_first or (mark == "/" and not day_first) else ["%d", "%m", "%Y"]
    else:
        return None
    clock = "" if time is None else f"{time[0]}%H:%M" + (":%S" if matches[0]["seconds"] else "")
    form = mark.join(order) + clock
    return form if _all_dates([match[0] for match in matches], form) else None


def day_or_month_first(cells: Sequence[str], form: str) -> bool:
    """Whether day and month may be exchanged in all of the dates."""
    swapped = form.translate(str.maketrans("dm", "md"))
    return not form.startswith("%Y") and "%b" not in form.lower() and _all_dates(cells, swapped)


def _all_dates(cells: Sequence[str], form: str) -> bool:
    import pandas as pd

    return bool(pd.to_datetime(pd.Series(cells).str.strip(), format=form, errors="coerce").notna().all())


def label_text(value: object) -> str:
    """A class as text: a whole number without a decimal point.

    >>> label_text(2.0), label_text("2.0"), label_text(True)
    ('2', '2.0', 'True')
    """
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def texts(column: "pd.Series[object]") -> "pd.Series[str]":
    """A column's cells as text; a missing one stays missing."""
    from pandas.api.types import is_string_dtype

    cells = column if is_string_dtype(column) else column.map(label_text, na_action="ignore")
    return cells.astype("string")


def is_numeric(column: "pd.Series[object]") -> bool:
    """Whether a column holds numbers or Booleans, rather than text or dates."""
    from pandas.api.types import is_numeric_dtype

    return bool(is_numeric_dtype(column))
