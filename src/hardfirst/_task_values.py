"""What is said of losses and KPIs that cannot be stacked."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

from torch import Tensor

from hardfirst.errors import InputError

Kind = Literal["loss", "KPI"]


def check_value(task: str, value: object, kind: Kind) -> None:
    """Raise `InputError` unless the value is a tensor or, for a KPI, a number or None."""
    if isinstance(value, Tensor):
        return
    if kind == "loss":
        raise InputError(f"Expected the loss of task {task!r} to be a tensor; got {value!r}.")
    if value is not None and not isinstance(value, Real):
        raise InputError(f"Expected the KPI of task {task!r} to be a number or a 0-d tensor; got {value!r}.")


def not_stackable(values: Mapping[str, Any], kind: Kind) -> InputError:
    """Return the error for values that cannot be stacked: a wrong shape, or devices that differ."""
    tensors = {task: value for task, value in values.items() if isinstance(value, Tensor)}
    for task, value in tensors.items():
        if value.dim():
            return InputError(
                f"Expected the {kind} of task {task!r} to be a 0-d tensor; got shape {list(value.shape)}. "
                "Reduce it first, for example with .mean()."
            )
    devices = ", ".join(f"{task!r} on {value.device}" for task, value in tensors.items())
    return InputError(f"Expected the {kind} of every task on one device; got {devices}.")
