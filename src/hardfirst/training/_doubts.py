"""Doubts about what a KPI on a split can say, as warnings: classes without a label, and classes that nearly all have."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress

import torch
from torch import Tensor

from hardfirst.kpi._accumulators import of_batch
from hardfirst.problems import Problem, Split, Splits, Task, TensorTable
from hardfirst.training._batch import label_mask

_CERTAIN = 0.95  # the KPI of a single answer from which on a KPI says little
_MOST_LISTED = 5  # classes in a warning
_MOST_NUMBERS = 2**22  # of the outputs of examples that stand for a split
_LOGIT = 10.0  # of the class that is always answered


class MeasureWarning(UserWarning):
    """A KPI on a split says little about what a network has learned."""


def warn(task: Task, counts: Tensor, output: Tensor, target: Tensor, split: str) -> bool:
    """Warn if a task's KPI says little on a split, and return whether it does.

    Args:
        task: a task with a KPI.
        counts: how many labels of the split each class has.
        output: outputs, of which the shape matters.
        target: targets with these counts, or nearly their proportions.
        split: its name.
    """
    doubts = list(_doubts(task, counts, output, target, split))
    for doubt in doubts:
        warnings.warn(doubt, MeasureWarning, stacklevel=3)
    return bool(doubts)


def warn_in_memory(problem: Problem, splits: Splits, outputs: Mapping[str, Tensor]) -> None:
    """Warn likewise before training, of splits whose targets are in memory; others are looked at when they are evaluated.

    Of a task the first split says enough: validation, or test if there is no doubt about validation.

    Args:
        problem: the problem.
        splits: its data.
        outputs: by task, outputs of any batch.
    """
    for task in problem.tasks:
        if task.kpi is not None and task.name in outputs:
            any(_warn_of(task, getattr(splits, name), outputs[task.name], name) for name in ("validation", "test"))


def _warn_of(task: Task, split: Split, output: Tensor, name: str) -> bool:
    """Warn of a split if all its targets are in memory, and return whether there was a doubt."""
    parts = list(split.values()) if isinstance(split, Mapping) else [split]
    tables = [part for part in parts if isinstance(part, TensorTable)]
    targets = [table.targets[task.name] for table in tables if task.name in table.targets]
    if len(tables) < len(parts) or len({target.shape[1:] for target in targets}) != 1:
        return False
    target = torch.cat(targets)
    expanded = output.new_zeros(()).expand(len(target), *output.shape[1:])
    counts = class_counts(expanded, target)
    return counts is not None and warn(task, counts, expanded, target, name)


class ClassCounts:
    """The labels of each class in a split, batch by batch."""

    counts: Tensor | None = None  # None if this is no classification
    _is_other = False

    def add(self, counts: Tensor | None) -> None:
        """Add a batch's counts; None, or other classes, say that this is no classification."""
        if counts is None or (self.counts is not None and len(self.counts) != len(counts)):
            self._is_other = True
        self.counts = None if self._is_other or counts is None else counts if self.counts is None else self.counts + counts


def examples_of(counts: Tensor, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Examples with one label each, as many of each class as were counted, or in nearly this proportion if they are many.

    Args:
        counts: how many labels each class has.
        output: [0, ...], for shape and type.
        target: [0, ...], likewise.

    Returns:
        Outputs, of which the shape matters, and targets.
    """
    is_binary = output.shape == target.shape
    most = _MOST_NUMBERS // (1 if is_binary else len(counts))
    total = int(counts.sum())
    if total > most:
        counts = (counts.double() * most / total).ceil().long()
    labels = torch.arange(len(counts), device=counts.device).repeat_interleave(counts).to(target)
    shape = [1] * (target.dim() - 1)
    outputs = output.new_zeros(()).expand(len(labels), *shape if is_binary else (len(counts), *shape))
    return outputs, labels.view(-1, *shape)


def _doubts(task: Task, counts: Tensor, output: Tensor, target: Tensor, split: str) -> Iterator[str]:
    if missing := (counts == 0).nonzero().flatten().tolist():
        names = ", ".join(map(str, missing[:_MOST_LISTED])) + ", …" * (len(missing) > _MOST_LISTED)
        yield (
            f"Task {task.name!r} has no label of class {names} in the {split} split: its figures there do not show how well "
            "that is learned."
        )
    majority = int(counts.argmax())
    kpi = _constant_kpi(task, output, target, majority)
    if kpi >= _CERTAIN:
        yield (
            f"A network that always answers class {majority} reaches a KPI of {kpi:.3f} in task {task.name!r} on the "
            f"{split} split, where {float(counts.max() / counts.sum()):.1%} of the labels are of this class: the KPI says "
            "little about what is learned. Consider hardfirst.kpi.balanced_accuracy or auc."
        )


def class_counts(output: Tensor, target: Tensor) -> Tensor | None:
    """The number of labels of each class; None if this is no classification."""
    classes = 2 if output.shape == target.shape else output.shape[1] if output.dim() == target.dim() + 1 else 0
    labels = target[label_mask(target)]
    if not classes or not len(labels) or labels.is_complex():
        return None
    whole = labels.long()
    if not bool(((whole == labels) & (whole >= 0) & (whole < classes)).all()):
        return None
    return torch.bincount(whole, minlength=classes)


def _constant_kpi(task: Task, output: Tensor, target: Tensor, majority: int) -> float:
    """The KPI of outputs that always say the majority's class."""
    if output.shape == target.shape:
        answer = torch.tensor(_LOGIT if majority else -_LOGIT)
    else:
        answer = torch.zeros(output.shape[1], *[1] * (output.dim() - 2))
        answer[majority] = _LOGIT
    assert task.kpi is not None
    kpi = of_batch(task.kpi)
    with suppress(Exception), warnings.catch_warnings():  # the KPI may want outputs of another kind
        warnings.simplefilter("ignore")
        return float(kpi(answer.to(output.device).expand(output.shape), target))
    return math.nan
