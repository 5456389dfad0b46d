"""KPIs from the metrics of other libraries."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, number
from hardfirst.functional._labels import label_mask
from hardfirst.kpi._accumulators import is_accumulator
from hardfirst.kpi._common import IGNORED, Measure, detached
from hardfirst.kpi._undefined import is_undefined, witness


def from_metric(
    metric: Callable[..., Any],
    *,
    low: float = 0.0,
    high: float = 1.0,
    higher_is_better: bool | None = None,
    ignore_index: int | None = None,
) -> Measure:
    """Convert a metric to a KPI: (value − low) / (high − low), reversed if lower is better, clamped to [0, 1].

    A metric with state is reset before and after each call, so that the KPI is that of the batch: do not use the object
    elsewhere. A torchmetrics object accumulates over the batches of a split; see `Accumulator`.

    NaN marks a missing label in a floating-point target, and -100 or the metric's `ignore_index` in a target of classes. The
    metric does not see examples without any label; if there is no example, the KPI is NaN. A missing label within an example
    is passed to the metric as its `ignore_index`, or unchanged if the metric has none.

    The KPI is also NaN where a torchmetrics object returns a number, often 0, although it is undefined: a ranking, an
    agreement, a correlation or explained variance of targets that are all equal (as for `auc`); a macro AUROC without some
    of the classes; a binary F score, precision, recall or Jaccard index without positives; a specificity without negatives.

    Args:
        metric: a torchmetrics object, which is moved to the output's device, or any function (output, target) → one number.
        low: the lower end of the metric's range.
        high: the upper end, above `low`. For an error, the size at which the KPI is 0.
        higher_is_better: the metric's direction; default: its attribute `higher_is_better`.
        ignore_index: the class that the metric ignores; default: its attribute `ignore_index`, that of a wrapped metric, or
            the option of a `functools.partial`.

    Raises:
        InputError: `low` is not below `high`, the direction is unknown, or (on use) the value is not one number.

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
        raise InputError(f"{name} does not say which direction is better. Give `higher_is_better=True` or False.")
    worst, best = (low, high) if higher_is_better else (high, low)
    if ignore_index is None:
        ignore_index = _ignore_index_of(metric)
    options: dict[str, Any] = {"worst": worst, "best": best, "ignore_index": ignore_index}
    return _Accumulating(metric, options) if is_accumulator(metric) else partial(_by_metric, metric, **options)


class _Accumulating(nn.Module):
    """The KPI of a metric that accumulates: both a function of a batch and an accumulator.

    Args:
        metric: the metric.
        options: those of `_by_metric`.
    """

    def __init__(self, metric: Any, options: dict[str, Any]) -> None:
        super().__init__()
        self.metric, self.options = metric, options
        self.witness: tuple[Tensor, Tensor] | None = None  # labels that represent all labels so far

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return _by_metric(self.metric, output, target, **self.options)

    def reset(self) -> None:
        self.metric.reset()
        self.witness = None

    def update(self, output: Tensor, target: Tensor) -> None:
        output, target, labelled = _labelled_examples(output, target, self.options["ignore_index"])
        if not len(target):
            return
        self.metric.update(output, target)
        labels = witness(_parts(self.metric), target, labelled)
        if self.witness is not None:
            both = [torch.cat(pair) for pair in zip(self.witness, labels, strict=True)]
            labels = witness(_parts(self.metric), *both)
        self.witness = labels

    def compute(self) -> Tensor:
        if self.witness is None or any(is_undefined(part, *self.witness) for part in _parts(self.metric)):
            return torch.tensor(math.nan)
        return _scaled(detached(torch.as_tensor(self.metric.compute())), self.options["worst"], self.options["best"])


def _by_metric(
    metric: Callable[..., Any], output: Tensor, target: Tensor, *, worst: float, best: float, ignore_index: int | None
) -> Tensor:
    output, target, labelled = _labelled_examples(output, target, ignore_index)
    if not len(target) or any(is_undefined(part, target, labelled) for part in _parts(metric)):
        return output.new_full((), math.nan)
    return _scaled(torch.as_tensor(_value_of(metric, output, target)).to(output), worst, best)


def _labelled_examples(output: Tensor, target: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return output and target of the examples with a label, detached, and the mask of labels in the target."""
    output, target = detached(output), detached(target) if target.is_floating_point() else target
    labelled = label_mask(target, None if target.is_floating_point() else IGNORED)
    if ignore_index is not None:
        labelled &= label_mask(target, ignore_index)
        target = torch.where(labelled, target if target.is_floating_point() else target.long(), ignore_index)
    examples = labelled.unsqueeze(-1).flatten(1).any(1)
    return output[examples], target[examples], labelled[examples]


def _scaled(value: Tensor, worst: float, best: float) -> Tensor:
    if value.numel() != 1:
        raise InputError(f"Expected the metric to return one number; got shape {tuple(value.shape)}. Set it to average.")
    return ((value.reshape(()) - worst) / (best - worst)).clamp(0, 1)


def _parts(metric: Callable[..., Any]) -> list[Any]:
    """Return the metric and the metrics that it wraps."""
    return list(metric.modules()) if isinstance(metric, nn.Module) else [metric]


def _ignore_index_of(metric: Callable[..., Any]) -> int | None:
    options = [metric.keywords.get("ignore_index")] if isinstance(metric, partial) else []
    options += [getattr(part, "ignore_index", None) for part in _parts(metric)]
    return next((option for option in options if isinstance(option, int)), None)


def _value_of(metric: Callable[..., Any], output: Tensor, target: Tensor) -> Any:
    """Compute the metric on these examples only."""
    if isinstance(metric, nn.Module):
        metric.to(output.device)
    reset = getattr(metric, "reset", lambda: None)
    reset()
    try:
        return metric(output, target)
    finally:
        reset()
