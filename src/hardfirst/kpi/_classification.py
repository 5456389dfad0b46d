"""KPIs of classification: accuracy, overlap and ranking."""

import math

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.functional._labels import class_labels
from hardfirst.kpi._common import class_counts, classified, counts_of, ratio, same_shape, share
from hardfirst.kpi._skipping import skips
from hardfirst.kpi._streaming import streams


def _mean_recall(counts: Tensor) -> Tensor:
    right, _, actual = counts
    return torch.where((actual > 0).sum() > 1, ratio(right, actual).nanmean(), math.nan)


def _f1(counts: Tensor) -> Tensor:
    right, predicted, actual = counts[:, 1]
    return torch.where(actual > 0, ratio(2 * right, predicted + actual), math.nan)


def _mean_overlap(counts: Tensor) -> Tensor:
    right, predicted, actual = counts
    return ratio(right, predicted + actual - right).nanmean()


@skips
@streams(share)
def accuracy(output: Tensor, target: Tensor, *, threshold: float | None = None, ignore_index: int = -100) -> Tensor:
    """Compute the share of labelled elements whose class is predicted correctly.

    Args:
        output: class logits or probabilities [batch, classes, ...], at least two classes; or binary logits of the target's
            shape.
        target: classes [batch, ...] of any type, NaN or `ignore_index` where there is no label. If the target is
            probabilities, as with mixup, pass its `argmax(1)`.
        threshold: the value above which a binary output means class 1; 0.5 for probabilities. Default: 0, for logits. Warns
            (on the CPU) if 16 or more outputs all lie in [0, 1] and vary more than a uniform distribution there.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes do not match, a threshold is given for several classes, or (on the CPU) a label is invalid.

    Example:
        >>> logits = torch.tensor([[0.1, 2.0], [3.0, 0.2], [0.0, 1.0]])
        >>> accuracy(logits, torch.tensor([1, 1, -100]))
        tensor(0.5000)
    """
    predicted, actual, labelled, _ = classified(output, target, threshold, ignore_index)
    return counts_of(predicted == actual, labelled)


@skips
@streams(_mean_recall)
def balanced_accuracy(output: Tensor, target: Tensor, *, threshold: float | None = None, ignore_index: int = -100) -> Tensor:
    """Recall, averaged over the classes in the target, so that rare classes count as much as common ones.

    A class that is absent from the target has no recall and does not count. With fewer than two classes in the target the
    value is NaN, since a constant answer would get 1. On batches that often lack rare classes it is noisy: compute it on the
    validation split (`Task.kpi_from`).

    Args:
        output: as for `accuracy`.
        target: as for `accuracy`.
        threshold: as for `accuracy`.
        ignore_index: as for `accuracy`.

    Raises:
        InputError: as for `accuracy`.

    Example:
        >>> logits = torch.tensor([-1.0, -2.0, -1.0, -3.0])
        >>> balanced_accuracy(logits, torch.tensor([0, 0, 0, 1]))
        tensor(0.5000)

    References:
        Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
    """
    return class_counts(*classified(output, target, threshold, ignore_index))


@skips
@streams(_f1)
def f1(output: Tensor, target: Tensor, *, threshold: float | None = None, ignore_index: int = -100) -> Tensor:
    """Compute the F1 score of a binary task: `2·TP / (2·TP + FP + FN)`, which ignores true negatives.

    NaN without a positive in the target, where the score would always be 0. On a batch with few positives it is noisy:
    compute it on the validation split (`Task.kpi_from`).

    Args:
        output: binary outputs of the target's shape; see `accuracy`.
        target: 0 or 1, of any type; NaN or `ignore_index` where there is no label.
        threshold: as for `accuracy`.
        ignore_index: as for `accuracy`.

    Raises:
        InputError: as for `accuracy`; or there are more than two classes.

    Example:
        >>> logits = torch.tensor([1.0, 1.0, -1.0, -1.0])
        >>> f1(logits, torch.tensor([1, 0, 1, 0]))
        tensor(0.5000)

    References:
        Van Rijsbergen, Information Retrieval, 2nd edition, 1979, chapter 7.
    """
    predicted, actual, labelled, classes = classified(output, target, threshold, ignore_index)
    if classes != 2:
        raise InputError(f"Expected binary outputs of the target's shape; got {classes} classes.")
    return class_counts(predicted, actual, labelled, classes)


