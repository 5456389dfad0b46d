"""What tests of the built-in problems share: whole splits, and which labels there are."""

from collections.abc import Iterator

import torch
from torch import Tensor

from hardfirst.problems import IGNORE, Problem, Splits, TensorTable

SPLITS = ("train", "validation", "test")


def table(splits: Splits, split: str) -> TensorTable:
    found = getattr(splits, split)
    assert isinstance(found, TensorTable)
    return found


def whole(splits: Splits, split: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """All inputs, by name, and targets of a split."""
    examples = table(splits, split)
    inputs, targets = examples[torch.arange(len(examples))]
    return (inputs if isinstance(inputs, dict) else {"inputs": inputs}), targets


def columns(splits: Splits) -> Iterator[tuple[str, Tensor]]:
    """Each input and target of each split."""
    for split in SPLITS:
        inputs, targets = whole(splits, split)
        yield from ((f"{split} {name}", column) for name, column in {**inputs, **targets}.items())


def has_label(target: Tensor) -> Tensor:
    return ~target.isnan() if target.is_floating_point() else target != IGNORE


def labelled(problem: Problem, outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Outputs and targets of the examples with a label; a target for each word has its own."""
    pairs = {}
    for task in problem.task_names:
        target = targets[task]
        rows = has_label(target) if target.dim() == 1 else torch.ones(len(target), dtype=torch.bool)
        if rows.any():
            pairs[task] = outputs[task][rows], target[rows]
    return pairs
