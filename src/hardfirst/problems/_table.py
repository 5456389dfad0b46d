"""CSV tables as problems: `hardfirst compare table.csv --targets price:regression,sold:classification`.

How a table is prepared:

- Every column that is not a target is an input. Numbers are standardised. A missing number becomes the mean, and a column
  with missing numbers gets a second input that marks them. Text becomes one input for each of the 50 most frequent values.
  Text columns with more different values than half of the rows (names, identifiers) and constant columns are left out.
- A hash of a row's inputs assigns it to training, validation or test (60 : 20 : 20), so that equal rows are in the same
  split. Means, standard deviations and text values are those of the training rows.
- A regression target is standardised for the loss. Its KPI is R² on the validation split, its error is in the column's
  unit. A classification target has one class for each of its values, words such as NA and None included; its KPI is
  accuracy. An empty cell is a missing label.
- The network is a multilayer perceptron with 128 and 64 units and a linear head for each target.
"""

import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst import kpi
from hardfirst.errors import InputError, MissingPackage
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import TensorTable
from hardfirst.problems._table_targets import (
    check_sizes,
    encoded,
    kinds_of,
    mean_and_deviation,
    parse_targets,
)
from hardfirst.problems._task import Metric, Task

if TYPE_CHECKING:
    import pandas as pd

WORDS = 50
FEWEST_ROWS = 50
_OTHER_FORMATS = (".tsv", ".txt", ".gz", ".parquet", ".feather", ".xls", ".xlsx", ".ods", ".json", ".jsonl")
_STEPS = 2000


def is_table(problem: str) -> bool:
    """Return whether a problem's name is that of a table."""
    return problem.partition("?")[0].lower().endswith(".csv")


def check_format(problem: str) -> None:
    """Raise `InputError` if a problem's name is that of a table in another format."""
    file = problem.partition("?")[0]
    if file.lower().endswith(_OTHER_FORMATS):
        raise InputError(
            f"Expected a table as a .csv file; got {file}. Save it as CSV: UTF-8, with commas between the cells."
        )