@skips
@streams(_mean_overlap)
def mean_iou(output: Tensor, target: Tensor, *, threshold: float | None = None, ignore_index: int = -100) -> Tensor:
    """Intersection over union, averaged over the C classes predicted or present: `Σ_c |P_c ∩ T_c| / |P_c ∪ T_c| / C`.

    A class neither predicted nor present is left out of the mean; a predicted class absent from the target scores 0. With
    binary outputs, class 0 also counts.

    Args:
        output: as for `accuracy`.
        target: as for `accuracy`. Elements without a label are in no P_c and no T_c.
        threshold: as for `accuracy`.
        ignore_index: as for `accuracy`.

    Raises:
        InputError: as for `accuracy`.

    Example:
        >>> logits = torch.tensor([1.0, 1.0, -1.0, -1.0])
        >>> mean_iou(logits, torch.tensor([1, 0, 0, 0]))
        tensor(0.5833)

    References:
        Everingham et al., The Pascal Visual Object Classes Challenge: a retrospective, IJCV 2015, section 2.
    """
    return class_counts(*classified(output, target, threshold, ignore_index))


@skips
def auc(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Compute the area under the ROC curve: the share of pairs in which the positive ranks higher; a tie counts half.

    Σ_p [#(negatives below p) + #(negatives equal to p) / 2] / (P·N), over P positives and N negatives; NaN if either is 0.
    Chance gives 0.5. It is noisy on a batch with few positives: compute it on the validation split (`Task.kpi_from`).

    Args:
        output: binary scores of any scale, [batch, ...]. NaN loses every comparison.
        target: the output's shape, 1 or 0; NaN or `ignore_index` where there is no label.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes differ, or (on the CPU) a label is not 0 or 1.

    Example:
        >>> auc(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([1, 1, 0, 0]))
        tensor(0.7500)

    References:
        Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic (ROC) curve,
        Radiology 143, 1982.
    """
    output, target = (tensor.flatten() for tensor in same_shape(output, target))
    actual, labelled = class_labels(target, 2, ignore_index)
    positive, negative = labelled & (actual == 1), labelled & (actual == 0)
    scores = torch.where(output.isnan(), torch.where(positive, -math.inf, math.inf), output)
    count = negative.sum()
    others = torch.where(negative, scores, math.inf).sort().values  # non-negatives sort last
    below = torch.searchsorted(others, scores)
    not_above = torch.searchsorted(others, scores, right=True).clamp(max=count)
    wins = torch.where(positive, below + not_above, 0).sum()  # counted in halves, as integers, so it is exact for any batch
    return ratio(wins, 2 * positive.sum() * count)


@skips
def gini(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Compute the AUC above chance, max(0, 2·AUC − 1): 0 for an untrained network.

    Args:
        output: as for `auc`.
        target: as for `auc`.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: as for `auc`.

    Example:
        >>> gini(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([1, 1, 0, 0]))
        tensor(0.5000)

    References:
        Hand and Till, A simple generalisation of the area under the ROC curve for multiple class classification problems,
        Machine Learning 45, 2001, section 2.
    """
    return (2 * auc(output, target, ignore_index=ignore_index) - 1).clamp(min=0)


@skips
def average_precision(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """The average precision of a yes/no question: the precision down to each positive, averaged over the positives.

    Σ_p #(positives scored at least as high as p) / #(elements scored at least as high as p) / P. It is the step-wise area
    under the precision-recall curve; a random ranking gives the share of positives. NaN without a positive or without a
    negative. It is noisy on a batch with few positives: take it from the validation split (`Task.kpi_from`).

    Args:
        output: binary scores of any scale, [batch, ...]. NaN ranks last.
        target: the output's shape, 1 or 0; NaN or `ignore_index` where there is no label.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: the shapes differ, or (on the CPU) a label is not 0 or 1.

    Example:
        >>> average_precision(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([1, 1, 0, 0]))
        tensor(0.8333)

    References:
        Davis and Goadrich, The relationship between precision-recall and ROC curves, ICML 2006.
    """
    output, target = (tensor.flatten() for tensor in same_shape(output, target))
    actual, labelled = class_labels(target, 2, ignore_index)
    positive = labelled & (actual == 1)
    scores = torch.where(output.isnan(), -math.inf, output)

    def at_least(counted: Tensor) -> Tensor:
        """How many of the counted elements have a score at least as high, for each element."""
        # Those that are not counted sort first, below all scores; equal scores of -inf are told apart by their number.
        others = torch.where(counted, scores, -math.inf).sort().values
        above = len(others) - torch.searchsorted(others, scores)
        return torch.where(scores == -math.inf, counted.sum(), above)

    precision = ratio(at_least(positive), at_least(labelled).clamp(min=1))
    is_defined = positive.any() & (labelled & ~positive).any()
    return torch.where(is_defined, torch.where(positive, precision, 0).sum() / positive.sum().float(), math.nan)
