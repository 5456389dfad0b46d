"""A small problem that reads a folder, as the field's benchmarks do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, within
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems import (
    FIELDS,
    FolderProblem,
    Metric,
    Problem,
    Published,
    PublishedMeasure,
    Splits,
    Task,
    TensorTable,
    batch_mean,
    folder_name,
)
from hardfirst.problems.fields import held_out

LAYOUT = "DIR/{train,val}.npy"
HEADS = {"kind": class_head(3), "depth": number_head}


def write(folder: Path, train: int = 60, val: int = 21) -> Path:
    """Write the folder of the problem."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name, rows in (("train", train), ("val", val)):
        inputs = random.normal(size=(rows, 4))
        np.save(folder / f"{name}.npy", np.column_stack([inputs, inputs[:, :3].argmax(1), inputs[:, 0] * inputs[:, 1] + 3]))
    return folder


def register(patch: pytest.MonkeyPatch) -> None:
    """Add the problem to the field's, as `toy`."""
    row = FolderProblem(__name__, "kind, depth", "A toy.", LAYOUT, "its test", "1 kB")
    patch.setitem(FIELDS, "toy", row)


def name(folder: Path) -> str:
    """The name of the problem with its folder, which is written if it is missing."""
    return folder_name("toy", folder if folder.exists() else write(folder))


def check(folder: Path) -> list[str]:
    problem(folder)
    counts = {split: len(_table(folder, split)) for split in ("train", "val")}
    return [f"{counts['train']} + {counts['val']} rows"]


def problem(folder: Path) -> Problem:
    if not (folder / "train.npy").is_file():
        raise InputError(f"Expected {LAYOUT} in {folder}; there is no train.npy.")

    def data() -> Splits:
        train = _table(folder, "train")
        chosen = torch.tensor([held_out(str(row)) for row in range(len(train))])
        return Splits(_examples(train[~chosen]), _examples(train[chosen]), _examples(_table(folder, "val")))

    def published() -> Splits:
        val = _examples(_table(folder, "val"))
        return Splits(_examples(_table(folder, "train")), val, val)

    tasks = (
        Task("kind", F.cross_entropy, accuracy, {"error": Metric(_share_of_errors, higher_is_better=False)}),
        Task("depth", F.l1_loss, lambda output, target: within(output, target, threshold=0.5), {"L1": _L1}),
    )
    return Problem(
        "toy",
        tasks,
        lambda: HardSharing(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), {task: head(8) for task, head in HEADS.items()}),
        data,
        batch_size=16,
        epochs=3,
        parts=lambda: Parts(nn.Identity, 4, vector_layer, width=8, depth=1, heads=HEADS),
        published=Published(
            published,
            {
                "kind": (PublishedMeasure("KPI", True, 0.8), PublishedMeasure("error", False, 0.2)),
                "depth": (PublishedMeasure("L1", False, 0.5),),
            },
            last=2,
            metrics={"depth": {"L1": Metric(batch_mean(F.l1_loss), higher_is_better=False)}},
            evaluation_batch=4,
        ),
    )


_L1 = Metric(F.l1_loss, higher_is_better=False)


def _share_of_errors(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return 1 - accuracy(output, target)


def _table(folder: Path, split: str) -> torch.Tensor:
    return torch.from_numpy(np.load(folder / f"{split}.npy")).float()


def _examples(rows: torch.Tensor) -> TensorTable:
    return TensorTable(rows[:, :4], {"kind": rows[:, 4].long(), "depth": rows[:, 5]})
