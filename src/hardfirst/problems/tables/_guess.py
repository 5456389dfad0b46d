"""Fits the columns to predict: their kind, guessed where it is not given, and what in their cells no network can learn."""

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems._data import IGNORE
from hardfirst.problems.tables._cells import NumberFormat, is_numeric, label_text, number_format, texts
from hardfirst.problems.tables._columns import numbers, quantile
from hardfirst.problems.tables._name import KPIS, TableName, TargetChoice, checked
from hardfirst.problems.tables._reading import Sheet
from hardfirst.problems.tables._targets import CLASSIFICATION, ORDINAL, REGRESSION, TargetColumn

if TYPE_CHECKING:
    import pandas as pd

MOST_GUESSED_CLASSES = 20
COMMON = 0.9  # the share of the most frequent class above which accuracy says little
_FAR = 1e6  # interquartile ranges from the median; even the square of a normal variable's exponential stays below
_NUMBER = re.compile(r"[-+(]?\s*[$€£]?\s*\d[\d.,'\s]*([eE][-+]?\d+)?\s*[%$€£)]?\s*")


class FittedTarget(NamedTuple):
    """A target that is fitted to the training rows.

    Args:
        column: what it is to a network.
        choice: what was chosen, or by default.
        labels: [rows], as `TargetColumn.labels` gives them.
        counts: the training labels of each class; () for a regression.
        guessed: whether its kind was guessed.
        why: why the KPI is what it is.
        notes: what else was guessed.
    """

    column: TargetColumn
    choice: TargetChoice
    labels: Tensor
    counts: tuple[int, ...]
    guessed: bool
    why: str
    notes: tuple[str, ...] = ()


def fit_target(name: TableName, sheet: Sheet, choice: TargetChoice, train: Tensor, decimal: str) -> FittedTarget:
    """Fit a target to the training rows.

    Raises:
        InputError: its values do not fit its kind, or the training rows have nothing to learn.
    """
    column = sheet.column(choice.column)
    kind = choice.kind or _guessed(name, column, decimal)
    choice = checked(choice, kind)
    if kind == REGRESSION:
        found = _numbers(name, column, choice, train, decimal)
    else:
        found = _classes(name, _cells(sheet, column), choice, kind, train)
    return found._replace(guessed=not choice.kind)


def _cells(sheet: Sheet, column: "pd.Series[object]") -> "pd.Series[object]":
    """A column's classes: words as they are written, such as "NA" and "None"; only an empty cell has no label."""
    return column if is_numeric(column) else sheet.words(str(column.name), keep=True)


def _guessed(name: TableName, column: "pd.Series[object]", decimal: str) -> str:
    """Guess a target's kind: regression for numbers with more than 20 different values, else classification.

    Raises:
        InputError: most cells are numbers, but not all, so that either may be meant.
    """
    cells = [str(cell) for cell in texts(column).dropna().unique()]
    if is_number_column(column) or (not _is_bool(column) and number_format(cells, decimal) is not None):
        return REGRESSION if len(cells) > MOST_GUESSED_CLASSES else CLASSIFICATION
    if (word := word_among_numbers(column)) is not None:
        raise InputError(
            f"Is column {column.name!r} of {name.path} a regression? Most of its cells are numbers, but {word}. Write "
            f"numbers as 1234.5, empty the cells without one, and add {column.name}:regression; or add "
            f"{column.name}:classification if each of its values is a class."
        )
    return CLASSIFICATION


def _is_bool(column: "pd.Series[object]") -> bool:
    from pandas.api.types import is_bool_dtype

    return bool(is_bool_dtype(column))


def is_number_column(column: "pd.Series[object]") -> bool:
    """Whether a column holds numbers; booleans are classes."""
    return is_numeric(column) and not _is_bool(column)


