"""The columns to predict: what their cells are to a loss, and what an output says in the column's own terms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems._data import IGNORE
from hardfirst.problems.tables._cells import NumberFormat, texts
from hardfirst.problems.tables._columns import numbers

if TYPE_CHECKING:
    import pandas as pd

REGRESSION, CLASSIFICATION, ORDINAL = KINDS = ("regression", "classification", "ordinal")


@dataclass(frozen=True)
class TargetColumn:
    """A column to predict.

    Args:
        name: the column's.
        kind: "regression", "classification" or "ordinal", which is a classification whose classes have an order.
        classes: the classes as text, in order; none for a regression.
        mean: of the training labels, or of their logarithms; 0 for classes.
        deviation: theirs, above 0; 1 for classes.
        log: whether the network predicts the natural logarithm.
        decimal: the decimal mark, if the numbers are text.
        unit: what stands at each number, if they are text.
        words: whether classes are words rather than numbers or Booleans: a word such as NA is then one of them.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0
    log: bool = False
    decimal: str = "."
    unit: str = ""
    words: bool = False

    @property
    def outputs(self) -> int:
        """The number of outputs of the network's head; 0 for one number without a separate dimension."""
        return len(self.classes) - (self.kind == ORDINAL)

    def labels(self, column: "pd.Series[object]") -> Tensor:
        """What the loss compares with [rows]: a standardised number, or the number of a class.

        No label is NaN, or -100 of a classification.

        Raises:
            InputError: a cell is no number, or none of the classes.
        """
        if self.kind == REGRESSION:
            values = numbers(column, NumberFormat(self.decimal, self.unit))
            return (((values.log() if self.log else values) - self.mean) / self.deviation).float()
        codes = self._codes(column)
        if self.kind == CLASSIFICATION:
            return codes
        return torch.where(codes == IGNORE, math.nan, codes.float())

    def in_unit(self, values: Tensor) -> Tensor:
        """Standardised numbers of a regression in the column's own unit."""
        precise = torch.float32 if values.device.type == "mps" else torch.float64
        values = values.to(precise) * self.deviation + self.mean
        return values.exp() if self.log else values

    def probabilities(self, output: Tensor) -> Tensor:
        """The probability of each class [rows, classes]."""
        if self.kind == CLASSIFICATION:
            return output.double().softmax(1)
        above = output.double().sigmoid().cummin(1).values  # P(class > k) does not rise with k
        ends = above.new_ones(len(above), 1)
        return torch.cat([ends, above], 1) - torch.cat([above, ends * 0], 1)

    def predicted(self, output: Tensor) -> Tensor:
        """The number of the predicted class [rows]."""
        return output.argmax(1) if self.kind == CLASSIFICATION else (output > 0).sum(1)

    def described(self, output: Tensor) -> dict[str, Sequence[Any]]:
        """An output in the column's own terms, by the names of the columns of a table of predictions.

        A number in its unit; or a class, and the probability of each class under "NAME: CLASS".
        """
        if self.kind == REGRESSION:
            return {self.name: self.in_unit(output).tolist()}
        classes = [self.classes[code] for code in self.predicted(output).tolist()]
        shares = self.probabilities(output).T.tolist()
        labels = [f"{self.name}: {label}" for label in self.classes]
        return {self.name: classes} | dict(zip(labels, shares, strict=True))

    def _codes(self, column: "pd.Series[object]") -> Tensor:
        import pandas as pd

        cells = texts(column)
        codes = torch.as_tensor(pd.Index(self.classes, dtype="string").get_indexer(cells).copy())
        if len(wrong := cells[(codes.numpy() < 0) & cells.notna().to_numpy()]):
            row = int(cells.index.get_indexer(wrong.index[:1])[0]) + 1
            listed = ", ".join(self.classes[:8]) + ", …" * (len(self.classes) > 8)
            raise InputError(
                f"Expected one of the classes {listed} in column {self.name!r}; got {wrong.iloc[0]!r} in row {row}. They "
                "are those of the table that the network was trained on."
            )
        return torch.where(codes < 0, IGNORE, codes).long()
