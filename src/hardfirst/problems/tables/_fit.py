"""Finds out what an input column holds, and fits it to the training rows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from hardfirst.problems.tables._cells import (
    NumberFormat,
    date_format,
    day_or_month_first,
    is_ambiguous,
    is_numeric,
    number_format,
    texts,
)
from hardfirst.problems.tables._columns import (
    CYCLES,
    HASHED,
    Column,
    DateColumn,
    NumberColumn,
    Scale,
    WordColumn,
    dates,
    days,
    finite,
    numbers,
    phase,
)

if TYPE_CHECKING:
    import pandas as pd

WORDS = 50
"""Words of a column that get an input each."""
_MOSTLY = 0.9  # the share of numbers from which on the other cells count as missing
_MOST_ABSENT = 5  # words that may stand for a missing number
_SPARSE = 0.95  # the share of missing cells from which on a column is left out
_TEXT = 3  # words in a cell, on average, from which on a column is text rather than names

CONSTANT = "constant in training"
SPARSE = f"more than {_SPARSE:.0%} of the training rows have no value"
UNIQUE = "nearly all different, as names and identifiers are"
NUMBERING = "the rows' numbers"


class Fitted(NamedTuple):
    """What became of a column.

    Args:
        column: as an input; None if it is left out.
        reason: why it is left out.
        notes: what was guessed.
    """

    column: Column | None
    reason: str = ""
    notes: tuple[str, ...] = ()


def fit_column(name: str, column: "pd.Series[object]", train: Tensor, decimal: str) -> Fitted:
    """Fit an input column to the training rows.

    Args:
        name: its name.
        column: all cells, as they were read.
        train: the indices of the training rows.
        decimal: the decimal mark where either may be meant.
    """
    from pandas.api.types import is_datetime64_any_dtype

    rows = column.iloc[train.numpy()]
    if rows.isna().mean() > _SPARSE:
        return Fitted(None, CONSTANT if rows.isna().all() else SPARSE)
    if is_numeric(column):
        return Fitted(None, NUMBERING) if _is_numbering(column) else _number(name, column, train, NumberFormat())
    return _date(name, column, train, "") if is_datetime64_any_dtype(column) else _text(name, column, train, decimal)


def _text(name: str, column: "pd.Series[object]", train: Tensor, decimal: str) -> Fitted:
    """A column of text, which may write numbers or dates."""
    cells = [str(cell) for cell in texts(column).dropna().unique()]
    if (form := number_format(cells, decimal)) is not None:
        return _number(name, column, train, form, notes=_read_as(name, cells, form))
    if found := _words_among_numbers(column, decimal):
        form, absent = found
        means = "means" if len(absent) == 1 else "mean"
        note = f"In {name}, {' and '.join(map(repr, absent))} {means} that a number is missing."
        return _number(name, column, train, form, absent, (note,))
    if (pattern := date_format(cells)) is not None:
        return _date(name, column, train, pattern, _which_day(name, cells, pattern))
    return _words(name, column, train)


def _is_numbering(column: "pd.Series[object]") -> bool:
    values = column.tolist()
    return values[0] in (0, 1) and values == list(range(int(values[0]), int(values[0]) + len(values)))


def _number(
    name: str,
    column: "pd.Series[object]",
    train: Tensor,
    form: NumberFormat,
    absent: Sequence[str] = (),
    notes: tuple[str, ...] = (),
) -> Fitted:
    values = finite(numbers(column, form, absent))
    scale = Scale.fit(values[train])
    if scale is None:
        return Fitted(None, CONSTANT, notes)
    far = ((values < scale.low) | (values > scale.high)).nonzero().flatten()
    if len(far):
        example = f"{float(values[far[0]]):g} in row {int(far[0]) + 1}"
        notes += (f"In {name}, {len(far)} far {'value is' if len(far) == 1 else 'values are'} clipped, such as {example}.",)
    return Fitted(NumberColumn(name, scale, bool(values.isnan().any()), form.decimal, form.unit, tuple(absent)), notes=notes)


def _read_as(name: str, cells: Sequence[str], form: NumberFormat) -> tuple[str, ...]:
    example = next((cell for cell in cells if not cell.replace(".", "").isdigit()), cells[0])
    doubt = " Either mark may be meant." if is_ambiguous(cells) else ""
    return (f"In {name}, {example!r} is read as {form.value(example):.15g}.{doubt}",)


def _words_among_numbers(column: "pd.Series[object]", decimal: str) -> tuple[NumberFormat, tuple[str, ...]] | None:
    """The format of numbers, and the words that stand for a missing one, if nearly all cells are numbers."""
    counts = texts(column).value_counts()
    is_number = [number_format([str(cell)], decimal) is not None for cell in counts.index]
    absent = [str(cell) for cell, number in zip(counts.index, is_number, strict=True) if not number]
    if not 0 < len(absent) <= _MOST_ABSENT or counts[is_number].sum() < _MOSTLY * counts.sum():
        return None
    if any(letter.isdigit() for cell in absent for letter in cell):  # codes such as 136A rather than words
        return None
    form = number_format([str(cell) for cell in counts.index if cell not in absent], decimal)
    return None if form is None else (form, tuple(sorted(absent)))


def _date(name: str, column: "pd.Series[object]", train: Tensor, form: str, notes: tuple[str, ...] = ()) -> Fitted:
    found = dates(column, form)
    values = days(found)
    scale = Scale.fit(values[train])
    if scale is None:
        return Fitted(None, CONSTANT, notes)
    rows = found.iloc[train.numpy()].dropna()
    cycles = tuple(cycle for cycle in CYCLES if len(set(phase(rows, cycle).tolist())) > 1)
    return Fitted(DateColumn(name, scale, cycles, form, bool(values.isnan().any())), notes=notes)


def _which_day(name: str, cells: Sequence[str], form: str) -> tuple[str, ...]:
    if not day_or_month_first(cells, form):
        return ()
    order = "day" if form.startswith("%d") else "month"
    return (f"In {name}, {cells[0]!r} is read with the {order} first; the dates do not show it.",)


def _words(name: str, column: "pd.Series[object]", train: Tensor) -> Fitted:
    cells = texts(column).fillna("")
    rows = cells.iloc[train.numpy()]
    counts = rows.value_counts()
    if len(counts) < 2:
        return Fitted(None, CONSTANT)
    if len(counts) > len(train) / 2:
        is_text = rows.str.split().str.len().mean() >= _TEXT
        return Fitted(WordColumn(name, hashed=HASHED)) if is_text else Fitted(None, UNIQUE)
    words = tuple(sorted(str(word) for word in counts.index[:WORDS]))
    return Fitted(WordColumn(name, words, HASHED if len(counts) > WORDS else 0))
