"""A table as a problem: read, split, fitted to the training rows, and made into tensors."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems._base import Problem
from hardfirst.problems.tables import _reading, _splits
from hardfirst.problems.tables._checksum import sha256
from hardfirst.problems.tables._data import TableData
from hardfirst.problems.tables._fit import Fitted, fit_column
from hardfirst.problems.tables._guess import FittedTarget, fit_target
from hardfirst.problems.tables._name import TableName, TargetChoice, is_table
from hardfirst.problems.tables._reading import Sheet
from hardfirst.problems.tables._sharing import kept_in, shared
from hardfirst.problems.tables._transform import TableTransform

FEWEST_ROWS = 50
_REVISION = b"tables-2"  # part of every key: raise it when the same table no longer gives the same tensors


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared table.

    Args:
        name: what was asked for.
        digest: as `digest` returns it, of the bytes that were read.
        sheet: the table as it was read, with the rows of further files.
        columns: by name, what became of each column that is no target.
        targets: by name.
        rows: of each split.
        data: what training needs.
    """

    name: TableName
    digest: str
    sheet: Sheet
    columns: Mapping[str, Fitted]
    targets: Mapping[str, FittedTarget]
    rows: Mapping[str, Tensor]
    data: TableData


def load(problem: str) -> Problem:
    """Load a table as a problem.

    Args:
        problem: a name from `table_name`.

    Raises:
        InputError: the file does not exist or is not a table, or a target's values do not fit its kind.
    """
    path, data = TableName.parse(problem).path, table_data(problem)
    rows = sum(map(len, data.tables.values()))
    return data.problem(_reading.stem_of(path), rows_that_train(rows), f"The table {path.name}, {rows} rows.")


def rows_that_train(rows: int) -> int:
    """How many of a table's rows count for the default number of epochs, however they are split."""
    return 6 * rows // 10


def table_data(problem: str) -> TableData:
    """What training needs of a table: as another process keeps it, or prepared by this one.

    Raises:
        InputError: as in `load`.
    """
    return shared(digest(problem)) or prepare(problem).data


@contextmanager
def prepared_in(folder: Path, problems: Iterable[str]) -> Iterator[None]:
    """Keep the tables among problems prepared in a folder for the duration of the `with` block, for `read_from`."""
    prepared = [prepare(problem) for problem in problems if is_table(problem)]
    with kept_in(folder, {each.digest: each.data for each in prepared}):
        yield


def table_transform(problem: str) -> TableTransform:
    """The transform of a table that is a problem, fitted to its training rows.

    Args:
        problem: a name from `table_name`.

    Raises:
        InputError: as in `load_problem`.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> from hardfirst.problems import table_name
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = f"{folder}/squares.csv"
        ...     pd.DataFrame({"side": range(2, 80), "area": [side**2 for side in range(2, 80)]}).to_csv(file, index=False)
        ...     transform = table_transform(table_name(file, "area"))
        >>> [column.name for column in transform.inputs], transform.targets[0].kind
        (['side'], 'regression')
    """
    return table_data(problem).transform


def digest(problem: str) -> str:
    """Return the SHA-256 of the table's bytes, its targets and how its rows are split, wherever its files are.

    Raises:
        InputError: a file does not exist.
    """
    name = TableName.parse(problem)
    return _digest(name, _sha256s(name))


def _sha256s(name: TableName) -> tuple[str, ...]:
    return tuple(sha256(path) for path in name.files)


def _digest(name: TableName, sha256s: Sequence[str]) -> str:
    text = repr([name.targets, name.drop, name.group, name.time, name.split])
    whole = hashlib.sha256(_REVISION + text.encode())
    roles = ["", *(role for role in ("validation", "test") if getattr(name, role) is not None)]
    for role, checksum in zip(roles, sha256s, strict=True):
        whole.update(role.encode() + bytes.fromhex(checksum))
    return whole.hexdigest()


def prepare(problem: str) -> Prepared:
    """Read and fit a table, once in a process unless a file changes."""
    name = TableName.parse(problem)
    return _prepare(name, _sha256s(name))


@lru_cache(maxsize=4)
def _prepare(name: TableName, sha256s: tuple[str, ...]) -> Prepared:
    sheets = tuple(_reading.read(path, checksum) for path, checksum in zip(name.files, sha256s, strict=True))
    sheet = _joined(name, sheets)
    frame = sheet.frame
    if len(sheets[0].frame) < FEWEST_ROWS:
        raise InputError(f"Expected at least {FEWEST_ROWS} rows in {name.path}; got {len(sheets[0].frame)}.")
    choices = name.choices(map(str, frame.columns))
    _check_header(name, sheet, choices)
    features = frame.drop(columns=[*choices, *name.drop, *filter(None, [name.split])])
    rows = _splits.split_rows(name, frame, features, [len(each.frame) for each in sheets])
    train = rows["train"]
    targets = {column: fit_target(name, sheet, choice, train, sheet.decimal) for column, choice in choices.items()}
    inputs = [str(column) for column in features if column != name.group]
    columns = {column: fit_column(column, sheet.column(column), train, sheet.decimal) for column in inputs}
    transform = TableTransform(
        tuple(found.column for found in columns.values() if found.column is not None),
        tuple(found.column for found in targets.values()),
    )
    if not transform.inputs:
        raise InputError(
            f"No column of {name.path} is left to predict from: all others are targets, constant, or all different."
        )
    tensors = torch.cat([column.encode(sheet.column(column.name)) for column in transform.inputs], 1)
    data = TableData.of(transform, list(targets.values()), tensors, rows)
    return Prepared(name, _digest(name, sha256s), sheet, columns, targets, rows, data)


def _joined(name: TableName, sheets: tuple[Sheet, ...]) -> Sheet:
    """The tables of all files, one below the other.

    Raises:
        InputError: a file lacks a column of the first.
    """
    first, *others = sheets
    if not others:
        return first
    import pandas as pd

    for path, sheet in zip(name.files[1:], others, strict=True):
        if lacking := [str(column) for column in first.frame if column not in sheet.frame]:
            raise InputError(f"Expected the columns of {name.path} in {path}; it lacks {', '.join(map(repr, lacking))}.")
        if not len(sheet.frame):
            raise InputError(f"Expected rows in {path}; got none.")
    frame = pd.concat([sheet.frame[list(first.frame)] for sheet in sheets], ignore_index=True)
    return Sheet(frame, first.header, first.encoding, first.separator, parts=sheets)


def _check_header(name: TableName, sheet: Sheet, targets: Mapping[str, TargetChoice]) -> None:
    """Raise `InputError` if a target has the name of another column, which would then be an input that gives it away."""
    for target in targets:
        if sheet.header.count(target) > 1:
            positions = [str(number) for number, column in enumerate(sheet.header, start=1) if column == target]
            raise InputError(
                f"Columns {' and '.join(positions)} of {name.path} are both called {target!r}. Rename or remove all but the "
                "column to predict."
            )
