"""KPIs: how well a task does at present, as one number in [0, 1].

A measure is a function (output, target) → 0-d tensor, float32 or better: 1 is best, NaN says that nothing was labelled.
It has no gradient. Options are bound with `functools.partial`:

>>> from functools import partial
>>> kpi = partial(within, threshold=0.5)
>>> kpi(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.2, 2.9, torch.nan]))
tensor(0.5000)

Shares are masked sums, not boolean indexing: no host sync, one compiled graph, and 0/0 is the NaN of nothing labelled.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst._numbers import on_host
from hardfirst.errors import InputError, number

Measure = Callable[[Tensor, Tensor], Tensor]


def accuracy(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Share of labelled elements whose class is predicted.

    Args:
        output: class logits [batch, classes, ...], at least two classes; or binary logits of the target's shape, where
            above 0 means class 1.
        target: classes [batch, ...], NaN or `ignore_index` where there is no label.
        ignore_index: the class that stands for "no label".

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> logits = torch.tensor([[0.1, 2.0], [3.0, 0.2], [0.0, 1.0]])
        >>> accuracy(logits, torch.tensor([1, 1, -100]))
        tensor(0.5000)
    """
    return _share(_predicted(output, target) == target, _labelled(target, ignore_index))


def balanced_accuracy(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Recall of a class, averaged over the classes that the target has, so that rare ones count as much as common ones.

    Args:
        output: as for `accuracy`.
        target: as for `accuracy`.
        ignore_index: the class that stands for "no label".

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> logits = torch.tensor([-1.0, -2.0, -1.0, -3.0])
        >>> balanced_accuracy(logits, torch.tensor([0, 0, 0, 1]))
        tensor(0.5000)

    References:
        Brodersen et al., The balanced accuracy and its posterior distribution, ICPR 2010.
    """
    right, _, actual = _class_counts(output, target, ignore_index)
    return (right / actual).nanmean()


def mean_iou(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Intersection over union, averaged over the C classes predicted or present: `Σ_c |P_c ∩ T_c| / |P_c ∪ T_c| / C`.

    A class neither predicted nor present is left out of the mean; one predicted in vain is a 0 in it. With binary
    logits, class 0 is a class like the other.

    Args:
        output: as for `accuracy`.
        target: as for `accuracy`. Elements without a label are in no P_c and no T_c.
        ignore_index: the class that stands for "no label".

    Raises:
        InputError: the shapes do not fit.

    Example:
        >>> logits = torch.tensor([1.0, 1.0, -1.0, -1.0])
        >>> mean_iou(logits, torch.tensor([1, 0, 0, 0]))
        tensor(0.5833)

    References:
        Everingham et al., The Pascal Visual Object Classes Challenge: a retrospective, IJCV 2015, section 2.
    """
    right, predicted, actual = _class_counts(output, target, ignore_index)
    return (right / (predicted + actual - right)).nanmean()


def auc(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """Area under the ROC curve: how often a positive is ranked above a negative; a tie counts half, chance gives ½.

    Σ_p [#(negatives below p) + #(negatives level with p) / 2] / (P·N), over P positives and N negatives. NaN if there are
    none of either. On a batch with few positives it is noisy: let it come from the validation split (`Task.kpi_from`).

    Args:
        output: binary scores of any scale, [batch, ...]. One that is NaN loses all its comparisons.
        target: the output's shape, 1 or 0; NaN or `ignore_index` where there is no label.
        ignore_index: the class that stands for "no label".

    Raises:
        InputError: the shapes differ.

    Example:
        >>> auc(torch.tensor([3.0, 1.0, 2.0, 0.0]), torch.tensor([1, 1, 0, 0]))
        tensor(0.7500)

    References:
        Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic (ROC) curve,
        Radiology 143, 1982.
    """
    output, target = (tensor.flatten() for tensor in _values(output, target))
    labelled = _labelled(target, ignore_index)
    positive, negative = labelled & (target == 1), labelled & (target != 1)
    scores = torch.where(output.isnan(), torch.where(positive, -math.inf, math.inf), output)
    count = negative.sum()
    others = torch.where(negative, scores, math.inf).sort().values  # what is no negative stands last
    below = torch.searchsorted(others, scores)
    not_above = torch.searchsorted(others, scores, right=True).clamp(max=count)
    wins = torch.where(positive, below + not_above, 0).sum()  # in halves, and whole numbers: exact for any batch
    return wins.float() / (2 * positive.sum() * count).float()


def gini(output: Tensor, target: Tensor, *, ignore_index: int = -100) -> Tensor:
    """The AUC above chance, clamped at 0: max(0, 2·AUC − 1), where a network that has learned nothing has a KPI of 0.

    Args:
        output: as for `auc`.
        target: as for `auc`.
        ignore_index: the class that stands for "no label".

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


def within(output: Tensor, target: Tensor, *, threshold: float) -> Tensor:
    """Share of labelled values with `|output − target| ≤ threshold`.

    Args:
        output: [batch, ...].
        target: the output's shape; NaN where there is no label.
        threshold: in the target's unit, at least 0.

    Raises:
        InputError: the shapes differ, or the threshold is negative.

    Example:
        >>> within(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 4.0]), threshold=0.5)
        tensor(0.5000)
    """
    threshold = number("threshold", threshold, least=0)
    output, target = _values(output, target)
    return _share((output - target).abs() <= threshold, _labelled(target))


def within_relative(output: Tensor, target: Tensor, *, fraction: float = 0.25) -> Tensor:
    """Share of labelled values with `|output − target| ≤ fraction · |target|`.

    Args:
        output: [batch, ...].
        target: the output's shape; NaN where there is no label. Where it is 0, only 0 is right.
        fraction: above 0; .25 is "within 25 percent".

    Raises:
        InputError: the shapes differ, or the fraction is not above 0.

    Example:
        >>> within_relative(torch.tensor([12.0, 14.0]), torch.tensor([10.0, 10.0]))
        tensor(0.5000)
    """
    fraction = number("fraction", fraction, above=0)
    output, target = _values(output, target)
    return _share((output - target).abs() <= fraction * target.abs(), _labelled(target))


def delta(output: Tensor, target: Tensor, *, ratio: float = 1.25) -> Tensor:
    """Share of labelled depths with max(output / target, target / output) < ratio: δ₁ of depth estimation.

    Args:
        output: depths [batch, ...]. One that is not positive is wrong.
        target: the output's shape and unit. One that is NaN or not positive is no label.
        ratio: above 1; δ₂ and δ₃ are 1.25² and 1.25³.

    Raises:
        InputError: the shapes differ, or the ratio is not above 1.

    Example:
        >>> delta(torch.tensor([1.2, 2.0, 5.0]), torch.tensor([1.0, 1.0, 0.0]))
        tensor(0.5000)

    References:
        Eigen, Puhrsch and Fergus, Depth map prediction from a single image using a multi-scale deep network, NIPS 2014.
    """
    ratio = number("ratio", ratio, above=1)
    output, target = _values(output, target)
    near = torch.maximum(output / target, target / output) < ratio
    return _share(near & (output > 0), target > 0)


def angle_within(output: Tensor, target: Tensor, *, degrees: float = 30.0) -> Tensor:
    """Share of labelled vectors that the output points at, within an angle. Lengths do not matter.

    With u and v the unit vectors, the angle is 2·atan2(‖u − v‖, ‖u + v‖), which is exact for small angles where the arc
    cosine is not.

    Args:
        output: vectors on dim 1, [batch, 3, ...]. A zero vector is wrong.
        target: the output's shape. A zero vector, or one with a NaN, is no label.
        degrees: above 0, at most 180.

    Raises:
        InputError: the shapes differ or have no dim 1, or the angle is out of range.

    Example:
        >>> normals = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0]])
        >>> angle_within(normals, torch.tensor([[0.0, 0.1, 1.0], [0.0, 1.0, 0.0]]))
        tensor(0.5000)

    References:
        Fouhey, Gupta and Hebert, Data-driven 3D primitives for single image understanding, ICCV 2013 (the measure);
        Kahan, How futile are mindless assessments of roundoff, 2006, section 12 (the angle).
    """
    limit = math.radians(number("degrees", degrees, above=0, most=180))
    output, target = _values(output, target)
    if output.ndim < 2:
        raise InputError(f"Expected vectors on dim 1, [batch, 3, ...]; got shape {tuple(output.shape)}.")
    length = target.norm(dim=1)
    u, v = output / output.norm(dim=1, keepdim=True), target / length.unsqueeze(1)
    angle = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))
    return _share(angle <= limit, length > 0)


def r2(output: Tensor, target: Tensor) -> Tensor:
    """The coefficient of determination, clamped at 0: max(0, 1 − Σ(output − target)² / Σ(target − mean)²).

    Labelled values are pooled over every dimension. NaN if they are all the same, as one value is: there is nothing to
    explain. On a small batch it is noisy and biased: let it come from the validation split (`Task.kpi_from`).

    Args:
        output: [batch, ...].
        target: the output's shape; NaN where there is no label.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> r2(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
        tensor(0.5000)
    """
    output, target = _values(output, target)
    if not target.numel():  # amin has no value for an empty tensor
        return target.new_full((), math.nan)
    labelled = _labelled(target)
    # Rounding leaves a constant some variance about its mean; about its own minimum it has none.
    origin = torch.where(labelled, target, math.inf).amin()
    shifted = torch.where(labelled, target - origin, 0)
    total = torch.where(labelled, shifted - shifted.sum() / labelled.sum(), 0).square().sum()
    residual = torch.where(labelled, output - target, 0).square().sum()
    return torch.where(total > 0, 1 - residual / total, math.nan).clamp(min=0)


def from_metric(
    metric: Callable[..., Any], *, low: float = 0.0, high: float = 1.0, higher_is_better: bool | None = None
) -> Measure:
    """A KPI from any metric: (value − low) / (high − low), flipped where lower is better, clamped to [0, 1].

    A metric with state is reset before and after, so that the KPI is the batch's alone: give it an object of its own.
    Examples without a label (every target NaN or -100) do not reach the metric; with no example left the KPI is NaN.
    Labels missing within an example are the metric's to ignore (`ignore_index`).

    Args:
        metric: a torchmetrics object, which follows the output's device, or any function (output, target) → one number.
        low: the metric's value at its one end.
        high: its value at the other end, above `low`. For an error, the size at which the KPI is 0.
        higher_is_better: the metric's direction; its own `higher_is_better` when left out.

    Raises:
        InputError: `low` is not below `high`, the direction is not known, or (on use) the value is not one number.

    Example:
        >>> from torchmetrics.regression import MeanAbsoluteError
        >>> kpi = from_metric(MeanAbsoluteError(), high=10.0)
        >>> kpi(torch.tensor([1.0, 5.0]), torch.tensor([2.0, 2.0]))
        tensor(0.8000)
    """
    low = number("low", low, above=-math.inf)
    high = number("high", high, above=low, below=math.inf)
    if higher_is_better is None:
        higher_is_better = getattr(metric, "higher_is_better", None)
    if higher_is_better is None:
        name = getattr(metric, "__name__", type(metric).__name__)
        raise InputError(f"{name} does not say which direction is better; give `higher_is_better=True` or False.")
    worst, best = (low, high) if higher_is_better else (high, low)
    return partial(_by_metric, metric, worst=worst, best=best)


def _by_metric(metric: Callable[..., Any], output: Tensor, target: Tensor, *, worst: float, best: float) -> Tensor:
    output, target = _wide(output), _wide(target) if target.is_floating_point() else target
    missing = None if target.is_floating_point() else -100
    examples = _labelled(target, missing).unsqueeze(-1).flatten(1).any(1)
    if not examples.any():
        return output.new_full((), math.nan)
    value = torch.as_tensor(_alone(metric, output[examples], target[examples])).to(output)
    if value.numel() != 1:
        raise InputError(f"Expected the metric to give one number; got shape {tuple(value.shape)}. Let it average.")
    return ((value.reshape(()) - worst) / (best - worst)).clamp(0, 1)


def _alone(metric: Callable[..., Any], output: Tensor, target: Tensor) -> Any:
    """The metric's value on these examples; what it accumulates is thrown away."""
    if isinstance(metric, nn.Module):
        metric.to(output.device)
    reset = getattr(metric, "reset", lambda: None)
    reset()
    try:
        return metric(output, target)
    finally:
        reset()


