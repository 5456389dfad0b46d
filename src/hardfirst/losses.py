"""Focal losses of examples as modules, which hold the options, call `hardfirst.functional`, and reduce."""

from typing import Literal

import torch
from torch import Tensor, nn

from hardfirst import functional
from hardfirst.errors import InputError, number

Reduction = Literal["mean", "sum", "none"]


class _FocalLoss(nn.Module):
    """The base class of focal losses: the focusing parameter and the reduction."""

    def __init__(self, gamma: float, reduction: Reduction) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, least=0)
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"Expected `reduction` to be 'mean', 'sum' or 'none'; got {reduction!r}.")
        self.reduction = reduction

    def extra_repr(self) -> str:
        return f"gamma={self.gamma:g}, reduction={self.reduction!r}"

    def _reduce(self, loss: Tensor, weight: Tensor) -> Tensor:
        if self.reduction == "none":
            return loss
        total = loss.sum()
        if self.reduction == "sum":
            return total
        count = weight.sum().to(total.dtype)
        # without any label the total is 0, with its graph; 0/0 would make it NaN
        return total / torch.where(count == 0, 1, count)


class SoftmaxFocalLoss(_FocalLoss):
    """The focal loss for one class out of many (Lin et al., ICCV 2017).

    Args:
        gamma: the focusing parameter, at least 0; 0 is `torch.nn.CrossEntropyLoss`. The DTP paper used 0 in its final
            model, Lin et al. 2.
        weight: [classes], a factor per class.
        ignore_index: the target of elements without a label.
        reduction: "mean" for Σ w·focal / Σ w over labelled elements (0 with a graph if nothing is labelled), "sum", or
            "none".

    Shape:
        logits [batch, classes, ...], target [batch, ...] of class indices → a 0-d tensor, or [batch, ...] for "none".

    Raises:
        InputError: `gamma` is negative or `reduction` unknown.

    Example:
        >>> loss = SoftmaxFocalLoss(gamma=2.0)
        >>> loss(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]))
        tensor(0.8259)

    Note:
        The masked loss as printed in the DTP paper divides by all elements; this divides by the labelled ones.
    """

    weight: Tensor | None

    def __init__(
        self,
        gamma: float = 2.0,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(gamma, reduction)
        if weight is not None and not isinstance(weight, Tensor):
            raise InputError(f"Expected `weight` to be a tensor [classes]; got {type(weight).__name__}.")
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss, reduced."""
        loss = functional.softmax_focal_loss(
            logits, target, gamma=self.gamma, weight=self.weight, ignore_index=self.ignore_index
        )
        return self._reduce(loss, functional.class_weight(target, self.weight, self.ignore_index))


class SigmoidFocalLoss(_FocalLoss):
    """The focal loss for yes/no questions and dense detection (Lin et al., ICCV 2017).

    Args:
        gamma: the focusing parameter, at least 0; with `alpha=None`, 0 is `torch.nn.BCEWithLogitsLoss`.
        alpha: the weight of positives, negatives get 1 − alpha; None for no class balance.
        reduction: "mean" over labelled elements (0 with a graph if there is none), "sum" (a detector divides it by its
            number of positives), or "none".

    Shape:
        logits and target of the same shape; target 0 or 1, NaN where there is no label.

    Raises:
        InputError: an option is out of range, or the shapes differ.

    Example:
        >>> loss = SigmoidFocalLoss(gamma=2.0, alpha=None)
        >>> loss(torch.tensor([2.0, -3.0]), torch.tensor([1.0, float("nan")]))
        tensor(0.0018)
    """

    def __init__(self, gamma: float = 2.0, *, alpha: float | None = 0.25, reduction: Reduction = "mean") -> None:
        super().__init__(gamma, reduction)
        self.alpha = None if alpha is None else number("alpha", alpha, least=0, most=1)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss, reduced."""
        loss = functional.sigmoid_focal_loss(logits, target, gamma=self.gamma, alpha=self.alpha)
        return self._reduce(loss, ~target.isnan())


class RegressionFocalLoss(_FocalLoss):
    """The focal loss for regression, with a scaled error in place of the cross-entropy.

    Args:
        gamma: the focusing parameter, at least 0; 0 is `torch.nn.L1Loss` (or `MSELoss`) of the scaled error.
        scale: the error that counts as 1, in the target's unit; above 0.
        kind: "l1", "l2", or "linear" for the form of the DTP paper; see `hardfirst.functional.regression_focal_loss`.
        reduction: "mean" over labelled elements (0 with a graph if there is none), "sum", or "none".

    Shape:
        prediction and target of the same shape; NaN where there is no label.

    Raises:
        InputError: an option is out of range, or the shapes differ.

    Example:
        >>> loss = RegressionFocalLoss(gamma=1.0, scale=2.0)
        >>> loss(torch.tensor([1.0, 0.0]), torch.tensor([2.0, float("nan")]))
        tensor(0.1967)
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
        return self._reduce(loss, ~target.isnan())
