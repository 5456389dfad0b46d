"""Training batches with a row for each trial."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from hardfirst.problems import ConcatSplit, Problem, Split, TensorTable
from hardfirst.training._batch import has_label
from hardfirst.training._loading import load
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._sampling import Order, epoch_order, evaluation_order
from hardfirst.training.vectorized._refusal import NotVectorizable
from hardfirst.training.vectorized._rows import Rows

StackedBatch = tuple[Any, Mapping[str, Tensor]]
"""Inputs and targets, each tensor [trials, batch, ...]."""


class Batches:
    """The training batches of trials.

    Args:
        rows: the trials.
        split: the training split.
        join_single: as in `epoch_order`.

    Raises:
        NotVectorizable: the trials' batches differ in shape, or in which tasks have labels.
    """

    def __init__(self, rows: Rows, split: Split, *, join_single: bool) -> None:
        problem = rows.problem
        self.problem, self.split, self.join_single = problem, split, join_single
        self.seeds = [trial.seed for trial in rows.trials]
        self.labelled = _labelled(problem, split)  # [examples, tasks]
        trained = self.labelled.any(0)
        self.tasks = [name for name, any_ in zip(problem.task_names, trained.tolist(), strict=True) if any_]
        self.gaps = {
            name for name, all_ in zip(problem.task_names, self.labelled.all(0).tolist(), strict=True) if not all_
        } & set(self.tasks)
        if not self.tasks or (rows.mixed and not bool(trained.all())):
            raise NotVectorizable(f"No task of problem {problem.name!r} has a label in the training split.")
        self.ends = torch.tensor(ConcatSplit(split).ends)
        if self.gaps or len(self.ends) > 1:
            for epoch in range(rows.trials[0].epochs):
                self._check(self.orders(epoch), rows.trains & trained)

    def orders(self, epoch: int) -> list[Order]:
        """Each trial's order in an epoch, counted from 0."""
        orders = {
            seed: epoch_order(self.problem, self.split, seed, epoch, join_single=self.join_single)
            for seed in set(self.seeds)
        }
        return [orders[seed] for seed in self.seeds]

    def epoch(self, epoch: int) -> Iterator[tuple[StackedBatch, Tensor]]:
        """The batches of an epoch, each with the number of labelled examples [trials, tasks]."""
        orders = self.orders(epoch)
        is_table = type(self.split) is TensorTable  # a subclass may change its items
        loaded = self._gathered(orders) if is_table else self._stacked(orders, epoch)
        for batch, *indices in zip(loaded, *orders, strict=True):
            yield batch, self._counts(indices)

    def _counts(self, indices: Sequence[Sequence[int]]) -> Tensor:
        if self.gaps:
            return self.labelled[torch.tensor(indices)].sum(1)
        return (self.labelled[0] * len(indices[0])).expand(len(indices), -1)

    def _gathered(self, orders: Sequence[Order]) -> Iterator[StackedBatch]:
        assert isinstance(self.split, TensorTable)
        data = TensorTable(self.split.inputs, {})
        columns = _columns({task: self.split.targets[task] for task in self.tasks})
        for indices in zip(*orders, strict=True):
            chosen = torch.tensor(indices)
            targets: dict[str, Tensor] = {}
            for tasks, column in columns:
                targets.update(zip(tasks, column[chosen].unbind(2), strict=True))
            yield data[chosen][0], targets

    def _stacked(self, orders: Sequence[Order], epoch: int) -> Iterator[StackedBatch]:
        loaders = [load(self.split, order, draw=(seed, epoch)) for order, seed in zip(orders, self.seeds, strict=True)]
        for batches in zip(*loaders, strict=True):
            rows = [(inputs, {task: targets[task] for task in self.tasks}) for inputs, targets in batches]
            yield stacked(rows)

    def _check(self, orders: Sequence[Order], needed: Tensor) -> None:
        """Check that all trials have batches of one size and data set in each step, with labels of the tasks that they need.

        Args:
            orders: of the trials.
            needed: [trials, tasks].
        """
        for step in zip(*orders, strict=True):
            if len(self.ends) > 1 and len({(len(b), int((self.ends <= b[0]).sum())) for b in step}) > 1:
                raise NotVectorizable("The trials take the batches of the data sets in different orders.")
            if not bool((self.labelled[torch.tensor(step)].any(1) | ~needed).all()):
                raise NotVectorizable("Some batches have no label of a task that others have labels of.")


def _columns(targets: Mapping[str, Tensor]) -> list[tuple[list[str], Tensor]]:
    """Targets [examples, tasks, ...] of which a batch is taken in one operation; those of a number each are joined."""
    kinds: dict[Any, list[str]] = {}
    for task, target in targets.items():
        kinds.setdefault(task if target.dim() > 1 else target.dtype, []).append(task)
    joined = {tuple(tasks): [targets[task].unsqueeze(1) for task in tasks] for tasks in kinds.values()}
    return [(list(tasks), parts[0] if len(parts) == 1 else torch.cat(parts, 1)) for tasks, parts in joined.items()]


def stacked(rows: Sequence[Any]) -> Any:
    """Stack the tensors of containers of one structure.

    Raises:
        NotVectorizable: they differ in structure or shape.
    """
    try:
        return tree_map(lambda *tensors: torch.stack(tensors), *rows)
    except (RuntimeError, TypeError, ValueError) as error:
        raise NotVectorizable("The trials' batches differ in shape, or hold more than tensors.") from error


def row_of(batch: Any, row: int) -> Any:
    """One trial's part of a batch."""
    return tree_map(lambda tensor: tensor[row], batch)


def _labelled(problem: Problem, split: Split) -> Tensor:
    """Which examples have a label of which task: [examples, tasks], on the CPU."""
    if isinstance(split, TensorTable):
        return _labels(problem, len(split), split.targets)
    order, columns, shapes = evaluation_order(split, problem.batch_size), [], set()
    with forked_randomness():  # a data set may draw random numbers
        for indices, (inputs, targets) in zip(order, load(split, order), strict=True):
            columns.append(_labels(problem, len(indices), targets))
            shapes.add(tuple(leaf.shape[1:] if isinstance(leaf, Tensor) else type(leaf) for leaf in tree_leaves(inputs)))
    if len(shapes) > 1:
        raise NotVectorizable("The inputs differ in shape from batch to batch.")
    return torch.cat(columns)


def _labels(problem: Problem, count: int, targets: Mapping[str, Tensor]) -> Tensor:
    columns = [
        has_label(targets[task]) if task in targets else torch.zeros(count, dtype=torch.bool) for task in problem.task_names
    ]
    return torch.stack(columns, 1)
