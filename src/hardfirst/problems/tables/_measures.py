"""The tasks of a table: the loss, KPI and metrics of each target."""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst import kpi
from hardfirst.functional._examples import class_weight
from hardfirst.kpi import skips
from hardfirst.problems._data import IGNORE
from hardfirst.problems._task import Measure, Metric, Task
from hardfirst.problems.tables._name import TargetChoice
from hardfirst.problems.tables._targets import CLASSIFICATION, REGRESSION, TargetColumn

_ON_BATCHES = ("accuracy", "within", "within_relative", "within_one")


def task(target: TargetColumn, choice: TargetChoice, counts: Sequence[int]) -> Task:
    """The task of a target.

    Args:
        target: the column.
        choice: its KPI and options.
        counts: of a classification, the training labels of each class.
    """
    loss: Measure
    if target.kind == REGRESSION:
        metrics = {"MAE": Metric(partial(mean_absolute_error, target=target), higher_is_better=False)}
        extra = {} if choice.kpi == "r2" else {"R²": Metric(kpi.r2)}
        measure, loss = _of_numbers(target, choice), F.mse_loss
    elif target.kind == CLASSIFICATION:
        measure, metrics = _of_classes(choice.kpi, counts), {}
        extra = {name: metric for name, metric in _CLASS_METRICS.items() if name.replace(" ", "_") != choice.kpi}
        loss = partial(weighted_cross_entropy, weight=_balanced(counts)) if choice.weights else F.cross_entropy
    else:
        metrics = {"classes off": Metric(classes_off, higher_is_better=False)}
        extra = {} if choice.kpi == "accuracy" else {"accuracy": Metric(partial(ordinal_within, classes=0))}
        measure, loss = partial(ordinal_within, classes=0 if choice.kpi == "accuracy" else 1), ordinal_loss
    source = "batch" if choice.kpi in _ON_BATCHES else "validation"
    return Task(target.name, loss, measure, metrics | extra, kpi_from=source)  # type: ignore[arg-type]  # a literal


_CLASS_METRICS = {"accuracy": Metric(kpi.accuracy), "balanced accuracy": Metric(kpi.balanced_accuracy)}


def _balanced(counts: Sequence[int]) -> tuple[float, ...]:
    return tuple(sum(counts) / (len(counts) * max(count, 1)) for count in counts)


@skips
def weighted_cross_entropy(output: Tensor, target: Tensor, *, weight: Sequence[float]) -> Tensor:
    """The cross-entropy, weighted by class."""
    weights = class_weight(target, output.new_tensor(weight), IGNORE)
    logits = torch.where((target != IGNORE).unsqueeze(1), output, 0)
    return (weights * F.cross_entropy(logits, target, reduction="none")).sum() / weights.sum().clamp(min=1e-12)


def _of_numbers(target: TargetColumn, choice: TargetChoice) -> Measure:
    if choice.kpi == "r2":
        return kpi.r2
    return partial(share_within, target=target, tolerance=choice.tolerance or 0.25, relative=choice.kpi == "within_relative")


@skips
def share_within(output: Tensor, target_values: Tensor, *, target: TargetColumn, tolerance: float, relative: bool) -> Tensor:
    """The share of numbers within a tolerance in the column's unit."""
    values = (target.in_unit(output), target.in_unit(target_values))
    return kpi.within_relative(*values, fraction=tolerance) if relative else kpi.within(*values, threshold=tolerance)


def mean_absolute_error(output: Tensor, target_values: Tensor, *, target: TargetColumn) -> Tensor:
    """The mean absolute error in the column's unit."""
    if target.log:
        return F.l1_loss(target.in_unit(output), target.in_unit(target_values))
    return F.l1_loss(output, target_values) * target.deviation


def _of_classes(name: str, counts: Sequence[int]) -> Measure:
    if name in ("accuracy", "balanced_accuracy"):
        measure: Measure = getattr(kpi, name)
        return measure
    rare = [min(range(len(counts)), key=lambda code: counts[code])] if len(counts) == 2 else list(range(len(counts)))
    return partial(mean_over_classes, measure=getattr(kpi, name), classes=rare)


@skips
def mean_over_classes(output: Tensor, target: Tensor, *, measure: Measure, classes: Sequence[int]) -> Tensor:
    """A measure of yes/no questions, whether an example is of a class, averaged over classes where it is defined.

    The score of a class is its log-odds.
    """
    values = []
    for code in classes:
        others = torch.cat([output[:, :code], output[:, code + 1 :]], 1).logsumexp(1)
        labels = torch.where(target == IGNORE, IGNORE, (target == code).long())
        values.append(measure(output[:, code] - others, labels))
    return torch.stack(values).nanmean()


@skips
def ordinal_loss(output: Tensor, target: Tensor) -> Tensor:
    """The mean binary cross-entropy of the questions whether the class is above each but the highest.

    Args:
        output: logits [batch, classes − 1].
        target: the number of the class [batch], NaN where there is no label.
    """
    labelled = ~target.isnan()
    above = (target.nan_to_num().unsqueeze(1) > torch.arange(output.shape[1], device=output.device)).to(output)
    logits = torch.where(labelled.unsqueeze(1), output, 0)
    losses = F.binary_cross_entropy_with_logits(logits, above, reduction="none").mean(1)
    return torch.where(labelled, losses, 0).sum() / labelled.sum().clamp(min=1)


@skips
def ordinal_within(output: Tensor, target: Tensor, *, classes: int) -> Tensor:
    """The share of examples whose predicted class is at most so many classes off."""
    return kpi.within((output > 0).sum(1).to(target), target, threshold=classes)


def classes_off(output: Tensor, target: Tensor) -> Tensor:
    """The mean number of classes between the predicted one and the label."""
    return F.l1_loss((output > 0).sum(1).to(target), target)