def word_among_numbers(column: "pd.Series[object]") -> str | None:
    """Which cell makes a column one of words, "row 7 has 'unknown'", if most of its cells are numbers."""
    cells = column.dropna().astype(str)
    if is_numeric(column) or not cells.map(lambda text: bool(_NUMBER.fullmatch(text))).mean() > 0.5:
        return None
    return next((f"row {int(str(row)) + 1} has {text!r}" for row, text in cells.items() if not _is_number(text)), None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_labelled(name: TableName, column: str, labelled: Tensor, train: Tensor) -> None:
    if not labelled[train].any():
        raise InputError(
            f"No row of {name.path} that serves for training has a label in column {column!r}; of all its {len(labelled)} "
            f"rows {int(labelled.sum())} have one. Leave this target out."
        )


def _classes(name: TableName, cells: "pd.Series[object]", choice: TargetChoice, kind: str, train: Tensor) -> FittedTarget:
    import pandas as pd

    column = choice.column
    are_words = not is_numeric(cells)
    codes, values = pd.factorize(cells, sort=True)
    classes = tuple(map(label_text, values))
    labelled = int((codes >= 0).sum())
    if len(classes) < 2:
        raise InputError(f"Expected at least two classes in column {column!r} of {name.path}; got {len(classes)}.")
    if len(classes) > max(labelled / 2, 2):
        raise InputError(
            f"Expected classes that have several rows in column {column!r} of {name.path}; got {len(classes)} different "
            f"values in {labelled} rows with a label. If they are numbers to predict, write {column}:regression; names "
            "and identifiers cannot be predicted."
        )
    labels = torch.where(torch.tensor(codes) < 0, IGNORE, torch.tensor(codes)).long()
    _check_labelled(name, column, labels != IGNORE, train)
    if kind == ORDINAL:
        order = _order(name, choice, classes, not are_words)
        target = TargetColumn(column, kind, order, words=are_words)
        labels = torch.tensor([*map(order.index, classes), -1])[labels.clamp(min=-1)]
        values_of = torch.where(labels < 0, math.nan, labels.float())
    else:
        target, values_of = TargetColumn(column, kind, classes, words=are_words), labels
    counts = torch.bincount(labels[train][labels[train] >= 0], minlength=len(classes)).tolist()
    kpi, why = (choice.kpi, "chosen") if choice.kpi else _default_kpi(kind, counts, target.classes)
    return FittedTarget(target, replace(choice, kpi=kpi), values_of, tuple(counts), False, why)


def _order(name: TableName, choice: TargetChoice, classes: tuple[str, ...], are_numbers: bool) -> tuple[str, ...]:
    """The classes from the lowest to the highest."""
    if len(classes) < 3:
        raise InputError(
            f"An ordinal target has at least three classes; {choice.column!r} has {len(classes)}. Write "
            f"{choice.column}:classification."
        )
    if not choice.order and are_numbers:
        return classes
    if sorted(choice.order) != sorted(classes):
        got = "<".join(choice.order) or "no order"
        raise InputError(
            f"Expected the order of the {len(classes)} classes in column {choice.column!r} of {name.path}, from the lowest "
            f"to the highest, such as order={'<'.join(classes)}; got {got}."
        )
    return choice.order


def _default_kpi(kind: str, counts: list[int], classes: tuple[str, ...]) -> tuple[str, str]:
    """The KPI of classes, and why it is that."""
    common = counts.index(max(counts))
    share = counts[common] / sum(counts)
    if kind == CLASSIFICATION and share > COMMON:
        return "auc", f"{share:.1%} of the training labels are {classes[common]!r}, so that accuracy would say little"
    return KPIS[kind][0], "the default"


def _numbers(
    name: TableName, column: "pd.Series[object]", choice: TargetChoice, train: Tensor, decimal: str
) -> FittedTarget:
    form, notes = NumberFormat(), tuple[str, ...]()
    cells = [str(cell) for cell in texts(column).dropna().unique()]
    if not is_number_column(column) and not _is_bool(column) and (found := number_format(cells, decimal)) is not None:
        form = found
        notes = (f"In {choice.column}, {cells[0]!r} is read as {form.value(cells[0]):.15g}.",)
    values = numbers(column, form, where=f" of {name.path}")
    check_far(name, choice.column, values, log=choice.log)
    _check_labelled(name, choice.column, ~values.isnan(), train)
    if choice.log and (wrong := values <= 0).any():
        row = int(wrong.nonzero()[0])
        raise InputError(
            f"Expected numbers above 0 in column {choice.column!r} of {name.path}, whose logarithm is learned; got "
            f"{float(values[row]):g} in row {row + 1}."
        )
    learned = values.log() if choice.log else values
    present = learned[train][~learned[train].isnan()]
    mean, deviation = (float(present.mean()), float(present.std())) if len(present) > 1 else (0.0, math.nan)
    if not deviation > 0:
        raise InputError(
            f"Expected numbers that differ in column {choice.column!r} of {name.path}; there is nothing to predict."
        )
    target = TargetColumn(choice.column, REGRESSION, (), mean, deviation, choice.log, form.decimal, form.unit)
    labels = ((learned - mean) / deviation).float()
    kpi, why = (choice.kpi, "chosen") if choice.kpi else ("r2", "the default")
    return FittedTarget(target, replace(choice, kpi=kpi), labels, (), False, why, notes)


def check_far(name: TableName, column: str, values: Tensor, *, log: bool) -> None:
    """Check that no label is so far from the others that these all look alike next to it.

    Args:
        name: the table.
        column: its name.
        values: [rows], NaN where there is none.
        log: whether the logarithm is learned, which far labels are no trouble for.

    Raises:
        InputError: one is; the message names the row.
    """
    present = values[values.isfinite()]
    if (endless := values.isinf()).any():
        row = int(endless.nonzero()[0])
    elif not log and len(present) > 1 and (distance := _distance(values, present)).max() > _FAR:
        row = int(distance.argmax())
    else:
        return
    raise InputError(
        f"Row {row + 1} of {name.path} has {float(values[row]):g} in column {column!r}, far from all other numbers there. "
        f"Correct it or empty the cell; if it is right, write {column}:regression:log."
    )


def _distance(values: Tensor, present: Tensor) -> Tensor:
    """How far each number is from the median, in interquartile ranges; 0 where there is none.

    Where most numbers are equal, the others' median distance takes the place of that range.
    """
    ordered = present.sort().values
    low, middle, high = (quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    distance = (values - middle).abs()
    others = distance[distance.isfinite() & (distance > 0)]
    spread = high - low or float(others.median() if len(others) else math.inf)
    return torch.where(distance.isfinite(), distance / spread, 0)
