"""Loading the batches of an order, in this process or in several."""

import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hardfirst.errors import InputError
from hardfirst.problems import ConcatSplit, Split, collate
from hardfirst.training._processes import check_can_start
from hardfirst.training._sampling import Order

Pair = tuple[Any, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Loading:
    """How batches are loaded; none of it changes their content.

    Args:
        processes: the number of processes that load batches; 0 loads them in this one.
        pinned: whether batches are in pinned memory, from which they are copied to a GPU while it computes.
    """

    processes: int = 0
    pinned: bool = False


def load(split: Split, order: Order, loading: Loading = Loading(), *, draw: tuple[int, int] | None = None) -> Iterator[Pair]:
    """Load the batches of an order.

    Args:
        split: the split that the batches are from.
        order: the result of `epoch_order`.
        loading: how to load them.
        draw: for training batches, the seed and the epoch, from which `Augmented` draws random numbers.

    Raises:
        InputError: the data set's items do not form a batch, or a process that loads them was killed.
    """
    data = ConcatSplit(split, draw=draw)
    processes = min(loading.processes, len(order)) if len(order) > 1 else 0  # starting a process takes time
    if not processes:
        return (_pair(collate(data.__getitems__(batch))) for batch in order)
    check_can_start()
    # Without a generator each loader would draw a seed from the global one; a resumed run has one loader more and would
    # then differ from an uninterrupted run. The generator also seeds the processes, for data sets that draw from torch's
    # own generator, which should not draw the same in each epoch.
    # Processes are started again in each epoch: otherwise those of a resumed run would be in another random state.
    generator = torch.Generator()
    if draw is not None:
        generator.manual_seed(draw[0] * 1_000_003 + draw[1])
    with _without_advice():
        loader: DataLoader[Any] = DataLoader(
            _Batches(data),
            batch_sampler=order,
            collate_fn=_same,
            generator=generator,
            num_workers=processes,
            pin_memory=loading.pinned,
            worker_init_fn=_ignore_interrupt,
            multiprocessing_context=_context(),
        )
    return _checked(loader)


class _Batches(Dataset[Any]):
    """Whole batches, or the error raised by building one: torch would wrap its message in the traceback of a process."""

    def __init__(self, data: ConcatSplit) -> None:
        self.data = data

    def __getitems__(self, indices: Sequence[int]) -> Any:
        try:
            return collate(self.data.__getitems__(indices))
        except InputError as error:
            return error


def _checked(loader: "DataLoader[Any]") -> Iterator[Pair]:
    with _without_advice():
        batches = iter(loader)
    try:
        for batch in batches:
            if isinstance(batch, InputError):
                raise batch
            yield _pair(batch)
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        raise InputError(
            "A process that loads batches was killed. If it ran out of memory, use fewer `loaders`, or a smaller batch."
        ) from error


def _pair(batch: Any) -> Pair:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(f"Expected a data set's `__getitems__` to return a list of items; got {type(batch).__name__}.")
    return batch[0], batch[1]


def _same(batch: Any) -> Any:
    return batch


def _ignore_interrupt(_number: int) -> None:
    """Ignore Ctrl-C, which reaches the whole process group: the training process needs batches to finish its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Suppress torch's warning that the machine has fewer cores, which would appear in each epoch."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


def _context() -> str:
    """Return "fork", which shares the data set's memory and need not pickle it; "spawn" where fork is not available."""
    methods = multiprocessing.get_all_start_methods()
    return "fork" if "fork" in methods else methods[0]
