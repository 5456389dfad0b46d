"""KPIs of classification: accuracy, overlap and ranking."""

import math

import torch
from torch import Tensor

from hardfirst.kpi._common import class_counts, label_mask, predicted_classes, same_shape, share_of


def accuracy(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """The share of labelled elements whose class is predicted correctly.

    Args:
        output: class logits [batch, classes, ...], at least two classes; or binary logits of the target's shape, where
            above 0 means class 1.
        target: classes [batch, ...], NaN or `ignore_index` where there is no label.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> logits = torch.tensor([[0.1, 2.0], [3.0, 0.2], [0.0, 1.0]])
        >>> accuracy(logits, torch.tensor([1, 1, -100]))
        tensor(0.5000)
    """
    return share_of(predicted_classes(output, target) == target, label_mask(target, ignore_index))


def balanced_accuracy(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Recall, averaged over the classes in the target, so that rare classes count as much as common ones.

    Args:
        output: as for `accuracy`.
        target: as for `accuracy`.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> logits = torch.tensor([-1.0, -2.0, -1.0, -3.0])
        >>> balanced_accuracy(logits, torch.tensor([0, 0, 0, 1]))
        tensor(0.5000)

    References:
        Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
    """
    right, _, actual = class_counts(output, target, ignore_index)
    return (right / actual).nanmean()


def mean_iou(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Intersection over union, averaged over the C classes predicted or present: `Σ_c |P_c ∩ T_c| / |P_c ∪ T_c| / C`.

    A class neither predicted nor present is left out of the mean; a predicted class absent from the target scores 0.
    With binary logits, class 0 counts as well.

    Args:
        output: as for `accuracy`.
        target: as for `accuracy`. Elements without a label are in no P_c and no T_c.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> logits = torch.tensor([1.0, 1.0, -1.0, -1.0])
        >>> mean_iou(logits, torch.tensor([1, 0, 0, 0]))
        tensor(0.5833)

    References:
        Everingham et al., The Pascal Visual Object Classes Challenge: a retrospective, IJCV 2015, section 2.
    """
    right, predicted, actual = class_counts(output, target, ignore_index)
    return (right / (predicted + actual - right)).nanmean()


def auc(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """The area under the ROC curve: how often a positive ranks above a negative; a tie counts half, chance gives ½.

    Σ_p [#(negatives below p) + #(negatives equal to p) / 2] / (P·N), over P positives and N negatives; NaN if either is 0.
    It is noisy on a batch with few positives: take it from the validation split (`Task.kpi_from`).

    Args:
        output: binary scores of any scale, [batch, ...]. NaN loses every comparison.
        target: the output's shape, 1 or 0; NaN or `ignore_index` where there is no label.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> auc(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([1, 1, 0, 0]))
        tensor(0.7500)

    References:
        Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic (ROC) curve,
        Radiology 143, 1982.
    """
    output, target = (tensor.flatten() for tensor in same_shape(output, target))
    labelled = label_mask(target, ignore_index)
    positive, negative = labelled & (target == 1), labelled & (target != 1)
    scores = torch.where(output.isnan(), torch.where(positive, -math.inf, math.inf), output)
    count = negative.sum()
    others = torch.where(negative, scores, math.inf).sort().values  # non-negatives sort last
    below = torch.searchsorted(others, scores)
    not_above = torch.searchsorted(others, scores, right=True).clamp(max=count)
    wins = torch.where(positive, below + not_above, 0).sum()  # counted in halves, as integers, so it is exact for any batch
    return wins.float() / (2 * positive.sum() * count).float()


def gini(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """The AUC above chance, max(0, 2·AUC − 1): a network that has learned nothing has a KPI of 0.

    Args:
        output: as for `auc`.
        target: as for `auc`.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> gini(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([1, 1, 0, 0]))
        tensor(0.5000)

    References:
        Hand and Till, A simple generalisation of the area under the ROC curve for multiple class classification problems,
        Machine Learning 45, 2001, section 2.
    """
    return (2 * auc(output, target, ignore_index=ignore_index) - 1).clamp(min=0)
