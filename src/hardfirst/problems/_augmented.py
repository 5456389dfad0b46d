"""Random augmentation that depends only on the seed, the epoch and the item."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hardfirst.errors import InputError, whole

Draw = tuple[int, int]
"""The seed of a run and the epoch, counted from 0, which determine the random numbers of training batches."""

_current: ContextVar[tuple[int, ...] | None] = ContextVar("draw", default=None)  # and the number of the data set


class Augmented(Dataset[Any]):
    """A data set whose items are changed at random in training batches only.

    The random numbers depend on the run's seed, the epoch, and the item's index. So each epoch has different pictures, and a
    run has the same ones regardless of the number of loading processes and of whether it was stopped and resumed.

    Args:
        dataset: a data set of items `(inputs, {task: target})`.
        function: a function of an item and a `torch.Generator`, which returns the changed item. It may change the item in
            place, since it gets a copy. All random numbers should be drawn from the generator.

    Raises:
        InputError: the data set has no length, or the function does not take two arguments.

    Example:
        >>> import torch
        >>> from hardfirst.problems import Augmented, TensorTable
        >>> def flipped(item, generator):
        ...     picture, targets = item
        ...     flip = torch.rand((), generator=generator) < 0.5
        ...     return (picture.flip(-1) if flip else picture), targets
        >>> table = TensorTable(torch.arange(4.0).reshape(1, 4), {"kind": torch.tensor([0])})
        >>> train = Augmented(table, flipped)
        >>> train[0][0].tolist()
        [0.0, 1.0, 2.0, 3.0]
        >>> sorted({train.drawn(0, seed=0, epoch=epoch)[0][0].item() for epoch in range(9)})
        [0.0, 3.0]
    """

    def __init__(self, dataset: Any, function: Callable[[Any, torch.Generator], Any]) -> None:
        if not all(hasattr(dataset, name) for name in ("__len__", "__getitem__")) or isinstance(dataset, Mapping):
            raise InputError(
                f"Expected a data set with a length to augment; got {type(dataset).__name__}. To augment several data sets "
                "by name, wrap each of them."
            )
        try:
            signature(function).bind(None, None)
        except (TypeError, ValueError):
            raise InputError(f"Expected a function (item, generator) to augment with; got {function!r:.80}.") from None
        self.dataset, self.function = dataset, function
        # augmented data sets may be nested: each has its own random numbers
        self.depth: int = dataset.depth + 1 if isinstance(dataset, Augmented) else 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        if (draw := _current.get()) is None:
            return item
        key = ",".join(map(str, (*draw, self.depth, int(index))))
        seed = int.from_bytes(blake2b(key.encode(), digest_size=7).digest())
        changed = self.function(_copied(item), torch.Generator().manual_seed(seed))
        if not isinstance(changed, tuple | list) or len(changed) != 2:
            name = getattr(self.function, "__name__", type(self.function).__name__)
            raise InputError(
                f"Expected {name!r} to return the changed item, (inputs, {{task: target}}); it returned "
                f"{type(changed).__name__}."
            )
        return changed

    def __getitems__(self, indices: Sequence[int]) -> Any:
        get_items = getattr(self.dataset, "__getitems__", None)
        if _current.get() is None and get_items is not None:
            return get_items(indices)
        return [self[index] for index in indices]

    def drawn(self, index: int, *, seed: int, epoch: int) -> Any:
        """Return the item as a run with this seed sees it.

        Args:
            index: the index of the item.
            seed: the seed of the run.
            epoch: counts from 0.

        Raises:
            InputError: seed or epoch is below 0.
        """
        with drawing((whole("seed", seed, least=0), whole("epoch", epoch, least=0)), 0):
            return self[index]


@contextmanager
def drawing(draw: Draw | None, part: int) -> Iterator[None]:
    """Augment items within the context; with None, do not.

    Args:
        draw: the seed and the epoch.
        part: the number of the data set among those of its split, each of which has its own random numbers.
    """
    token = _current.set(None if draw is None else (*draw, part))
    try:
        yield
    finally:
        _current.reset(token)


def _copied(value: Any) -> Any:
    """Copy the item's tensors and arrays: those of a table are views of all its examples."""
    if isinstance(value, Tensor):
        return value.clone()
    numpy = sys.modules.get("numpy")  # not a requirement; where an array exists, it has been imported
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {name: _copied(each) for name, each in value.items()}
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value
