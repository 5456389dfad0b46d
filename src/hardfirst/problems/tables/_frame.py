"""A data frame in memory as a problem."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems._base import Problem
from hardfirst.problems.tables._data import TableData
from hardfirst.problems.tables._fit import fit_column
from hardfirst.problems.tables._guess import fit_target
from hardfirst.problems.tables._name import TableName, table_name
from hardfirst.problems.tables._reading import Sheet
from hardfirst.problems.tables._transform import TableTransform

if TYPE_CHECKING:
    import pandas as pd

WHERE = Path("the table")
"""What errors call a table without a file."""


def targets_of(text: str, columns: Iterable[str]) -> dict[str, str]:
    """What a text as in `--targets` says of each column.

    Raises:
        InputError: it names an unknown column, kind or option.

    >>> targets_of("price:regression:log,sold", ["price", "sold", "rooms"])
    {'price': 'regression:log', 'sold': ''}
    """
    name, columns = TableName.parse(table_name(str(WHERE), text)), list(columns)
    name.choices(columns)
    return {column: ":".join(options) for column, options in name.resolved(columns)}


def frame_problem(frame: "pd.DataFrame", targets: Mapping[str, str], train: Tensor, validation: Tensor) -> Problem:
    """A data frame as a problem whose test split is the validation split again, which a trial with `test=False` never reads.

    Args:
        frame: inputs and targets, under names that are text and distinct.
        targets: by column, what is said of it, such as "regression:kpi=r2"; "" for a guess.
        train: the indices of the training rows, to which everything is fitted.
        validation: the indices of the validation rows.

    Raises:
        InputError: a target's values do not fit its kind, or no column is left to predict from.
    """
    name = TableName(WHERE, tuple(targets.items()))
    sheet = Sheet(frame, tuple(map(str, frame.columns)))
    choices = name.choices(sheet.header)
    fitted = [fit_target(name, sheet, choice, train, ".") for choice in choices.values()]
    inputs = [fit_column(column, frame[column], train, ".").column for column in sheet.header if column not in choices]
    transform = TableTransform(
        tuple(column for column in inputs if column is not None), tuple(each.column for each in fitted)
    )
    if not transform.inputs:
        raise InputError("No column is left to predict from: all are constant, mostly missing, or all different.")
    rows = {"train": train, "validation": validation, "test": validation}
    return TableData.of(transform, fitted, transform.transform(frame), rows).problem(str(WHERE), len(train))