def load(problem: str) -> Problem:
    """Load a table as a problem.

    Args:
        problem: a name from `table_name`.

    Raises:
        InputError: the file does not exist or is not a table, or a target's values do not fit its kind.
    """
    file, _, query = problem.partition("?")
    path = Path(file)
    try:
        stamp = path.stat()
    except OSError:
        raise InputError(f"There is no file {path}.") from None
    if path.is_dir():
        raise InputError(f"{path} is a folder; a table is a file.")
    table = read_table(path, stamp.st_mtime_ns)
    kinds = kinds_of(path, table, parse_targets(path, query, table.columns))
    _check_header(path, kinds)
    prepare = cache(partial(_prepare, path, table, kinds))
    return Problem(
        name=path.stem,
        tasks=tuple(_task(column, kind, prepare) for column, kind in kinds.items()),
        network=lambda: _network(prepare()),
        parts=lambda: _parts(prepare()),
        data=lambda: prepare().splits,
        batch_size=64,
        epochs=min(100, max(5, _STEPS * 64 // (6 * len(table) // 10 + 1))),
        learning_rate=1e-3,
        description=f"The table {path.name}, {len(table)} rows.",
    )


def digest(problem: str) -> str:
    """Return the SHA-256 of the table's bytes and its targets."""
    file, _, query = problem.partition("?")
    return hashlib.sha256(Path(file).read_bytes() + query.encode()).hexdigest()


class Prepared(NamedTuple):
    """A prepared table.

    Args:
        splits: the three data sets.
        inputs: the number of inputs.
        classes: for each target the number of classes, 0 for regression.
        deviations: for each target the standard deviation in the column's unit, NaN for classification.
    """

    splits: Splits
    inputs: int
    classes: Mapping[str, int]
    deviations: Mapping[str, float]


@cache
def read_table(path: Path, stamp: int) -> "pd.DataFrame":
    try:
        import pandas as pd
    except ImportError:
        raise MissingPackage('Reading a table needs pandas: pip install "hardfirst[cli]".') from None
    try:
        _check_separator(path)
        table = pd.read_csv(path, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} cannot be read as a table: it is not text in UTF-8, by its byte {error.start}. Save it as UTF-8."
        ) from None
    except (ValueError, OSError, csv.Error, pd.errors.ParserError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"{path} cannot be read as a table: {reason}. It should have a line of column names, and rows of as many cells, "
            "with commas between them."
        ) from None
    if len(table) < FEWEST_ROWS:
        raise InputError(f"Expected at least {FEWEST_ROWS} rows in {path}; got {len(table)}.")
    return table


def _check_separator(path: Path) -> None:
    """Raise `InputError` for a table that has other separators than commas."""
    header = ",".join(_header(path))
    for separator, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if separator in header and "," not in header:
            raise InputError(f"The columns of {path} are separated by {name}. Save it with commas between the cells.")


def _check_header(path: Path, targets: Iterable[str]) -> None:
    """Raise `InputError` if a target has the name of another column, which would then be an input that gives it away."""
    header = _header(path)
    for target in targets:
        if header.count(target) > 1:
            positions = [str(number) for number, column in enumerate(header, start=1) if column == target]
            raise InputError(
                f"Columns {' and '.join(positions)} of {path} are both called {target!r}. Rename or remove all but the "
                "column to predict."
            )


def _header(path: Path) -> list[str]:
    """The names in the first line; a name with a line break is left out."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _task(column: str, kind: str, prepare: Callable[[], Prepared]) -> Task:
    if kind == "classification":
        return Task(column, F.cross_entropy, kpi.accuracy, {"balanced accuracy": Metric(kpi.balanced_accuracy)})

    def mean_absolute_error(output: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(output, target) * prepare().deviations[column]

    return Task(
        column, F.mse_loss, kpi.r2, {"MAE": Metric(mean_absolute_error, higher_is_better=False)}, kpi_from="validation"
    )


def _network(prepared: Prepared) -> HardSharing:
    trunk = nn.Sequential(nn.Linear(prepared.inputs, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    return HardSharing(trunk, {column: head(64) for column, head in _heads(prepared).items()})


def _heads(prepared: Prepared) -> dict[str, Callable[[int], nn.Module]]:
    return {column: class_head(classes) if classes else number_head for column, classes in prepared.classes.items()}


def _parts(prepared: Prepared) -> Parts:
    """Return the parts of other networks: the columns, and two layers of 64 features."""
    return Parts(nn.Identity, prepared.inputs, vector_layer, width=64, depth=2, heads=_heads(prepared))


def _prepare(path: Path, table: "pd.DataFrame", kinds: Mapping[str, str]) -> Prepared:
    features = table.drop(columns=list(kinds))
    rows = split_rows(features)
    train = rows["train"]
    columns = [column for name in features for column in column_inputs(path, features[name], train)]
    if not columns:
        raise InputError(f"No column of {path} is left to predict from: all others are targets, constant, or all different.")
    if not all(map(len, rows.values())):
        raise InputError(
            f"Expected rows of {path} for training, for validation and for test; too few of its {len(table)} have inputs of "
            "their own, and those with the same inputs stay in one split."
        )
    inputs = torch.stack(columns, dim=1)
    targets = {column: encoded(path, table[column], kind, train) for column, kind in kinds.items()}
    splits = {
        split: TensorTable(inputs[index], {column: target.values[index] for column, target in targets.items()})
        for split, index in rows.items()
    }
    return Prepared(
        Splits(**splits),
        len(columns),
        {column: target.classes for column, target in targets.items()},
        {column: target.deviation for column, target in targets.items()},
    )


def split_rows(features: "pd.DataFrame") -> dict[str, Tensor]:
    """Return the indices of each split's rows."""
    rows = map(repr, features.itertuples(index=not len(features.columns), name=None))
    # the first 32 bits of the hash, as a number in [0, 1)
    fractions = [int(hashlib.sha256(row.encode()).hexdigest()[:8], 16) / 16**8 for row in rows]
    fraction = torch.tensor(fractions, dtype=torch.float64)
    masks = {"train": fraction < 0.6, "validation": (fraction >= 0.6) & (fraction < 0.8), "test": fraction >= 0.8}
    return {split: mask.nonzero().squeeze(1) for split, mask in masks.items()}


def column_inputs(path: Path, column: "pd.Series[object]", train: Tensor) -> list[Tensor]:
    """Return a column's inputs, each [rows]."""
    from pandas.api.types import is_numeric_dtype

    if is_numeric_dtype(column):
        values = torch.tensor(column.astype(float).to_numpy())
        check_sizes(path, str(column.name), values)
        return _numbers(values, train)
    words = column.astype("string").fillna("")
    counts = words.iloc[train.numpy()].value_counts()
    if len(counts) < 2 or len(counts) > len(train) / 2:
        return []
    return [torch.tensor((words == word).to_numpy(dtype=float)).float() for word in sorted(counts.index[:WORDS])]


def _numbers(values: Tensor, train: Tensor) -> list[Tensor]:
    values = torch.where(values.isfinite(), values, math.nan)
    mean, deviation = mean_and_deviation(values[train])
    if not deviation > 0:
        return []
    missing = values.isnan()
    scaled = ((values - mean) / deviation).nan_to_num(0.0).float()
    return [scaled, missing.float()] if missing.any() else [scaled]
