"""Data sets of (inputs, {task: target}), and how their items become batches."""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from hardfirst.errors import InputError

IGNORE = -100  # the class that stands for "no label", as in torch's cross_entropy

Batch = tuple[Any, dict[str, Tensor]]
Split = Dataset[Any] | Mapping[str, Dataset[Any]]


class TensorTable(Dataset[Batch]):
    """A data set that is in memory: a batch is one index into each tensor, not a loop over examples.

    Args:
        inputs: [examples, ...], or several such tensors by name, which the network then gets as a dict.
        targets: by task, [examples, ...]; NaN or -100 where there is no label.

    Raises:
        InputError: there are not as many of one as of the other.

    Example:
        >>> import torch
        >>> table = TensorTable(torch.rand(5, 8), {"depth": torch.rand(5), "kind": torch.tensor([0, 1, -100, 2, 0])})
        >>> len(table), table[2][1]["kind"]
        (5, tensor(-100))
    """

    def __init__(self, inputs: Tensor | Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        given = {"inputs": inputs} if isinstance(inputs, Tensor) else inputs
        for what, tensors in (("inputs", given), ("targets", targets)):
            if not isinstance(tensors, Mapping) or not all(
                isinstance(one, Tensor) and one.dim() for one in tensors.values()
            ):
                raise InputError(
                    f"Expected the {what} of a TensorTable to be tensors [examples, ...], by name; got "
                    f"{_kinds(tensors)}. A NumPy array becomes one by torch.as_tensor."
                )
        if not given:
            raise InputError("Expected a TensorTable to have inputs; got none.")
        self.inputs = inputs if isinstance(inputs, Tensor) else dict(inputs)
        self.targets = dict(targets)
        columns = {**self.targets, **({} if isinstance(inputs, Tensor) else inputs)}
        self.count = len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))
        for name, column in columns.items():
            if len(column) != self.count:
                raise InputError(f"Expected {self.count} examples of {name!r}, as many as inputs; got {len(column)}.")

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int | Tensor) -> Batch:
        inputs = self.inputs
        taken = inputs[index] if isinstance(inputs, Tensor) else {name: column[index] for name, column in inputs.items()}
        return taken, {task: target[index] for task, target in self.targets.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return self[torch.as_tensor(indices)]


class Together(Dataset[Batch]):
    """A split's data sets one after another, where a batch is always of one of them.

    Args:
        split: a data set, or several by name.

    Example:
        >>> import torch
        >>> small, large = (TensorTable(torch.rand(n, 2), {"a": torch.rand(n)}) for n in (3, 7))
        >>> len(Together({"small": small, "large": large}))
        10
    """

    def __init__(self, split: Split) -> None:
        self.parts: list[Dataset[Any]] = list(split.values()) if isinstance(split, Mapping) else [split]
        self.sizes = [len(part) for part in self.parts]  # type: ignore[arg-type]  # torch leaves Dataset without a length
        self.ends = list(accumulate(self.sizes))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitems__(self, indices: Sequence[int]) -> Batch | list[Batch]:
        place = bisect_right(self.ends, indices[0])
        part, start = self.parts[place], self.ends[place] - self.sizes[place]
        local = [index - start for index in indices]
        if isinstance(part, TensorTable):
            return part.__getitems__(local)
        many = getattr(part, "__getitems__", None)  # a data set may offer whole batches, as torch's own loader asks
        items: list[Batch] = many(local) if many is not None else [part[index] for index in local]
        return items


def collate(items: Batch | Sequence[Batch]) -> Batch:
    """Make a batch of items; a task that some items have no label for is filled with NaN or -100."""
    if isinstance(items, tuple):  # a TensorTable gives whole batches
        return items
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2 or not isinstance(item[1], Mapping):
            raise InputError(f"Expected items `(inputs, {{task: target}})` in a data set; got {_kinds(item)}.")
    try:
        inputs = default_collate([inputs for inputs, _ in items])
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        found = " and ".join(dict.fromkeys(_kinds(inputs) for inputs, _ in items))
        raise InputError(f"The inputs of the items do not make a batch, {found:.300}: {_first_line(error)}") from error
    tasks = dict.fromkeys(task for _, targets in items for task in targets)
    return inputs, {task: _collate_targets(task, [targets.get(task) for _, targets in items]) for task in tasks}


def _collate_targets(task: str, values: Sequence[Any]) -> Tensor:
    known = [value for value in values if value is not None]
    if not known:
        raise InputError(
            f"Expected a target of task {task!r}, NaN or {IGNORE} where there is none, or no such key; got None."
        )
    try:
        like = torch.as_tensor(known[0])
        missing = torch.full_like(like, math.nan if like.is_floating_point() else IGNORE)
        return torch.stack([missing if value is None else torch.as_tensor(value) for value in values])
    except (RuntimeError, TypeError, ValueError) as error:
        found = " and ".join(dict.fromkeys(map(_kinds, known)))
        raise InputError(f"The targets of task {task!r} do not make a batch, {found:.300}: {_first_line(error)}") from error


def _kinds(value: Any) -> str:
    """What a data set gave, in words."""
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_kinds(each)}' for key, each in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r:.40}" if isinstance(value, str | int | float) else type(value).__name__


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
