"""The targets of a table: which columns they are, of what kind, and what in their cells no network can learn."""

import csv
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode

import torch
from torch import Tensor

from hardfirst.errors import InputError, check_names
from hardfirst.problems._data import IGNORE

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("regression", "classification")
_MOST_GUESSED_CLASSES = 20
_FAR = 1e6  # interquartile ranges from the median; even the square of a normal variable's exponential stays below
_NUMBER = re.compile(r"[-+(]?\s*[$€£]?\s*\d[\d.,'\s]*([eE][-+]?\d+)?\s*[%$€£)]?\s*")


class Target(NamedTuple):
    """A target [rows], its number of classes (0 for regression) and its standard deviation (NaN for classes)."""

    values: Tensor
    classes: int
    deviation: float


def table_name(path: str, targets: str) -> str:
    """Return the name under which `load_problem` loads a table.

    Args:
        path: the CSV file.
        targets: as on the command line: columns with or without their kind, e.g. "price:regression,sold". A column whose
            name has a comma stands in double quotes.

    >>> table_name("homes.csv", "price:regression,sold")
    'homes.csv?price=regression&sold='
    >>> table_name("homes.csv", '"price, EUR":regression')
    'homes.csv?price%2C+EUR=regression'
    """
    items = next(csv.reader([targets], skipinitialspace=True), [])
    return f"{path}?{urlencode([_column_and_kind(item.strip()) for item in items if item.strip()])}"


def _column_and_kind(item: str) -> tuple[str, str]:
    column, _, kind = item.rpartition(":")
    return (column.strip(), kind.strip()) if kind.strip() in KINDS else (item, "")


def parse_targets(path: Path, query: str, columns: Iterable[str]) -> dict[str, str]:
    """The kind of each target column, "" where it is to be guessed.

    Raises:
        InputError: there is none, one is named twice, or a column or kind is unknown.
    """
    columns, targets = list(columns), dict[str, str]()
    for column, kind in parse_qsl(query, keep_blank_values=True):
        before, _, word = column.rpartition(":")
        if column not in columns and before in columns:
            check_names(f"kind of target {before!r}:", [word.strip()], KINDS)
        if column in targets:
            raise InputError(f"Column {column!r} of {path} is named twice among the targets; name it once.")
        targets[column] = kind
    if not targets:
        raise InputError(
            f"Which columns of {path} are to be predicted? Add --targets COLUMN:regression or COLUMN:classification, "
            f"joined by commas; there are {', '.join(columns)}."
        )
    try:
        check_names(f"column of {path}:", targets, columns)
    except InputError as error:
        if any("," in column for column in columns):
            raise InputError(f"{error} Put a name with a comma in double quotes, and all targets in single ones.") from None
        raise
    for column, kind in targets.items():
        if kind:
            check_names(f"kind of target {column!r}:", [kind], KINDS)
    return targets


def guessed(path: Path, column: "pd.Series[object]") -> str:
    """Guess a target's kind: regression for numbers with more than 20 different values, else classification.

    Raises:
        InputError: most cells are numbers, but not all, so that either may be meant.
    """
    if is_number_column(column):
        return "regression" if column.nunique() > _MOST_GUESSED_CLASSES else "classification"
    if (word := word_among_numbers(column)) is not None:
        raise InputError(
            f"Is column {column.name!r} of {path} a regression? Most of its cells are numbers, but {word}. Write numbers as "
            f"1234.5, empty the cells without one, and add {column.name}:regression; or add {column.name}:classification if "
            "each of its values is a class."
        )
    return "classification"


def word_among_numbers(column: "pd.Series[object]") -> str | None:
    """Which cell makes a column one of words, "row 7 has 'unknown'", if most of its cells are numbers."""
    from pandas.api.types import is_numeric_dtype

    cells = column.dropna().astype(str)
    if is_numeric_dtype(column) or not cells.map(lambda text: bool(_NUMBER.fullmatch(text))).mean() > 0.5:
        return None
    return next((f"row {int(str(row)) + 1} has {text!r}" for row, text in cells.items() if not _is_number(text)), None)