def _share(right: Tensor, labelled: Tensor) -> Tensor:
    # Through integers: a float32 sum of ones may stop at 2²⁴, and int / int would take the default dtype.
    return (right & labelled).sum().float() / labelled.sum().float()


def _labelled(target: Tensor, ignore_index: int | None = None) -> Tensor:
    known = ~target.isnan()
    # As int64, since -100 is class 156 to a uint8 target.
    return known if ignore_index is None else known & (target.long() != ignore_index)


def _wide(values: Tensor) -> Tensor:
    return values.detach().to(torch.promote_types(values.dtype, torch.float32))


def _values(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if output.shape != target.shape:  # broadcasting [batch, 1] against [batch] would give a wrong figure in silence
        raise InputError(f"Expected output and target of one shape; got {tuple(output.shape)} and {tuple(target.shape)}.")
    return _wide(output), _wide(target)


def _predicted(output: Tensor, target: Tensor) -> Tensor:
    if output.shape == target.shape:
        return (output > 0).long()
    if output.ndim > 1 and output.shape[1] > 1 and output.shape[:1] + output.shape[2:] == target.shape:
        return output.argmax(1)
    raise InputError(
        "Expected logits [batch, classes, ...] of two classes or more for a target [batch, ...], or binary logits of "
        f"its shape; got output {tuple(output.shape)} and target {tuple(target.shape)}."
    )


def _class_counts(output: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Labelled elements by class, each [classes]: predicted rightly, predicted, and there."""
    predicted, labelled = _predicted(output, target), _labelled(target, ignore_index)
    actual = torch.where(labelled, target, 0).long()
    classes = 2 if output.shape == target.shape else output.shape[1]

    def count(kind: Tensor, counted: Tensor) -> Tensor:
        zeros = kind.new_zeros(classes)
        return zeros.scatter_add(0, kind.flatten(), counted.flatten().long()).float()

    if on_host(actual):  # elsewhere to look would wait for the device
        _check_classes(actual, classes)
    return count(actual, labelled & (predicted == actual)), count(predicted, labelled), count(actual, labelled)


def _check_classes(actual: Tensor, classes: int) -> None:
    wrong = actual[(actual < 0) | (actual >= classes)]
    if wrong.numel():
        raise InputError(
            f"Expected the classes of the target to be 0 to {classes - 1}, as the output has {classes}; got {int(wrong[0])}."
        )
