"""The columns that are inputs: how each becomes numbers, fitted on the training rows and kept as plain values."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems.tables._cells import NumberFormat, is_numeric, texts

if TYPE_CHECKING:
    import pandas as pd

PLAIN = NumberFormat()
HASHED = 32
"""Inputs of text by the hashes of its letters."""
_CLIP = 3  # ranges from the 5% to the 95% quantile, beyond these quantiles


@dataclass(frozen=True)
class Scale:
    """Clips numbers at bounds and standardises them.

    Args:
        low: the least number that stays as it is.
        high: the greatest.
        mean: of the clipped training numbers.
        deviation: theirs, above 0.
    """

    low: float
    high: float
    mean: float
    deviation: float

    @classmethod
    def fit(cls, values: Tensor) -> "Scale | None":
        """Fit to training numbers [rows], NaN where there is none; None if they are constant.

        The bounds are the 5% and the 95% quantile, and three times the range between them beyond: a normal variable is not
        clipped within ten standard deviations of its mean.
        """
        present = values[values.isfinite()].double().sort().values
        if len(present) < 2:
            return None
        low, high = quantile(present, 0.05), quantile(present, 0.95)
        spread = high - low
        if spread == 0:  # nearly all numbers are equal: the others give the range
            distances = (present[present != low] - low).abs().sort().values
            spread = quantile(distances, 0.95) if len(distances) else 0.0
        low, high = low - _CLIP * spread, high + _CLIP * spread
        clipped = values[values.isfinite()].double().clamp(low, high)
        deviation = float(clipped.std())
        return cls(low, high, float(clipped.mean()), deviation) if deviation > 0 else None

    def __call__(self, values: Tensor) -> Tensor:
        """Standardise numbers; a missing one becomes the mean, 0."""
        return ((values.clamp(self.low, self.high) - self.mean) / self.deviation).nan_to_num(0.0).float()


def quantile(ordered: Tensor, share: float) -> float:
    """The value that lies this share of the way through sorted ones."""
    return float(ordered[int(share * (len(ordered) - 1))])  # torch.quantile has a largest size


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers: an input, and a second one that marks missing numbers if there were some in training.

    Args:
        name: the column's.
        scale: bounds, mean and standard deviation.
        marks_missing: whether there is a second input.
        decimal: the decimal mark, if the numbers are text.
        unit: what stands at each number, if they are text.
        absent: words that stand for a missing number.
    """

    kind: ClassVar[str] = "number"
    name: str
    scale: Scale
    marks_missing: bool = False
    decimal: str = "."
    unit: str = ""
    absent: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """The number of inputs."""
        return 1 + self.marks_missing

    def encode(self, column: "pd.Series[object]") -> Tensor:
        """The inputs [rows, width].

        Raises:
            InputError: a cell is no number.
        """
        values = finite(numbers(column, NumberFormat(self.decimal, self.unit), self.absent))
        return torch.stack([self.scale(values), values.isnan().float()][: self.width], 1)


@dataclass(frozen=True)
class WordColumn:
    """A column of words: an input for each frequent word, and for many words or text the hashes of their letters.

    Args:
        name: the column's.
        words: the words that have their own input.
        hashed: the number of inputs by hashes; 0 for none.
    """

    kind: ClassVar[str] = "words"
    name: str
    words: tuple[str, ...] = ()
    hashed: int = 0

    @property
    def width(self) -> int:
        """The number of inputs."""
        return len(self.words) + self.hashed

    def encode(self, column: "pd.Series[object]") -> Tensor:
        """The inputs [rows, width]."""
        import pandas as pd

        cells = texts(column).fillna("")
        codes = torch.as_tensor(pd.Index(self.words, dtype="string").get_indexer(cells).copy())
        parts = [F.one_hot(codes + 1, len(self.words) + 1)[:, 1:].float()] if self.words else []
        return torch.cat([*parts, *([_hashes(list(cells), self.hashed)] if self.hashed else [])], 1)


