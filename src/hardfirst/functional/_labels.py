"""Labels of targets: which elements have one, and checks of their values, for losses, KPIs and the trainer.

The checks read values, so they run only where reading is free: on the CPU, in eager mode. Elsewhere they would wait for the
device.
"""

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.functional._scalar import on_host

_SUM_TOLERANCE = 0.01  # for probabilities, which may be bfloat16


def label_mask(target: Tensor, ignore_index: int | None = None) -> Tensor:
    """Return a mask of the elements that have a label: those that are neither NaN nor `ignore_index`.

    >>> label_mask(torch.tensor([0, 255, 1], dtype=torch.uint8), 255)
    tensor([ True, False,  True])
    """
    labelled = ~target.isnan()
    if ignore_index is None:
        return labelled
    whole = not (target.is_floating_point() or target.is_complex())
    return labelled & ((target.long() if whole else target) != ignore_index)  # -100 as a uint8 would be class 156


def class_labels(target: Tensor, classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return the classes as int64, 0 where there is no label, and a mask of the elements that have one.

    Args:
        target: classes of any shape and type; NaN or `ignore_index` where there is no label.
        classes: the number of classes.
        ignore_index: the class of elements without a label.

    Raises:
        InputError: a label is not a whole number from 0 to classes − 1 (checked on the CPU).

    Example:
        >>> class_labels(torch.tensor([2, 0, 255], dtype=torch.uint8), 3, 255)
        (tensor([2, 0, 0]), tensor([ True,  True, False]))
    """
    labelled = label_mask(target, ignore_index)
    values = torch.where(labelled, target if target.is_floating_point() else target.long(), 0)
    if can_read(values):
        wrong = values != values.clamp(0, classes - 1).floor()
        known = "0 or 1" if classes == 2 else f"0 to {classes - 1}, as the output has {classes}"
        _refuse(values, wrong, f"the classes of the target to be {known}, or {_mark(ignore_index)}")
    return values.long(), labelled


def check_answers(target: Tensor, ignore_index: int) -> None:
    """Raise `InputError` for a binary label that is not from 0 to 1.

    Args:
        target: floating-point, 0 where there is no label.
        ignore_index: for the message.
    """
    if can_read(target):
        expected = f"the target to be from 0 (no) to 1 (yes), or {_mark(ignore_index)} or NaN"
        _refuse(target, target != target.clamp(0, 1), expected)


def check_probabilities(target: Tensor, labelled: Tensor) -> None:
    """Raise `InputError` for probabilities that are not from 0 to 1, or do not sum to 1.

    Args:
        target: [batch, classes, ...], float32 or better, 0 where there is no label.
        labelled: [batch, ...].
    """
    if can_read(target):
        _refuse(target, target != target.clamp(0, 1), "the target's probabilities to be from 0 to 1, or NaN")
        sums = target.sum(1)
        wrong = labelled & ((sums - 1).abs() > _SUM_TOLERANCE)
        _refuse(sums, wrong, "the target's probabilities to sum to 1, or to be NaN")


def check_finite(target: Tensor) -> None:
    """Raise `InputError` for an infinite number in a target."""
    if target.is_floating_point() and can_read(target):
        _refuse(target, target.isinf(), "the target to be finite numbers, or NaN")


def can_read(target: Tensor) -> bool:
    """Return whether reading the values is free. Under torch.func's vmap there are no values to branch on."""
    return on_host(target) and not torch._C._are_functorch_transforms_active()


def _mark(ignore_index: int) -> str:
    return f"`ignore_index` ({ignore_index})"


def _refuse(values: Tensor, wrong: Tensor, expected: str) -> None:
    if wrong.any():
        raise InputError(f"Expected {expected} where there is no label; got {values[wrong][0].item():g}.")
