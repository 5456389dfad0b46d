"""The order of examples: a function of seed and epoch only, so that a run can resume at any step."""

import math
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hardfirst.errors import InputError
from hardfirst.problems import Batch, ConcatSplit, Problem, Split, collate

Order = list[list[int]]

_EVALUATION_BATCH = 1024


def epoch_order(problem: Problem, split: Split, seed: int, epoch: int, *, join_single: bool = False) -> Order:
    """An epoch's training batches as indices into `ConcatSplit(split)`; each batch comes from one data set.

    An epoch has as many batches as all data sets have together. For a single data set it is a permutation. For several it
    depends on the problem's `sampling`:

    - "proportional": each example once, the batches of all data sets in random order;
    - "round_robin": the data sets take turns, so that small ones are repeated and large ones used in part;
    - "temperature": in random order, a data set of n examples has a share of the batches proportional to n^(1/temperature).

    Args:
        problem: gives the batch size and the sampling.
        split: the training split.
        seed: the run's.
        epoch: counts from 0.
        join_single: whether a single example that remains after the last batch of a data set joins that batch, for networks
            that cannot be trained on one, such as those with BatchNorm.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    sizes = ConcatSplit(split).sizes
    # batches of `batch` examples, where the last one may have `extra` more
    batch, extra = problem.batch_size, int(join_single and problem.batch_size > 1)
    full = [max(1, math.ceil((size - extra) / batch)) for size in sizes]
    if len(sizes) == 1:
        return list(_draw_batches(0, sizes[0], full[0], batch, extra, generator))
    counts = _batch_counts(problem, sizes, full)
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    by_data_set = [
        list(_draw_batches(start, size, count, batch, extra, generator))
        for start, size, count in zip(starts, sizes, counts, strict=False)
    ]
    if problem.sampling == "round_robin":
        return [batches[turn] for turn in range(max(counts)) for batches in by_data_set if turn < len(batches)]
    batches = list(chain.from_iterable(by_data_set))
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def _batch_counts(problem: Problem, sizes: list[int], full: list[int]) -> list[int]:
    """The number of batches from each data set; they add up to the number that all data sets have."""
    if problem.sampling == "proportional":
        return full
    shares = [1.0 if problem.sampling == "round_robin" else size ** (1 / problem.temperature) for size in sizes]
    exact = [sum(full) * share / sum(shares) for share in shares]
    counts = [max(1, int(number)) for number in exact]
    # Largest remainders first; with at least one batch from each data set the counts may already exceed the total.
    by_remainder = sorted(range(len(sizes)), key=lambda index: counts[index] - exact[index])
    for index in islice(by_remainder, max(0, sum(full) - sum(counts))):
        counts[index] += 1
    return counts


def _draw_batches(
    start: int, size: int, count: int, batch_size: int, extra: int, generator: torch.Generator
) -> Iterator[list[int]]:
    """Draw `count` batches of a data set, from one random permutation after another, whose last batch may be larger."""
    permutation: list[int] = []
    while count:
        if not permutation:
            permutation = (torch.randperm(size, generator=generator) + start).tolist()
        end = batch_size if len(permutation) > batch_size + extra else len(permutation)
        batch, permutation = permutation[:end], permutation[end:]
        yield batch
        count -= 1


def evaluation_order(split: Split, batch_size: int = _EVALUATION_BATCH) -> Order:
    """All examples in order, in batches for evaluation; each batch comes from one data set."""
    order, start = [], 0
    for size in ConcatSplit(split).sizes:
        indices = range(start, start + size)
        order += [list(indices[at : at + batch_size]) for at in range(0, size, batch_size)]
        start += size
    return order


def load(split: Split, order: Order) -> Iterator[tuple[Any, Mapping[str, Tensor]]]:
    """Load the batches of an order."""
    # Without a generator each loader would draw a seed from the global one; a resumed run has one loader more and would
    # then differ from an uninterrupted run.
    loader: DataLoader[Batch] = DataLoader(
        ConcatSplit(split), batch_sampler=order, collate_fn=collate, generator=torch.Generator()
    )
    return map(_pair, loader)


def _pair(batch: Any) -> tuple[Any, Mapping[str, Tensor]]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(f"Expected a data set's `__getitems__` to return a list of items; got {type(batch).__name__}.")
    return batch[0], batch[1]
