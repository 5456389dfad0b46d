"""Metrics of torchmetrics that return a number, often 0, where they are not defined.

They are known by the names of their classes, since torchmetrics is no requirement.
"""

from typing import Any

import torch
from torch import Tensor

# these compare the targets with each other: ranking, agreement beyond chance, explained variance, correlation
_NEED_TWO_VALUES = (
    "PrecisionRecallCurve",  # a base class: of AUROC, average precision and the like
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
# without this class in the target, the value is `zero_division` whatever the output is
_NEED_CLASS = {
    "BinaryFBetaScore": 1,
    "BinaryJaccardIndex": 1,
    "BinaryPrecision": 1,
    "BinaryRecall": 1,
    "BinarySpecificity": 0,
    "BinaryNegativePredictiveValue": 0,
}


def is_undefined(metric: Any, target: Tensor, labelled: Tensor) -> bool:
    """Whether the metric is not defined for any output, since the target lacks a class or does not vary.

    Args:
        metric: a metric without its wrappers.
        target: [batch, ...], at least one label.
        labelled: the same shape.
    """
    names = {parent.__name__ for parent in type(metric).__mro__}
    labels = target[labelled]
    if any(name.endswith(_NEED_TWO_VALUES) for name in names) and bool(labels.min() == labels.max()):
        return True
    if getattr(metric, "average", None) == "macro":  # of areas, of which that of an absent class would be 0
        if "MulticlassAUROC" in names:
            classes = [label for label in range(metric.num_classes) if label != metric.ignore_index]
            return not bool(torch.isin(torch.tensor(classes, device=labels.device), labels).all())
        if "MultilabelAUROC" in names:
            found = [(labelled & (target == answer)).movedim(1, 0).flatten(1).any(1) for answer in (0, 1)]
            return not bool((found[0] & found[1]).all())
    needed = [label for name, label in _NEED_CLASS.items() if name in names]
    return getattr(metric, "zero_division", 0) == 0 and any(not (labels == label).any() for label in needed)
