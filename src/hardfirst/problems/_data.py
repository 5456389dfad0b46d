"""Data sets of `(inputs, {task: target})`, and their batches."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from hardfirst.errors import InputError
from hardfirst.problems._augmented import Draw, drawing

IGNORE = -100  # the class of an unlabelled example, as in torch's cross_entropy

Batch = tuple[Any, dict[str, Tensor]]
Split = Dataset[Any] | Mapping[str, Dataset[Any]]


class TensorTable(Dataset[Batch]):
    """A data set in memory, which indexes each tensor once per batch instead of looping over examples.

    Args:
        inputs: [examples, ...], or a dict of such tensors, which the network then receives.
        targets: for each task [examples, ...]; NaN or -100 marks a missing label.

    Raises:
        InputError: the tensors have different numbers of examples, or are not tensors.

    Example:
        >>> import torch
        >>> table = TensorTable(torch.rand(5, 8), {"depth": torch.rand(5), "kind": torch.tensor([0, 1, -100, 2, 0])})
        >>> len(table), table[2][1]["kind"]
        (5, tensor(-100))
    """

    def __init__(self, inputs: Tensor | Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        named_inputs = {"inputs": inputs} if isinstance(inputs, Tensor) else inputs
        for what, tensors in (("inputs", named_inputs), ("targets", targets)):
            if not isinstance(tensors, Mapping) or not all(
                isinstance(tensor, Tensor) and tensor.dim() for tensor in tensors.values()
            ):
                raise InputError(
                    f"Expected the {what} of a TensorTable to be tensors [examples, ...], by name; got "
                    f"{_describe(tensors)}. Convert a NumPy array with torch.as_tensor."
                )
        if not named_inputs:
            raise InputError("Expected a TensorTable to have inputs; got none.")
        self.inputs = inputs if isinstance(inputs, Tensor) else dict(inputs)
        self.targets = dict(targets)
        self.count = len(next(iter(named_inputs.values())))
        for name, column in [*self.targets.items(), *named_inputs.items()]:
            if len(column) != self.count:
                raise InputError(f"Expected {self.count} examples of {name!r}, as many as inputs; got {len(column)}.")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int | slice | Tensor) -> Batch:
        inputs = self.inputs
        batch = inputs[index] if isinstance(inputs, Tensor) else {name: column[index] for name, column in inputs.items()}
        return batch, {task: target[index] for task, target in self.targets.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return self[torch.as_tensor(indices)]


class ConcatSplit(Dataset[Batch]):
    """A split's data sets, concatenated; a batch always comes from one of them.

    Args:
        split: a data set, or several by name.
        draw: what determines the random numbers of `Augmented` data sets; None leaves their items unchanged.

    Example:
        >>> import torch
        >>> small, large = (TensorTable(torch.rand(n, 2), {"a": torch.rand(n)}) for n in (3, 7))
        >>> len(ConcatSplit({"small": small, "large": large}))
        10
    """

    def __init__(self, split: Split, *, draw: Draw | None = None) -> None:
        self.draw = draw
        self.parts: list[Dataset[Any]] = list(split.values()) if isinstance(split, Mapping) else [split]
        self.sizes = [len(part) for part in self.parts]  # type: ignore[arg-type]  # torch leaves Dataset without a length
        self.ends = list(accumulate(self.sizes))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitems__(self, indices: Sequence[int]) -> Batch | list[Batch]:
        number = bisect_right(self.ends, indices[0])
        part, start = self.parts[number], self.ends[number] - self.sizes[number]
        local = [index - start for index in indices]
        get_items = getattr(part, "__getitems__", None)  # optional in torch: many items in one call
        with drawing(self.draw, number):
            items: Batch | list[Batch] = get_items(local) if get_items else [part[index] for index in local]
        return items


def collate(items: Batch | Sequence[Batch]) -> Batch:
    """Combine items into a batch, with NaN or -100 for a task's missing targets."""
    if isinstance(items, tuple):  # a TensorTable returns whole batches
        return items
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2 or not isinstance(item[1], Mapping):
            raise InputError(f"Expected items `(inputs, {{task: target}})` in a data set; got {_describe(item)}.")
    try:
        inputs = default_collate([inputs for inputs, _ in items])
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        got = " and ".join(dict.fromkeys(_describe(inputs) for inputs, _ in items))
        raise InputError(f"The inputs of the items do not form a batch, {got:.300}: {_first_line(error)}") from error
    tasks = dict.fromkeys(task for _, targets in items for task in targets)
    return inputs, {task: _collate_targets(task, [targets.get(task) for _, targets in items]) for task in tasks}


def _collate_targets(task: str, values: Sequence[Any]) -> Tensor:
    present = [value for value in values if value is not None]
    if not present:
        raise InputError(
            f"Expected a target of task {task!r}, NaN or {IGNORE} for a missing label, or no such key; got None."
        )
    try:
        like = torch.as_tensor(present[0])
        # int64, since -100 as a uint8 is class 156, and as a bool is true
        missing = like.new_full(like.shape, math.nan) if like.is_floating_point() else torch.full(like.shape, IGNORE)
        return torch.stack([missing if value is None else torch.as_tensor(value) for value in values])
    except (RuntimeError, TypeError, ValueError) as error:
        got = " and ".join(dict.fromkeys(map(_describe, present)))
        raise InputError(f"The targets of task {task!r} do not form a batch, {got:.300}: {_first_line(error)}") from error


def _describe(value: Any) -> str:
    """Describe an item or a part of it, for an error message."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_describe(each)}' for key, each in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r:.40}" if isinstance(value, str | int | float) else type(value).__name__


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
