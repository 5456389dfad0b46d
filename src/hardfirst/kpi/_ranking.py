"""Average precision: how pure the top of a ranking is."""

import math

import torch
from torch import Tensor

from hardfirst.functional._labels import class_labels
from hardfirst.kpi._common import ratio, same_shape
from hardfirst.kpi._skipping import skips


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
