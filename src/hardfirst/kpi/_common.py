"""Label masks, shapes and counts, for all KPIs."""

from collections.abc import Callable

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.functional._scalar import on_host

Measure = Callable[[Tensor, Tensor], Tensor]


def share_of(right: Tensor, labelled: Tensor) -> Tensor:
    """The share of labelled elements that are right."""
    # Through integers: a float32 sum of ones stops at 2²⁴, and int / int would have the default dtype.
    return (right & labelled).sum().float() / labelled.sum().float()


def label_mask(target: Tensor, ignore_index: int | None = None) -> Tensor:
    """Which elements have a label."""
    labelled = ~target.isnan()
    # As int64, since -100 is class 156 in a uint8 target.
    return labelled if ignore_index is None else labelled & (target.long() != ignore_index)


def detached(values: Tensor) -> Tensor:
    """The values without their graph, in float32 or better."""
    return values.detach().to(torch.promote_types(values.dtype, torch.float32))


def same_shape(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Detach output and target, after checking that their shapes are equal."""
    if output.shape != target.shape:  # broadcasting [batch, 1] to [batch, batch] would give a wrong KPI without an error
        raise InputError(f"Expected output and target of one shape; got {tuple(output.shape)} and {tuple(target.shape)}.")
    return detached(output), detached(target)


def predicted_classes(output: Tensor, target: Tensor) -> Tensor:
    """The predicted class of each element, in the shape of the target."""
    if output.shape == target.shape:
        return (output > 0).long()
    if output.ndim > 1 and output.shape[1] > 1 and output.shape[:1] + output.shape[2:] == target.shape:
        return output.argmax(1)
    raise InputError(
        "Expected logits [batch, classes, ...] of two classes or more for a target [batch, ...], or binary logits of "
        f"its shape; got output {tuple(output.shape)} and target {tuple(target.shape)}."
    )


def class_counts(output: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Count the labelled elements of each class: correctly predicted, predicted, and in the target; each [classes]."""
    predicted, labelled = predicted_classes(output, target), label_mask(target, ignore_index)
    actual = torch.where(labelled, target, 0).long()
    classes = 2 if output.shape == target.shape else output.shape[1]

    def count(kind: Tensor, counted: Tensor) -> Tensor:
        zeros = kind.new_zeros(classes)
        return zeros.scatter_add(0, kind.flatten(), counted.flatten().long()).float()

    if on_host(actual):  # elsewhere the check would wait for the device
        _check_classes(actual, classes)
    return count(actual, labelled & (predicted == actual)), count(predicted, labelled), count(actual, labelled)


def _check_classes(actual: Tensor, classes: int) -> None:
    wrong = actual[(actual < 0) | (actual >= classes)]
    if wrong.numel():
        raise InputError(
            f"Expected the classes of the target to be 0 to {classes - 1}, as the output has {classes}; got {int(wrong[0])}."
        )
