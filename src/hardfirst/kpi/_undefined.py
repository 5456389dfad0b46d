"""Metrics of torchmetrics that return a number, often 0, where they are undefined.

They are identified by class name, since torchmetrics is not a requirement.
"""

from typing import Any

import torch
from torch import Tensor

# these compare the targets with each other: ranking, agreement beyond chance, explained variance, correlation
_NEED_TWO_VALUES = (
    "PrecisionRecallCurve",  # the base class of AUROC, average precision and similar metrics
    "MatthewsCorrCoef",
    "CohenKappa",
    "R2Score",
    "ExplainedVariance",
    "RelativeSquaredError",
    "PearsonCorrCoef",
    "SpearmanCorrCoef",
    "KendallRankCorrCoef",
    "ConcordanceCorrCoef",
)
# without this class in the target, the value is `zero_division` for any output
_NEED_CLASS = {
    "BinaryFBetaScore": 1,
    "BinaryJaccardIndex": 1,
    "BinaryPrecision": 1,
    "BinaryRecall": 1,
    "BinarySpecificity": 0,
    "BinaryNegativePredictiveValue": 0,
}


def witness(metrics: list[Any], target: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """Select a few labels that represent all for `is_undefined`: the least and the largest, or the classes that occur.

    Args:
        metrics: a metric and those that it wraps.
        target: [batch, ...], at least one label.
        labelled: the same shape.

    Returns:
        A target and its mask of labels: [n], each class once, or [2, columns], the least and the largest label of each
        column of dim 1, or of all.
    """
    names = set().union(*map(_names, metrics))
    if "MulticlassAUROC" in names:
        classes: Tensor = target[labelled].unique()  # type: ignore[no-untyped-call]  # of torch
        return classes, torch.ones_like(classes, dtype=torch.bool)
    if "MultilabelAUROC" in names:
        columns, occurs = (tensor.movedim(1, 0).flatten(1) for tensor in (target, labelled))
    else:
        columns, occurs = target.reshape(1, -1), labelled.reshape(1, -1)
    first = columns.gather(1, occurs.long().argmax(1, keepdim=True))  # a label of the column, if it has one
    filled = torch.where(occurs, columns, first)
    return torch.stack([filled.amin(1), filled.amax(1)]), occurs.any(1).expand(2, -1)


def is_undefined(metric: Any, target: Tensor, labelled: Tensor) -> bool:
    """Return whether the metric is undefined for any output, since the target lacks a class or does not vary.

    Args:
        metric: a metric without its wrappers.
        target: [batch, ...], at least one label.
        labelled: the same shape.
    """
    names = _names(metric)
    labels = target[labelled]
    if any(name.endswith(_NEED_TWO_VALUES) for name in names) and bool(labels.min() == labels.max()):
        return True
    if getattr(metric, "average", None) == "macro":  # of areas, where an absent class would count as 0
        if "MulticlassAUROC" in names:
            classes = [label for label in range(metric.num_classes) if label != metric.ignore_index]
            return not bool(torch.isin(torch.tensor(classes, device=labels.device), labels).all())
        if "MultilabelAUROC" in names:
            found = [(labelled & (target == answer)).movedim(1, 0).flatten(1).any(1) for answer in (0, 1)]
            return not bool((found[0] & found[1]).all())
    needed = [label for name, label in _NEED_CLASS.items() if name in names]
    return getattr(metric, "zero_division", 0) == 0 and any(not (labels == label).any() for label in needed)


def _names(metric: Any) -> set[str]:
    return {parent.__name__ for parent in type(metric).__mro__}
