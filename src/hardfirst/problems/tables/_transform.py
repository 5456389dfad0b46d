"""A table's transform: what was fitted to the training rows, as a value that can be saved and used on new rows."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, unknown
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems.tables import _reading
from hardfirst.problems.tables._columns import Column, WordColumn, from_dict, to_dict
from hardfirst.problems.tables._targets import TargetColumn

if TYPE_CHECKING:
    import pandas as pd

_VERSION = 1


@dataclass(frozen=True)
class TableTransform:
    """Turns the rows of a table into tensors, and a network's outputs into predictions.

    It is fitted to the training rows by `load_problem`, holds plain numbers and words, and is saved as JSON.

    Args:
        inputs: the input columns, in the order of the network's inputs.
        targets: the columns to predict.

    Example:
        >>> import pandas as pd
        >>> from hardfirst.problems.tables import NumberColumn, Scale, TableTransform, TargetColumn
        >>> area = NumberColumn("area", Scale(low=0.0, high=200.0, mean=100.0, deviation=20.0))
        >>> transform = TableTransform((area,), (TargetColumn("price", "regression", mean=300.0, deviation=50.0),))
        >>> transform.transform(pd.DataFrame({"area": [120, 500]}))
        tensor([[1.],
                [5.]])
        >>> transform.predictions({"price": torch.tensor([0.0, 1.0])})["price"].tolist()
        [300.0, 350.0]
        >>> TableTransform.from_json(transform.to_json()) == transform
        True
    """

    inputs: tuple[Column, ...]
    targets: tuple[TargetColumn, ...]

    @property
    def width(self) -> int:
        """The number of the network's inputs."""
        return sum(column.width for column in self.inputs)

    def read(self, path: Path) -> "pd.DataFrame":
        """Read new rows from a file of any format that a problem's table may have.

        Words and classes are read as they are written, whatever else the column holds.

        Raises:
            InputError: the file cannot be read as a table, or a column is missing.
        """
        sheet = _reading.read(path)
        self.check(sheet.frame.columns, str(path))
        words = [column.name for column in self.inputs if isinstance(column, WordColumn)]
        classes = [target.name for target in self.targets if target.words and target.name in sheet.frame]
        frame = sheet.frame.copy()
        for name in (*words, *classes):
            frame[name] = sheet.words(name, keep=name in classes)
        return frame

    def check(self, columns: Any, where: str = "the table") -> None:
        """Raise `InputError` unless all input columns are there; others do no harm."""
        names = [str(name) for name in columns]
        missing = [column for column in self.inputs if column.name not in names]
        if missing:
            others = [name for name in names if name not in {column.name for column in self.inputs}]
            listed = ", ".join(f"{column.name!r} ({_KIND[column.kind]})" for column in missing)
            near = unknown("column", missing[0].name, others) if others else ""
            hint = str(near).partition("; did you mean ")[2].partition("?")[0]
            raise InputError(
                f"Expected the columns that the network was trained on in {where}; it lacks {listed}."
                + (f" Is {missing[0].name!r} called {hint} there?" if hint else "")
            )

    def transform(self, frame: "pd.DataFrame") -> Tensor:
        """The network's inputs [rows, width].

        Args:
            frame: rows with at least the input columns, in any order; best from `read`.

        Raises:
            InputError: a column is missing, or a cell does not fit its kind; the message names column, row and value.
        """
        self.check(frame.columns)
        return torch.cat([column.encode(frame[column.name]) for column in self.inputs], 1)

    def labels(self, frame: "pd.DataFrame") -> dict[str, Tensor]:
        """The targets that the rows have a column for, by name, as the losses and KPIs of the problem's tasks take them.

        Raises:
            InputError: a cell is no number, or no class that was in the table of training.
        """
        return {target.name: target.labels(frame[target.name]) for target in self.targets if target.name in frame}

    def predictions(self, outputs: Mapping[str, Tensor]) -> "pd.DataFrame":
        """A network's outputs as a table: numbers in their unit, classes by name and the probability of each.

        Args:
            outputs: by target, as the network returns them; a target may be missing.
        """
        import pandas as pd

        columns: dict[str, Any] = {}
        for target in self.targets:
            if target.name in outputs:
                columns |= target.described(outputs[target.name].detach().cpu())
        return pd.DataFrame(columns)

    def network(self) -> HardSharing:
        """A new network of a table's own kind, "own": layers of 128 and 64 units, and a linear head for each target."""
        trunk = nn.Sequential(nn.Linear(self.width, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        return HardSharing(trunk, {name: head(64) for name, head in self._heads().items()})

    def parts(self) -> Parts:
        """The parts of all other networks: the inputs, two layers of 64 features, and the same heads."""
        return Parts(nn.Identity, self.width, vector_layer, width=64, depth=2, heads=self._heads())

    def _heads(self) -> dict[str, Callable[[int], nn.Module]]:
        return {target.name: class_head(target.outputs) if target.outputs else number_head for target in self.targets}

    def to_json(self) -> str:
        """The transform as JSON."""
        content = {
            "version": _VERSION,
            "inputs": [to_dict(column) for column in self.inputs],
            "targets": [asdict(target) for target in self.targets],
        }
        return json.dumps(content, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "TableTransform":
        """The transform that `to_json` has written.

        Raises:
            InputError: the text is something else.
        """
        try:
            content = json.loads(text)
            if content["version"] != _VERSION:
                raise InputError(
                    f"Expected a table's transform of version {_VERSION}; got {content['version']!r:.20}. Train again with "
                    "this version of hardfirst."
                )
            targets = (TargetColumn(**{**each, "classes": tuple(each["classes"])}) for each in content["targets"])
            return cls(tuple(map(from_dict, content["inputs"])), tuple(targets))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"Expected a table's transform as JSON; got {text!r:.60}.") from None


_KIND = {"number": "numbers", "words": "words", "date": "dates"}
