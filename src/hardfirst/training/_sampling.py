"""The order of examples: a function of seed and epoch only, so that a run can resume at any step."""

import math
from collections.abc import Iterator
from itertools import chain, islice

import torch

from hardfirst.errors import InputError
from hardfirst.problems import ConcatSplit, Problem, Split

Order = list[list[int]]


def epoch_order(problem: Problem, split: Split, seed: int, epoch: int, *, join_single: bool = False) -> Order:
    """Return an epoch's training batches as indices into `ConcatSplit(split)`; each batch comes from one data set.

    An epoch has as many batches as all data sets have together. For a single data set it is a permutation. For several it
    depends on the problem's `sampling`:

    - "proportional": each example once, the batches of all data sets in random order;
    - "round_robin": the data sets take turns, so that small ones are repeated and large ones used in part;
    - "temperature": in random order, with n^(1/temperature) as the relative share of a data set of n examples.

    With the recipe's `drop_last` all batches have the full size, and the remaining examples are left out.

    Args:
        problem: the problem, with the batch size, the sampling and the recipe.
        split: the training split.
        seed: the seed of the run.
        epoch: counts from 0.
        join_single: whether a single example that remains after the last batch of a data set joins that batch, for networks
            that cannot be trained on one, such as those with BatchNorm.

    Raises:
        InputError: the last batch is to be dropped, and a data set has no other batch.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    sizes = ConcatSplit(split).sizes
    # batches of `batch` examples, where the last one may have `extra` more
    batch, drop = problem.batch_size, problem.recipe.drop_last
    extra = int(join_single and batch > 1 and not drop)
    if drop and min(sizes) < batch:
        raise InputError(
            f"A data set of the training split of problem {problem.name!r} has {min(sizes)} examples, less than a batch of "
            f"{batch}, so `drop_last` leaves nothing of it. Choose a smaller `batch_size`, or set drop_last to false."
        )
    full = [size // batch if drop else max(1, math.ceil((size - extra) / batch)) for size in sizes]
    counts = _batch_counts(problem, sizes, full)
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    by_data_set = [
        list(_draw_batches(start, size, count, batch, extra, generator, drop=drop))
        for start, size, count in zip(starts, sizes, counts, strict=False)
    ]
    if problem.sampling == "round_robin" or len(sizes) == 1:
        return [batches[turn] for turn in range(max(counts)) for batches in by_data_set if turn < len(batches)]
    batches = list(chain.from_iterable(by_data_set))
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def _batch_counts(problem: Problem, sizes: list[int], full: list[int]) -> list[int]:
    """Return the number of batches from each data set; the sum is the number that all data sets have."""
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
    start: int, size: int, count: int, batch_size: int, extra: int, generator: torch.Generator, *, drop: bool
) -> Iterator[list[int]]:
    """Draw `count` batches of a data set from successive random permutations, whose last batch may be larger.

    With `drop` no batch is smaller: the rest of a permutation is left out.
    """
    permutation: list[int] = []
    while count:
        if len(permutation) < (batch_size if drop else 1):
            permutation = (torch.randperm(size, generator=generator) + start).tolist()
        end = batch_size if len(permutation) > batch_size + extra else len(permutation)
        batch, permutation = permutation[:end], permutation[end:]
        yield batch
        count -= 1


def evaluation_order(split: Split, batch_size: int) -> Order:
    """Return all examples in order, in batches for evaluation; each batch comes from one data set."""
    order, start = [], 0
    for size in ConcatSplit(split).sizes:
        indices = range(start, start + size)
        order += [list(indices[at : at + batch_size]) for at in range(0, size, batch_size)]
        start += size
    return order
