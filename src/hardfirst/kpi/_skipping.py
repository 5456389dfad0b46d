"""Losses and KPIs of a whole batch with missing labels, without selecting rows: their number would need a host sync."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.functional._examples import class_weight
from hardfirst.functional._labels import label_mask
from hardfirst.kpi._common import IGNORED, Measure, unbound

M = TypeVar("M", bound=Callable[..., Any])

_ELEMENTWISE: frozenset[object] = frozenset(
    {F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits, F.binary_cross_entropy}
    | {nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss, nn.BCELoss}
)
_CROSS_ENTROPY: frozenset[object] = frozenset({F.cross_entropy, nn.CrossEntropyLoss})


def skips(measure: M) -> M:
    """Mark a loss or KPI that handles missing labels itself.

    For a batch it must return what it returns for the examples that have a label. A loss has a gradient of 0 for the other
    examples, regardless of their outputs, and is 0, with its graph, if there is no label; a KPI is then NaN. It neither
    indexes with Booleans nor branches on values, so it runs under `torch.func.vmap` and does not wait for a device.

    Args:
        measure: a function (output, target, options) → 0-d tensor.

    Returns:
        The same function.

    Example:
        >>> from hardfirst.kpi import skipping, skips
        >>> @skips
        ... def closeness(output, target):
        ...     return (1 - (output - target).abs()).clamp(min=0).nanmean()
        >>> skipping(closeness) is closeness
        True
    """
    measure.skips_missing = True  # type: ignore[attr-defined]  # functions take attributes
    return measure


def skipping(measure: object) -> Measure | None:
    """Return the form of a loss or KPI that takes a whole batch with missing labels; None if no such form is known.

    This is the measure itself if `skips` marks it, as it does all of `hardfirst.kpi` except `from_metric`, and the losses
    of `hardfirst.losses` with a reduction. For torch's elementwise means and its cross-entropy it is a function that
    returns, up to rounding, their value for the examples that have a label, and 0 if there is none.

    Missing labels are those of the trainer: NaN in a floating-point target, −100 in an integer one. So a measure with
    another `ignore_index` has no such form, and a measure of numbers, such as `within`, skips them only in floating-point
    targets.

    Args:
        measure: a loss or KPI (output, target) → 0-d tensor, with or without options bound by `functools.partial`.

    Example:
        >>> from torch.nn import functional as F
        >>> loss = skipping(F.mse_loss)
        >>> loss(torch.tensor([1.0, 5.0]), torch.tensor([1.5, torch.nan]))
        tensor(0.2500)
        >>> skipping(F.kl_div) is None
        True
    """
    function, options = unbound(measure)
    if options.get("ignore_index", getattr(function, "ignore_index", IGNORED)) != IGNORED:
        return None
    if getattr(function, "skips_missing", False):
        return measure  # type: ignore[return-value]  # marked functions are measures
    kind = type(function) if isinstance(function, nn.Module) else function
    if options.get("reduction", getattr(function, "reduction", "mean")) != "mean" or {"size_average", "reduce"} & {*options}:
        return None
    if kind in _CROSS_ENTROPY:
        return partial(_cross_entropy, _each(measure), options.get("weight", getattr(function, "weight", None)))
    return partial(_mean, _each(measure)) if kind in _ELEMENTWISE else None


def _each(loss: Any) -> Measure:
    """Return the loss of each element."""
    if not isinstance(loss, nn.Module):
        return partial(loss, reduction="none")
    module = copy.copy(loss)  # shares the module's buffers
    module.reduction = "none"  # type: ignore[assignment]  # an attribute of torch's losses
    return module


def _mean(each: Measure, output: Tensor, target: Tensor) -> Tensor:
    """Compute the mean over the elements of examples that have a label."""
    if output.shape != target.shape:  # they would be broadcast
        raise InputError(
            "Expected output and target of the same shape, since some examples have no label; got "
            f"{list(output.shape)} and {list(target.shape)}."
        )
    labelled = label_mask(target, None if target.is_floating_point() else IGNORED)
    examples = labelled.flatten(1).any(1) if target.dim() > 1 else labelled
    losses = _kept(each(_kept(output, examples), _kept(target, examples)), examples)
    return losses.sum() / (examples.sum() * (losses.numel() // max(len(losses), 1))).clamp(min=1)


def _cross_entropy(each: Measure, weight: Tensor | None, logits: Tensor, target: Tensor) -> Tensor:
    """Compute the class-weighted mean over labels; torch's own selects the labels if it smooths weighted ones."""
    if target.is_floating_point():
        return _mean(each, logits, target)
    labelled = target != IGNORED
    losses = each(torch.where(labelled.unsqueeze(1), logits, 0), target)
    weights = class_weight(target, weight, IGNORED).sum()
    return losses.sum() / torch.where(labelled.any(), weights, 1)


def _kept(values: Tensor, examples: Tensor) -> Tensor:
    """Set the values [batch, ...] to 0 except for these examples [batch]."""
    return torch.where(examples.view(-1, *[1] * (values.dim() - 1)), values, 0)
