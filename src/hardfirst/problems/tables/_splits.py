"""Which rows train, validate and test."""

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems.tables._cells import date_format, is_numeric, texts
from hardfirst.problems.tables._columns import dates
from hardfirst.problems.tables._name import TableName

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
_WORDS = {
    "train": ("train", "training", "fit", "learn"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "holdout", "hold-out", "eval"),
}


def split_rows(name: TableName, frame: "pd.DataFrame", features: "pd.DataFrame", files: list[int]) -> dict[str, Tensor]:
    """Return the indices of each split's rows.

    Args:
        name: how to split.
        frame: all columns; the rows of further files come last.
        features: the columns that are inputs.
        files: how many rows each file has: the table, and those of validation and test that are given.

    Raises:
        InputError: a split would have no row, or the column that decides it does not say it.
    """
    if name.split is not None:
        rows = _said(name, frame[name.split])
    elif name.time is not None:
        rows = _by_time(name, frame[name.time])
    else:
        rows = _by_hash(name, frame, features, files)
    for split in SPLITS:
        if not len(rows[split]):
            raise InputError(
                f"Expected rows of {name.path} for {_FOR[split]}; got none of its {len(frame)}. Rows with the same inputs, "
                "or of the same group, stay in one split."
            )
    return rows


_FOR = {"train": "training", "validation": "validation", "test": "the test"}


def how(name: TableName) -> str:
    """How the rows are split, in words."""
    if name.split is not None:
        return f"by column {name.split}"
    if name.time is not None:
        return f"by {name.time}: the earliest 60% train, the latest 20% test"
    same = f"rows with the same {name.group}" if name.group is not None else "rows with the same inputs"
    if name.validation is not None and name.test is not None:
        return "by file"
    rest = "80 : 20" if name.validation is not None or name.test is not None else "60 : 20 : 20"
    return f"{rest} by a hash, {same} in one split"


def _by_hash(name: TableName, frame: "pd.DataFrame", features: "pd.DataFrame", files: list[int]) -> dict[str, Tensor]:
    """The table's own rows by the hash of their group or inputs, and the rows of each further file in its split."""
    own = frame[[name.group]] if name.group is not None else features
    fraction = _fractions(own.iloc[: files[0]])
    others = [split for split in ("validation", "test") if getattr(name, split) is not None]
    mine = [split for split in SPLITS if split not in others]
    shares = {3: (0.6, 0.8), 2: (0.8,), 1: ()}[len(mine)]
    bounds = torch.tensor(shares, dtype=torch.float64)
    number = torch.bucketize(fraction, bounds, right=True)
    rows = {split: (number == index).nonzero().squeeze(1) for index, split in enumerate(mine)}
    start = files[0]
    for split, count in zip(others, files[1:], strict=True):
        rows[split] = torch.arange(start, start + count)
        start += count
    if name.group is not None and others:
        _check_groups(name, texts(frame[name.group]), rows)
    return rows


def _fractions(own: "pd.DataFrame") -> Tensor:
    """The first 32 bits of each row's hash, as a number in [0, 1)."""
    found: dict[str, float] = {}
    fractions = []
    for row in map(repr, own.itertuples(index=not len(own.columns), name=None)):
        if row not in found:
            found[row] = int(hashlib.sha256(row.encode()).hexdigest()[:8], 16) / 16**8
        fractions.append(found[row])
    return torch.tensor(fractions, dtype=torch.float64)


def _check_groups(name: TableName, groups: "pd.Series[str]", rows: dict[str, Tensor]) -> None:
    sets = {split: set(groups.iloc[index.numpy()].dropna()) for split, index in rows.items()}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if both := sorted(sets[one] & sets[other]):
            raise InputError(f"{name.group} {both[0]!r} has rows for {_FOR[one]} and for {_FOR[other]}, in two files.")


def _said(name: TableName, column: "pd.Series[object]") -> dict[str, Tensor]:
    words = {word: split for split, several in _WORDS.items() for word in several}
    cells = texts(column).fillna("")
    codes = [words.get(str(cell).strip().lower()) for cell in cells]
    if None in codes:
        row = codes.index(None)
        raise InputError(
            f"Expected train, validation or test in column {name.split!r} of {name.path}; got {cells.iloc[row]!r} in row "
            f"{row + 1}."
        )
    return {split: torch.tensor([row for row, code in enumerate(codes) if code == split]) for split in SPLITS}


def _by_time(name: TableName, column: "pd.Series[object]") -> dict[str, Tensor]:
    """The rows in order of time, 60 : 20 : 20; rows of one time stay together."""
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax())
        raise InputError(f"Expected a time in every row of column {name.time!r} of {name.path}; row {row + 1} has none.")
    if not is_numeric(column):
        form = date_format([str(cell) for cell in texts(column).unique()])
        if form is None and column.map(lambda cell: isinstance(cell, str)).any():
            raise InputError(
                f"Expected dates in one format, or numbers, in column {name.time!r} of {name.path}; got {column.iloc[0]!r}. "
                "Write dates as 2026-01-31."
            )
        column = dates(column, form or "")
    ordered = column.sort_values(kind="stable").reset_index(drop=True)
    first, second = (ordered.iloc[int(share * (len(ordered) - 1))] for share in (0.6, 0.8))
    masks = {"train": column < first, "validation": (column >= first) & (column < second), "test": column >= second}
    return {split: torch.tensor(mask.to_numpy().nonzero()[0].copy()) for split, mask in masks.items()}
