"""Warnings that a KPI on a split says little: classes without a label, and classes that nearly all examples have."""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress

import torch
from torch import Tensor

from hardfirst.kpi._accumulators import of_batch
from hardfirst.problems import Problem, Split, Splits, Task, TensorTable
from hardfirst.training._batch import label_mask

_CERTAIN = 0.95  # a constant answer that reaches this KPI makes the KPI uninformative
_MOST_LISTED = 5  # classes in a warning
_MOST_NUMBERS = 2**22  # elements of the outputs of the examples that represent a split
_LOGIT = 10.0  # the logit of the class of a constant answer


class MeasureWarning(UserWarning):
    """A KPI on a split says little about what a network has learned."""


def warn(task: Task, counts: Tensor, output: Tensor, target: Tensor, split: str) -> bool:
    """Warn if a task's KPI says little on a split, and return whether a warning was given.

    Args:
        task: a task with a KPI.
        counts: the number of labels of each class in the split.
        output: outputs, of which only the shape matters.
        target: targets with these counts, or nearly these proportions.
        split: the name of the split.
    """
    doubts = list(_doubts(task, counts, output, target, split))
    for doubt in doubts:
        warnings.warn(doubt, MeasureWarning, stacklevel=3)
    return bool(doubts)


def warn_in_memory(problem: Problem, splits: Splits, outputs: Mapping[str, Tensor]) -> None:
    """Warn in the same way before training, for splits with targets in memory; others are checked when evaluated.

    For each task one split is enough: validation, or test if validation gives no warning.

    Args:
        problem: the problem.
        splits: the data of the problem.
        outputs: by task, outputs of any batch.
    """
    for task in problem.tasks:
        if task.kpi is not None and task.name in outputs:
            any(_warn_of(task, getattr(splits, name), outputs[task.name], name) for name in ("validation", "test"))


def _warn_of(task: Task, split: Split, output: Tensor, name: str) -> bool:
    """Warn about a split if all its targets are in memory, and return whether a warning was given."""
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

    counts: Tensor | None = None  # None if this is not a classification
    _is_other = False

    def add(self, counts: Tensor | None) -> None:
        """Add a batch's counts; None, or other classes, mean that this is not a classification."""
        if counts is None or (self.counts is not None and len(self.counts) != len(counts)):
            self._is_other = True
        self.counts = None if self._is_other or counts is None else counts if self.counts is None else self.counts + counts


def examples_of(counts: Tensor, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Create examples with one label each, with the counted number per class, or nearly its proportion if that is large.

    Args:
        counts: the number of labels of each class.
        output: [0, ...], for shape and type.
        target: [0, ...], for shape and type.

    Returns:
        Outputs, of which only the shape matters, and targets.
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
            f"Task {task.name!r} has no label of class {names} in the {split} split, so its figures there do not show how "
            "well this is learned."
        )
    majority = int(counts.argmax())
    kpi = _constant_kpi(task, output, target, majority)
    if kpi >= _CERTAIN:
        yield (
            f"A network that always answers class {majority} reaches a KPI of {kpi:.3f} in task {task.name!r} on the "
            f"{split} split, where {float(counts.max() / counts.sum()):.1%} of the labels are of this class. The KPI says "
            "little about what is learned. Consider hardfirst.kpi.balanced_accuracy or auc."
        )


def class_counts(output: Tensor, target: Tensor) -> Tensor | None:
    """Count the labels of each class; None if this is not a classification."""
    classes = 2 if output.shape == target.shape else output.shape[1] if output.dim() == target.dim() + 1 else 0
    labels = target[label_mask(target)]
    if not classes or not len(labels) or labels.is_complex():
        return None
    whole = labels.long()
    if not bool(((whole == labels) & (whole >= 0) & (whole < classes)).all()):
        return None
    return torch.bincount(whole, minlength=classes)


def _constant_kpi(task: Task, output: Tensor, target: Tensor, majority: int) -> float:
    """Compute the KPI of outputs that always predict the majority class."""
    if output.shape == target.shape:
        answer = torch.tensor(_LOGIT if majority else -_LOGIT)
    else:
        answer = torch.zeros(output.shape[1], *[1] * (output.dim() - 2))
        answer[majority] = _LOGIT
    assert task.kpi is not None
    kpi = of_batch(task.kpi)
    with suppress(Exception), warnings.catch_warnings():  # the KPI may expect outputs of another kind
        warnings.simplefilter("ignore")
        return float(kpi(answer.to(output.device).expand(output.shape), target))
    return math.nan