def is_number_column(column: "pd.Series[object]") -> bool:
    """Whether a column holds numbers; booleans are classes."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(column) and not is_bool_dtype(column)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def encoded(path: Path, column: "pd.Series[object]", kind: str, train: Tensor) -> Target:
    """A target as numbers: standardised on the training rows, or indices of classes.

    Raises:
        InputError: the values do not fit the kind, or the training rows have nothing to learn.
    """
    return _classes(path, column, train) if kind == "classification" else _numbers(path, column, train)


def _check_labelled(path: Path, column: str, labelled: Tensor, train: Tensor) -> None:
    if not labelled[train].any():
        raise InputError(
            f"No row of {path} that serves for training has a label in column {column!r}; of all its {len(labelled)} rows "
            f"{int(labelled.sum())} have one. Leave this target out."
        )


def _classes(path: Path, column: "pd.Series[object]", train: Tensor) -> Target:
    import pandas as pd

    codes, classes = pd.factorize(class_cells(path, column), sort=True)
    labelled = int((codes >= 0).sum())
    if len(classes) < 2:
        raise InputError(f"Expected at least two classes in column {column.name!r} of {path}; got {len(classes)}.")
    if len(classes) > max(labelled / 2, 2):
        raise InputError(
            f"Expected classes that have several rows in column {column.name!r} of {path}; got {len(classes)} different "
            f"values in {labelled} rows with a label. If they are numbers to predict, write {column.name}:regression; names "
            "and identifiers cannot be predicted."
        )
    labels = torch.where(torch.tensor(codes) < 0, IGNORE, torch.tensor(codes)).long()
    _check_labelled(path, str(column.name), labels != IGNORE, train)
    return Target(labels, len(classes), math.nan)


def class_cells(path: Path, column: "pd.Series[object]") -> "pd.Series[object]":
    """A column's classes: words as they are written, such as "NA" and "None"; only an empty cell has no label."""
    import pandas as pd
    from pandas.api.types import is_bool_dtype

    if is_number_column(column) or is_bool_dtype(column):
        return column
    cells = pd.read_csv(path, encoding="utf-8-sig", usecols=[column.name], dtype=str, keep_default_na=False, na_values=[""])
    return cells.iloc[:, 0]


def _numbers(path: Path, column: "pd.Series[object]", train: Tensor) -> Target:
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce")
    if len(wrong := column[values.isna() & column.notna()]):
        row = int(str(wrong.index[0])) + 1
        raise InputError(
            f"Expected numbers in column {column.name!r} of {path}; got {wrong.iloc[0]!r} in row {row}. Write numbers as "
            "1234.5, and leave a cell without a label empty."
        )
    numbers = torch.tensor(values.to_numpy(dtype=float))
    check_sizes(path, str(column.name), numbers, infinite=False)
    _check_labelled(path, str(column.name), ~numbers.isnan(), train)
    mean, deviation = mean_and_deviation(numbers[train])
    if not deviation > 0:
        raise InputError(f"Expected numbers that differ in column {column.name!r} of {path}; there is nothing to predict.")
    return Target(((numbers - mean) / deviation).float(), 0, deviation)


def mean_and_deviation(values: Tensor) -> tuple[float, float]:
    """The mean and standard deviation of the values that are not NaN; the deviation is NaN for fewer than two."""
    present = values[~values.isnan()]
    return (float(present.mean()), float(present.std())) if len(present) > 1 else (0.0, math.nan)


def check_sizes(path: Path, column: str, values: Tensor, *, infinite: bool = True) -> None:
    """Check that no number is so far from the others that these all look alike beside it.

    Args:
        path: the table.
        column: its name.
        values: [rows], NaN where there is none.
        infinite: whether infinite numbers are let through.

    Raises:
        InputError: one is; the message names the row.
    """
    present = values[values.isfinite()]
    if not infinite and (endless := values.isinf()).any():
        row = int(endless.nonzero()[0])
    elif len(present) > 1 and (distance := _distance(values, present)).max() > _FAR:
        row = int(distance.argmax())
    else:
        return
    raise InputError(
        f"Row {row + 1} of {path} has {float(values[row]):g} in column {column!r}, far from all other numbers there. "
        "Correct it or empty the cell; if it is right, put the logarithms of the numbers in the column."
    )


def _distance(values: Tensor, present: Tensor) -> Tensor:
    """How far each number is from the median, in interquartile ranges; 0 where there is none.

    Where most numbers are equal, the others' median distance takes the place of that range.
    """
    low, middle, high = _quartiles(present)
    distance = (values - middle).abs()
    others = distance[distance.isfinite() & (distance > 0)]
    spread = high - low or float(others.median() if len(others) else math.inf)
    return torch.where(distance.isfinite(), distance / spread, 0)


def _quartiles(present: Tensor) -> list[float]:
    ordered = present.sort().values  # torch.quantile has a largest size
    return [float(ordered[int(share * (len(ordered) - 1))]) for share in (0.25, 0.5, 0.75)]


def kinds_of(path: Path, table: "pd.DataFrame", targets: Mapping[str, str]) -> dict[str, str]:
    """The kind of each target, guessed where it is not given."""
    return {column: kind or guessed(path, table[column]) for column, kind in targets.items()}
