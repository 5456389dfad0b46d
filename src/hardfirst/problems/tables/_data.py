"""A prepared table as training needs it, which can be written to a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import TensorTable
from hardfirst.problems.tables import _measures
from hardfirst.problems.tables._guess import FittedTarget
from hardfirst.problems.tables._name import TargetChoice
from hardfirst.problems.tables._splits import SPLITS
from hardfirst.problems.tables._transform import TableTransform
from hardfirst.records import replaced_file

BATCH = 64
"""Examples in a training step."""
_STEPS, _MOST_STEPS, _EPOCHS = 2000, 12_000, 20


@dataclass(frozen=True, eq=False)
class TableData:
    """A prepared table as training needs it.

    Args:
        transform: what was fitted to the training rows.
        choices: the KPI and options of each of the transform's targets.
        counts: the training labels of each class, by target; () for a regression.
        splits: three `TensorTable`s.
    """

    transform: TableTransform
    choices: tuple[TargetChoice, ...]
    counts: tuple[tuple[int, ...], ...]
    splits: Splits

    @classmethod
    def of(
        cls, transform: TableTransform, targets: Sequence[FittedTarget], inputs: Tensor, rows: Mapping[str, Tensor]
    ) -> "TableData":
        """A table that is fitted.

        Args:
            transform: what was fitted.
            targets: those of the transform.
            inputs: [rows, inputs].
            rows: the indices of each split.
        """
        labels = {target.column.name: target.labels for target in targets}
        tables = {
            split: TensorTable(inputs[index], {name: values[index] for name, values in labels.items()})
            for split, index in rows.items()
        }
        choices = tuple(target.choice for target in targets)
        return cls(transform, choices, tuple(target.counts for target in targets), Splits(**tables))

    def problem(self, name: str, rows: int, description: str = "") -> Problem:
        """The table as a problem.

        Args:
            name: the problem's.
            rows: that train, for the default number of epochs.
            description: one sentence.
        """
        targets = zip(self.transform.targets, self.choices, self.counts, strict=True)
        return Problem(
            name=name,
            tasks=tuple(_measures.task(*target) for target in targets),
            network=self.transform.network,
            parts=self.transform.parts,
            data=lambda: self.splits,
            batch_size=BATCH,
            epochs=epochs_of(rows),
            learning_rate=1e-3,
            description=description,
            transform=self.transform,
        )

    def save(self, path: Path) -> None:
        """Write everything to a file.

        Raises:
            InputError: the folder cannot be written to.
        """
        about = {
            "transform": self.transform.to_json(),
            "choices": [asdict(choice) for choice in self.choices],
            "counts": self.counts,
        }
        tensors = {split: {"inputs": table.inputs, "targets": table.targets} for split, table in self.tables.items()}
        with replaced_file(path) as part:
            torch.save({"about": json.dumps(about), "tensors": tensors}, part)

    @property
    def tables(self) -> dict[str, TensorTable]:
        """The three data sets by split."""
        return {split: getattr(self.splits, split) for split in SPLITS}

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The inputs [rows, inputs] of each split."""
        return {split: table.inputs for split, table in self.tables.items() if isinstance(table.inputs, Tensor)}

    @classmethod
    def read(cls, path: Path) -> "TableData":
        """Read what `save` has written, without executing code from the file; of a damaged file, raise any exception."""
        content = torch.load(path, weights_only=True)
        about = json.loads(content["about"])
        return cls(
            TableTransform.from_json(about["transform"]),
            tuple(TargetChoice(**{**choice, "order": tuple(choice["order"])}) for choice in about["choices"]),
            tuple(map(tuple, about["counts"])),
            Splits(**{split: TensorTable(**content["tensors"][split]) for split in SPLITS}),
        )


def epochs_of(rows: int) -> int:
    """The default number of epochs for so many training rows.

    They are 2,000 steps; for more rows 20 epochs, but at most 12,000 steps, and at least 5 epochs.
    """
    train = rows + 1
    examples = max(_STEPS * BATCH, min(_EPOCHS * train, _MOST_STEPS * BATCH))
    return min(100, max(5, examples // train))
