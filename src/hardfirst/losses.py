"""Focal losses of examples as modules, which hold the options, call `hardfirst.functional`, and reduce.

**Missing labels.** These losses and the measures in `hardfirst.kpi` use the same marks for an element without a label:

- NaN, in a target of any floating-point type;
- `ignore_index`, default −100, in a target of classes or binary labels of any type. A target of measured numbers has no
  `ignore_index`, since any number may be a measurement.

Such an element is excluded from all sums and means, and its output gets a gradient of 0, even where it is infinite. If
nothing is labelled, a loss is 0 with a graph and a KPI is NaN, and balancers ignore both. `hardfirst.kpi.from_metric` also
recognizes the `ignore_index` of the metric. Any other mark is read as a value: on the CPU, a 255 that is not the
`ignore_index` raises an `InputError`, like every target out of range. On an accelerator the check would wait for the device
in every step.

The losses sum in float32 or better and return that type, also for half-precision outputs and under autocast.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from hardfirst import functional
from hardfirst.errors import InputError, number
from hardfirst.functional._labels import label_mask

Reduction = Literal["mean", "sum", "none"]


class _FocalLoss(nn.Module):
    """Base class of focal losses: the focusing parameter and the reduction."""

    def __init__(self, gamma: float, reduction: Reduction) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, least=0)
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"Expected `reduction` to be 'mean', 'sum' or 'none'; got {reduction!r}.")
        self.reduction = reduction

    @property
    def skips_missing(self) -> bool:
        """Whether the loss accepts batches with missing labels: see `hardfirst.kpi.skipping`."""
        return self.reduction != "none"

    def extra_repr(self) -> str:
        return f"gamma={self.gamma:g}, reduction={self.reduction!r}"

    def _reduce(self, loss: Tensor, weight: Tensor) -> Tensor:
        if self.reduction == "none":
            return loss
        total = loss.sum()
        if self.reduction == "sum":
            return total
        count = weight.sum().to(total.dtype)  # both in float32 or better
        # without any label the total is 0, with its graph; 0/0 would make it NaN
        return total / torch.where(count == 0, 1, count)


class SoftmaxFocalLoss(_FocalLoss):
    """The focal loss for one class out of many (Lin et al., ICCV 2017).

    Args:
        gamma: the focusing parameter, at least 0; 0 is `torch.nn.CrossEntropyLoss`. The DTP paper used 0 in its final
            model, Lin et al. 2.
        weight: [classes], a factor per class.
        ignore_index: the class of elements without a label.
        label_smoothing: in [0, 1], the share of the uniform distribution that is mixed into each target.
        reduction: "mean" for Σ w·focal / Σ w over labelled elements (over their number if the target has probabilities; 0
            with a graph if nothing is labelled), "sum", or "none".

    Shape:
        logits [batch, classes, ...], target [batch, ...] of classes in any integer type or [batch, classes, ...] of
        floating-point probabilities → a 0-d tensor, or [batch, ...] for "none", in float32 or better.

    Raises:
        InputError: an option is out of range, shapes do not match, or (on the CPU) a class or probability is out of range.

    Example:
        >>> loss = SoftmaxFocalLoss(gamma=2.0)
        >>> loss(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
        tensor(0.8259)

    Note:
        The masked loss as printed in the DTP paper divides by the number of all elements; here it is divided by that of the
        labelled ones. The focusing factor of probabilities is ours: see `hardfirst.functional.softmax_focal_loss`.

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """

    weight: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(gamma, reduction)
        self.label_smoothing = number("label_smoothing", label_smoothing, least=0, most=1)
        if weight is not None and not isinstance(weight, Tensor):
            raise InputError(f"Expected `weight` to be a tensor [classes]; got {type(weight).__name__}.")
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss, reduced."""
        loss = functional.softmax_focal_loss(
            logits,
            target,
            gamma=self.gamma,
            weight=self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )
        if target.is_floating_point():
            return self._reduce(loss, label_mask(target).all(1))
        return self._reduce(loss, functional.class_weight(target, self.weight, self.ignore_index))


class SigmoidFocalLoss(_FocalLoss):
    """The focal loss for binary tasks and dense detection (Lin et al., ICCV 2017).

    Args:
        gamma: the focusing parameter, at least 0; with `alpha=None`, 0 is `torch.nn.BCEWithLogitsLoss`.
        alpha: the weight of positives, negatives get 1 − alpha; None for no class balance.
        ignore_index: the target of elements without a label.
        reduction: "mean" over labelled elements (0 with a graph if there is none), "sum" (a detector divides it by its
            number of positives), or "none".

    Shape:
        logits and target of the same shape; target 0 to 1, of any type; NaN or `ignore_index` where there is no label. The
        result is float32 or better.

    Raises:
        InputError: an option is out of range, the shapes differ, or (on the CPU) a target is not from 0 to 1.

    Example:
        >>> loss = SigmoidFocalLoss(gamma=2.0, alpha=None)
        >>> loss(torch.tensor([2.0, -3.0]), torch.tensor([1.0, float("nan")]))
        tensor(0.0018)

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        alpha: float | None = 0.25,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(gamma, reduction)
        self.alpha = None if alpha is None else number("alpha", alpha, least=0, most=1)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss, reduced."""
        loss = functional.sigmoid_focal_loss(
            logits, target, gamma=self.gamma, alpha=self.alpha, ignore_index=self.ignore_index
        )
        return self._reduce(loss, label_mask(target, self.ignore_index))


class RegressionFocalLoss(_FocalLoss):
    r"""The focal loss for regression, with a scaled error in place of the cross-entropy.

    Args:
        gamma: the focusing parameter, at least 0; 0 is `torch.nn.L1Loss` (or `MSELoss`) of the scaled error.
        scale: the error that counts as 1, in the target's unit; above 0.
        kind: "l1", "l2", or "linear" for the form of the DTP paper; see `hardfirst.functional.regression_focal_loss`.
        reduction: "mean" over labelled elements (0 with a graph if there is none), "sum", or "none".

    Shape:
        prediction and target of the same shape; NaN where there is no label. The result is float32 or better.

    Raises:
        InputError: an option is out of range, the shapes differ, or (on the CPU) a target is infinite.

    Example:
        >>> loss = RegressionFocalLoss(gamma=1.0, scale=2.0)
        >>> loss(torch.tensor([1.0, 0.0]), torch.tensor([2.0, float("nan")]))
        tensor(0.1967)

    Note:
        The DTP paper prints :math:`-(1-e)^\gamma \log e`, which falls as the error grows; its text describes p = 1 − e,
        which is "linear" here. The other forms are ours.

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Sec. 3.1.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        scale: float = 1.0,
        kind: Literal["l1", "l2", "linear"] = "l1",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(gamma, reduction)
        self.scale = number("scale", scale, above=0)
        if kind not in ("l1", "l2", "linear"):
            raise InputError(f"Expected `kind` to be 'l1', 'l2' or 'linear'; got {kind!r}.")
        self.kind: Literal["l1", "l2", "linear"] = kind

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compute the loss, reduced."""
        loss = functional.regression_focal_loss(prediction, target, gamma=self.gamma, scale=self.scale, kind=self.kind)
        return self._reduce(loss, label_mask(target))
