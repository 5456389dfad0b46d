"""Losses and KPIs of a whole batch in which labels are missing: no choice of rows, whose number the host must know."""

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
from hardfirst.kpi._common import IGNORED, Measure

M = TypeVar("M", bound=Callable[..., Any])

_ELEMENTWISE: frozenset[object] = frozenset(
    {F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits, F.binary_cross_entropy}
    | {nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCEWithLogitsLoss, nn.BCELoss}
)
_CROSS_ENTROPY: frozenset[object] = frozenset({F.cross_entropy, nn.CrossEntropyLoss})


def skips(measure: M) -> M:
    """Mark a loss or KPI that skips missing labels by itself.

    For a batch it then gives what it gives for the examples that have a label: a loss has a gradient of 0 for the others,
    whatever their outputs are, and is 0, with its graph, if there is no label at all; a KPI is NaN then. It neither indexes
    by Booleans nor branches on values, so that it runs under `torch.func.vmap` and does not wait for a device.

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
    """The form of a loss or KPI for a whole batch in which labels may be missing; None if no such form is known.

    It is the measure itself if that is marked by `skips`, as are all of `hardfirst.kpi` but those of `from_metric`, and the
    losses of `hardfirst.losses` with a reduction. Of torch's means of elements and its cross-entropy it is a function that
    gives, up to rounding, what they give for the examples that have a label, and 0 if there is none.

    No label is here what it is to the trainer: NaN in a floating-point target, −100 in one of integers. So a measure with
    another `ignore_index` has no such form, and one of numbers, such as `within`, skips them in floating-point targets only.

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
    function, options = measure, dict[str, Any]()
    while isinstance(function, partial) and not function.args:
        options = {**function.keywords, **options}
        function = function.func
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
    """The loss of each element."""
    if not isinstance(loss, nn.Module):
        return partial(loss, reduction="none")
    module = copy.copy(loss)  # it shares the module's buffers
    module.reduction = "none"  # type: ignore[assignment]  # an attribute of torch's losses
    return module


def _mean(each: Measure, output: Tensor, target: Tensor) -> Tensor:
    """The mean over the elements of examples that have a label."""
    if output.shape != target.shape:  # they would be broadcast
        raise InputError(
            "Expected output and target of one shape, since some examples have no label; got "
            f"{list(output.shape)} and {list(target.shape)}."
        )
    labelled = label_mask(target, None if target.is_floating_point() else IGNORED)
    examples = labelled.flatten(1).any(1) if target.dim() > 1 else labelled
    losses = _kept(each(_kept(output, examples), _kept(target, examples)), examples)
    return losses.sum() / (examples.sum() * (losses.numel() // max(len(losses), 1))).clamp(min=1)


def _cross_entropy(each: Measure, weight: Tensor | None, logits: Tensor, target: Tensor) -> Tensor:
    """The mean over labels, by the weight of their class; torch's own selects the labels if it smooths weighted ones."""
    if target.is_floating_point():
        return _mean(each, logits, target)
    labelled = target != IGNORED
    losses = each(torch.where(labelled.unsqueeze(1), logits, 0), target)
    weights = class_weight(target, weight, IGNORED).sum()
    return losses.sum() / torch.where(labelled.any(), weights, 1)


def _kept(values: Tensor, examples: Tensor) -> Tensor:
    """The values [batch, ...], 0 for other examples than those [batch]."""
    return torch.where(examples.view(-1, *[1] * (values.dim() - 1)), values, 0)
