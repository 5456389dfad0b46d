"""Shapes, predicted classes and counts, for all KPIs."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from hardfirst.errors import InputError, number
from hardfirst.functional._examples import in_float32
from hardfirst.functional._labels import can_read, class_labels

Measure = Callable[[Tensor, Tensor], Tensor]

IGNORED = -100  # the class of an element without a label, as in torch's cross_entropy
_MANY = 16  # outputs from which on a warning says that they look like probabilities
_CALLER = 5  # the stack level of the code that called the measure: its warning names that line


def ratio(part: Tensor, whole: Tensor) -> Tensor:
    """The ratio of two counts: float32, although int / int would have the default dtype."""
    return part.float() / whole.float()


def counts_of(right: Tensor, labelled: Tensor) -> Tensor:
    """How many labelled elements are right, and how many there are: [2] int64, since a float32 sum of ones stops at 2²⁴."""
    return torch.stack([(right & labelled).sum(), labelled.sum()])


def share(counts: Tensor) -> Tensor:
    """The share of labelled elements that are right, of the counts of `counts_of`."""
    return ratio(counts[0], counts[1])


def detached(values: Tensor) -> Tensor:
    """The values without their graph, in float32 or better."""
    return in_float32(values.detach())


def same_shape(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Detach output and target, after checking that their shapes are equal."""
    if output.shape != target.shape:  # broadcasting [batch, 1] to [batch, batch] would give a wrong KPI without an error
        raise InputError(f"Expected output and target of one shape; got {tuple(output.shape)} and {tuple(target.shape)}.")
    return detached(output), detached(target)


def classified(
    output: Tensor, target: Tensor, threshold: float | None, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Each element's predicted class, its own (0 where there is no label), and whether it has a label; how many classes.

    Raises:
        InputError: the shapes do not fit, the threshold does not apply, or (on the CPU) a label is no class.
    """
    if output.shape == target.shape:
        if threshold is None:
            _warn_of_probabilities(output)
        predicted, classes = (output > number("threshold", threshold or 0.0)).long(), 2
    elif output.ndim > 1 and output.shape[1] > 1 and output.shape[:1] + output.shape[2:] == target.shape:
        if threshold is not None:
            raise InputError(f"Expected no `threshold` for {output.shape[1]} classes: it is for binary outputs.")
        predicted, classes = output.argmax(1), output.shape[1]
    else:
        raise InputError(
            "Expected logits [batch, classes, ...] of two classes or more for a target [batch, ...], or binary logits of "
            f"its shape; got output {tuple(output.shape)} and target {tuple(target.shape)}."
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
    """Warn where binary outputs look like probabilities: many of them, all in [0, 1], and most near either end.

    Logits of a network that has just begun to learn often all lie in [0, 1], around some value there: so this is no error,
    and only a variance above that of a uniform distribution is a sign.
    """
    if output.numel() < _MANY or not output.is_floating_point() or not can_read(output):
        return
    low, high = (value.item() for value in output.detach().aminmax())
    if low < 0 or high > 1 or output.detach().float().var(correction=0) <= 1 / 12:
        return
    if ((output > 0) & (output <= 0.5)).any():  # answers of exactly 0 and 1 mean the same with either threshold
        warnings.warn(
            f"All {output.numel()} binary outputs are in [0, 1]. If they are probabilities, give `threshold=0.5`, since "
            "logits are assumed: above 0 is class 1. If they are logits, `threshold=0.0` says so.",
            UserWarning,
            stacklevel=_CALLER,
        )
