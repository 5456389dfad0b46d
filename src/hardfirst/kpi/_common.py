"""Shapes, predicted classes and counts shared by all KPIs."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import InputError, number
from hardfirst.functional._examples import in_float32
from hardfirst.functional._labels import can_read, class_labels

Measure = Callable[[Tensor, Tensor], Tensor]

IGNORED = -100  # the class of an element without a label, as in torch's cross_entropy
_MANY = 16  # the number of outputs from which a warning says that they look like probabilities
_CALLER = 5  # the stack level of the code that called the measure, so that the warning names its line


def unbound(measure: Any) -> tuple[Any, dict[str, Any]]:
    """Return a measure's function without its `functools.partial`s of named options, and these options."""
    options: dict[str, Any] = {}
    while isinstance(measure, partial) and not measure.args:
        options = {**measure.keywords, **options}
        measure = measure.func
    return measure, options


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Divide two counts in float32; int / int would have the default dtype."""
    return part.float() / whole.float()


def counts_of(right: Tensor, labelled: Tensor) -> Tensor:
    """Count the correct and all labelled elements: [2] int64, since a float32 sum of ones stops at 2²⁴."""
    return torch.stack([(right & labelled).sum(), labelled.sum()])


def share(counts: Tensor) -> Tensor:
    """Compute the share of labelled elements that are correct, from the counts of `counts_of`."""
    return ratio(counts[0], counts[1])


def detached(values: Tensor) -> Tensor:
    """Return the values without their graph, in float32 or better."""
    return in_float32(values.detach())


def same_shape(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Detach output and target, after checking that their shapes are equal."""
    if output.shape != target.shape:  # broadcasting [batch, 1] to [batch, batch] would give a wrong KPI without an error
        raise InputError(
            f"Expected output and target of the same shape; got {tuple(output.shape)} and {tuple(target.shape)}."
        )
    return detached(output), detached(target)


def classified(
    output: Tensor, target: Tensor, threshold: float | None, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Return each element's predicted and true class (0 without a label), whether it is labelled, and the class count.

    Raises:
        InputError: the shapes do not match, the threshold does not apply, or (on the CPU) a label is invalid.
    """
    if output.shape == target.shape:
        if threshold is None:
            _warn_of_probabilities(output)
        predicted, classes = (output > number("threshold", threshold or 0.0)).long(), 2
    elif output.ndim > 1 and output.shape[1] > 1 and output.shape[:1] + output.shape[2:] == target.shape:
        if threshold is not None:
            raise InputError(f"Expected no `threshold` for {output.shape[1]} classes; it applies to binary outputs only.")
        predicted, classes = output.argmax(1), output.shape[1]
    else:
        raise InputError(
            "Expected logits [batch, classes, ...] of at least two classes for a target [batch, ...], or binary logits of "
            f"the target's shape; got output {tuple(output.shape)} and target {tuple(target.shape)}."
        )
    return predicted, *class_labels(target, classes, ignore_index), classes


def class_counts(predicted: Tensor, actual: Tensor, labelled: Tensor, classes: int) -> Tensor:
    """Count the labelled elements of each class, [3, classes] int64: correctly predicted, predicted, and in the target."""

    def count(kind: Tensor, counted: Tensor) -> Tensor:
        return kind.new_zeros(classes).scatter_add(0, kind.flatten(), counted.flatten().long())

    return torch.stack(
        [count(actual, labelled & (predicted == actual)), count(predicted, labelled), count(actual, labelled)]
    )


def _warn_of_probabilities(output: Tensor) -> None:
    """Warn if binary outputs look like probabilities: many of them, all in [0, 1], and most near either end.

    Logits early in training often all lie in [0, 1], around some value, so this is not an error, and only a variance above
    that of a uniform distribution triggers the warning.
    """
    if output.numel() < _MANY or not output.is_floating_point() or not can_read(output):
        return
    low, high = (value.item() for value in output.detach().aminmax())
    if low < 0 or high > 1 or output.detach().float().var(correction=0) <= 1 / 12:
        return
    if ((output > 0) & (output <= 0.5)).any():  # outputs of exactly 0 and 1 mean the same with either threshold
        warnings.warn(
            f"All {output.numel()} binary outputs are in [0, 1], but they are read as logits: above 0 is class 1. If they "
            "are probabilities, give `threshold=0.5`; if they are logits, give `threshold=0.0` to silence this warning.",
            UserWarning,
            stacklevel=_CALLER,
        )