def _hashes(cells: Sequence[str], width: int) -> Tensor:
    """Signed counts of each cell's runs of 2 to 4 letters within words, by their hash [cells, width], of unit variance."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(n_features=width, analyzer="char_wb", ngram_range=(2, 4))
    return torch.as_tensor(vectorizer.transform(cells).toarray()).float() * math.sqrt(width)


@dataclass(frozen=True)
class DateColumn:
    """A column of dates: the time itself, and its place in the year, the week and the day.

    Args:
        name: the column's.
        days: bounds, mean and standard deviation of the days since 1970.
        cycles: of "year", "week" and "day" those in which the training rows differ; each is a sine and a cosine.
        format: as in `strptime`, if the dates are text.
        marks_missing: whether there is an input that marks missing dates.
    """

    kind: ClassVar[str] = "date"
    name: str
    days: Scale
    cycles: tuple[str, ...] = ()
    format: str = ""
    marks_missing: bool = False

    @property
    def width(self) -> int:
        """The number of inputs."""
        return 1 + 2 * len(self.cycles) + self.marks_missing

    def encode(self, column: "pd.Series[object]") -> Tensor:
        """The inputs [rows, width].

        Raises:
            InputError: a cell is no date.
        """
        found = dates(column, self.format)
        values = days(found)
        parts = [self.days(values)]
        for cycle in self.cycles:
            angle = 2 * math.pi * phase(found, cycle)
            parts += [angle.sin().nan_to_num(0.0).float(), angle.cos().nan_to_num(0.0).float()]
        return torch.stack([*parts, *[values.isnan().float()] * self.marks_missing], 1)


Column = NumberColumn | WordColumn | DateColumn
_KINDS: dict[str, type[Column]] = {kind.kind: kind for kind in (NumberColumn, WordColumn, DateColumn)}


def to_dict(column: Column) -> dict[str, Any]:
    """A column's kind and parameters, as JSON has them."""
    return {"kind": column.kind, **asdict(column)}


def from_dict(content: dict[str, Any]) -> Column:
    """The column with these parameters."""
    parameters: dict[str, Any] = {}
    for key, value in content.items():
        if key != "kind":
            scale = key in ("scale", "days")
            parameters[key] = Scale(**value) if scale else tuple(value) if isinstance(value, list) else value
    return _KINDS[content["kind"]](**parameters)


def finite(values: Tensor) -> Tensor:
    """The values with NaN in place of infinite ones."""
    return torch.where(values.isfinite(), values, math.nan)


def numbers(
    column: "pd.Series[object]", form: NumberFormat = PLAIN, absent: Sequence[str] = (), *, where: str = ""
) -> Tensor:
    """A column's numbers [rows] in float64, NaN where a cell is empty or holds a word that stands for a missing number.

    Args:
        column: the column.
        form: how its numbers are written, if they are text.
        absent: words that stand for a missing number.
        where: what the error adds to the column's name, such as " of homes.csv".

    Raises:
        InputError: a cell is no number; the message names its row.
    """
    if is_numeric(column):
        return torch.tensor(column.astype(float).to_numpy().copy())  # a reversed frame has negative strides
    cells = texts(column)
    values = {cell: _value(cell, form) for cell in cells.dropna().unique()}
    wrong = {cell for cell, value in values.items() if math.isnan(value)} - {*absent}
    if wrong:
        row = int(cells.isin(list(wrong)).to_numpy().argmax())
        written = "1234.5" if form.decimal == "." else "1234,5"
        raise InputError(
            f"Expected a number such as {written}{form.unit and f' {form.unit}'} in column {column.name!r}{where}; got "
            f"{cells.iloc[row]!r} in row {row + 1}. Correct it or leave the cell empty."
        )
    return torch.tensor([values.get(cell, math.nan) for cell in cells], dtype=torch.float64)


def _value(cell: str, form: NumberFormat) -> float:
    if cell in ("True", "False"):
        return float(cell == "True")
    if cell.lower().lstrip("+-") in ("inf", "infinity"):
        return float(cell)
    plain = PLAIN.value(cell) if form.decimal == "." else math.nan
    value = form.value(cell)
    return plain if math.isnan(value) else value


def dates(column: "pd.Series[object]", form: str) -> "pd.Series[pd.Timestamp]":
    """A column's dates, missing where a cell is empty.

    Raises:
        InputError: a cell is no date; the message names its row.
    """
    import pandas as pd
    from pandas.api.types import is_datetime64_any_dtype

    if is_datetime64_any_dtype(column):
        found = column
    else:
        cells = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell)
        found = pd.to_datetime(cells, errors="coerce", format=form or None)
        if (wrong := found.isna() & column.notna()).any():
            row = int(wrong.to_numpy().argmax())
            raise InputError(
                f"Expected a date such as {pd.Timestamp(2026, 1, 31, 12, 30).strftime(form or '%Y-%m-%d')} in column "
                f"{column.name!r}; got {column.iloc[row]!r} in row {row + 1}. Correct it or leave the cell empty."
            )
    return found.dt.tz_convert(None) if found.dt.tz is not None else found


def days(found: "pd.Series[pd.Timestamp]") -> Tensor:
    """The days since 1970 [rows], NaN where there is no date."""
    import pandas as pd

    return torch.tensor(((found - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(dtype=float).copy())


def phase(found: "pd.Series[pd.Timestamp]", cycle: str) -> Tensor:
    """The place in a cycle [rows], as a share of it in [0, 1)."""
    parts = found.dt
    share = {
        "year": lambda: (parts.day_of_year - 1) / 366,
        "week": lambda: parts.day_of_week / 7,
        "day": lambda: (parts.hour + parts.minute / 60) / 24,
    }[cycle]()
    return torch.tensor(share.to_numpy(dtype=float).copy())


CYCLES = ("year", "week", "day")
