"""Which examples make a batch: by seed and epoch alone, so that any step can be taken up again."""

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

_EVALUATED_AT_ONCE = 1024


def epoch_order(problem: Problem, split: Split, seed: int, epoch: int) -> Order:
    """An epoch's training batches as indices into `ConcatSplit(split)`; each batch is of one data set.

    An epoch has as many batches as all data sets have together. Of a single data set it is a permutation. Of several it is,
    by the problem's `sampling`,

    - "proportional": each example once, the batches of all data sets in random order;
    - "round_robin": the data sets take turns, so that small ones are gone through several times and large ones in part;
    - "temperature": in random order, a data set of n examples giving a share of the batches that is as n^(1/temperature).
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    sizes = ConcatSplit(split).sizes
    full = [math.ceil(size / problem.batch_size) for size in sizes]
    if len(sizes) == 1:
        return list(_drawn(0, sizes[0], full[0], problem.batch_size, generator))
    counts = _counts(problem, sizes, full)
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    drawn = [
        list(_drawn(start, size, count, problem.batch_size, generator))
        for start, size, count in zip(starts, sizes, counts, strict=False)
    ]
    if problem.sampling == "round_robin":
        return [batches[turn] for turn in range(max(counts)) for batches in drawn if turn < len(batches)]
    everything = list(chain.from_iterable(drawn))
    return [everything[place] for place in torch.randperm(len(everything), generator=generator).tolist()]


def _counts(problem: Problem, sizes: list[int], full: list[int]) -> list[int]:
    """How many batches each data set gives; they add up to those of all data sets together."""
    if problem.sampling == "proportional":
        return full
    shares = [1.0 if problem.sampling == "round_robin" else size ** (1 / problem.temperature) for size in sizes]
    exact = [sum(full) * share / sum(shares) for share in shares]
    counts = [max(1, int(number)) for number in exact]
    largest_remainder = sorted(range(len(sizes)), key=lambda place: counts[place] - exact[place])
    for place in islice(largest_remainder, max(0, sum(full) - sum(counts))):
        counts[place] += 1
    return counts


def _drawn(start: int, size: int, count: int, batch_size: int, generator: torch.Generator) -> Iterator[list[int]]:
    """So many batches of a data set, permutation after permutation."""
    permutation: list[int] = []
    while count:
        if not permutation:
            permutation = (torch.randperm(size, generator=generator) + start).tolist()
        batch, permutation = permutation[:batch_size], permutation[batch_size:]
        yield batch
        count -= 1


def whole(split: Split) -> Order:
    """All examples in order, in batches for evaluation."""
    order, start = [], 0
    for size in ConcatSplit(split).sizes:
        everything = range(start, start + size)
        order += [list(everything[at : at + _EVALUATED_AT_ONCE]) for at in range(0, size, _EVALUATED_AT_ONCE)]
        start += size
    return order


def load(split: Split, order: Order) -> Iterator[tuple[Any, Mapping[str, Tensor]]]:
    """The batches of an order."""
    # a generator of its own: else each loader draws from the global one, and a resumed run would draw once more
    loader: DataLoader[Batch] = DataLoader(
        ConcatSplit(split), batch_sampler=order, collate_fn=collate, generator=torch.Generator()
    )
    return map(_pair, loader)


def _pair(batch: Any) -> tuple[Any, Mapping[str, Tensor]]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(f"Expected a data set's `__getitems__` to return a list of items; got {type(batch).__name__}.")
    return batch[0], batch[1]
