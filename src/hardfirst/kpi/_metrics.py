"""KPIs from the metrics of other libraries."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, number
from hardfirst.kpi._common import Measure, detached, label_mask


def from_metric(
    metric: Callable[..., Any], *, low: float = 0.0, high: float = 1.0, higher_is_better: bool | None = None
) -> Measure:
    """Make a KPI of a metric: (value − low) / (high − low), reversed if lower is better, clamped to [0, 1].

    A metric with state is reset before and after each call, so that the KPI is that of the batch: do not use the object
    elsewhere.
    Examples without a label (every target NaN or -100) do not reach the metric; without any example the KPI is NaN.
    Missing labels within an example are left to the metric (`ignore_index`).

    Args:
        metric: a torchmetrics object, which follows the output's device, or any function (output, target) → one number.
        low: the lower end of the metric's range.
        high: the upper end, above `low`. For an error, the size at which the KPI is 0.
        higher_is_better: the metric's direction; default: its attribute `higher_is_better`.

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
    output, target = detached(output), detached(target) if target.is_floating_point() else target
    missing = None if target.is_floating_point() else -100
    examples = label_mask(target, missing).unsqueeze(-1).flatten(1).any(1)
    if not examples.any():
        return output.new_full((), math.nan)
    value = torch.as_tensor(_value_of(metric, output[examples], target[examples])).to(output)
    if value.numel() != 1:
        raise InputError(f"Expected the metric to give one number; got shape {tuple(value.shape)}. Let it average.")
    return ((value.reshape(()) - worst) / (best - worst)).clamp(0, 1)


def _value_of(metric: Callable[..., Any], output: Tensor, target: Tensor) -> Any:
    """The metric's value on these examples alone."""
    if isinstance(metric, nn.Module):
        metric.to(output.device)
    reset = getattr(metric, "reset", lambda: None)
    reset()
    try:
        return metric(output, target)
    finally:
        reset()
