"""Measures that are objects: updated batch by batch, with the value computed at the end."""

import copy
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.kpi._common import Measure


@runtime_checkable
class Accumulator(Protocol):
    """A measure with state, such as any `torchmetrics.Metric` of (output, target).

    The trainer works on a copy, and moves it to the device if it is a module.

    Example:
        >>> class Largest:
        ...     def reset(self):
        ...         self.error = 0.0
        ...     def update(self, output, target):
        ...         self.error = max(self.error, float((output - target).abs().max()))
        ...     def compute(self):
        ...         return self.error
        >>> isinstance(Largest(), Accumulator)
        True
    """

    def update(self, output: Any, target: Any, /) -> Any:
        """Add the outputs and targets of a batch's labelled examples."""

    def compute(self) -> Any:
        """Return the value over all batches since the last reset: a 0-d tensor or a number."""

    def reset(self) -> Any:
        """Forget all batches."""


def is_accumulator(measure: object) -> TypeGuard[Accumulator]:
    """Return whether a measure is an object that accumulates, rather than a function.

    >>> is_accumulator(torch.mean), is_accumulator(Accumulator)
    (False, False)
    """
    return isinstance(measure, Accumulator) and not isinstance(measure, type)


def copied(accumulator: Accumulator, device: torch.device | None = None) -> Accumulator:
    """Copy the accumulator without its state to the device; the copy does not communicate with other processes.

    Raises:
        InputError: the object cannot be copied.
    """
    try:
        copy_ = copy.deepcopy(accumulator)
    except Exception as error:  # an object may contain anything
        raise InputError(
            "Expected a measure that can be copied, so that each evaluation has its own state; "
            f"copying {type(accumulator).__name__} failed: {type(error).__name__}: {error}"
        ) from error
    if isinstance(copy_, nn.Module):
        for part in copy_.modules():
            if hasattr(part, "distributed_available_fn"):  # torchmetrics would wait for ranks that do not compute
                vars(part)["distributed_available_fn"] = _never
        if device is not None:
            copy_.to(device)
    copy_.reset()
    return copy_


def value_of(accumulator: Accumulator) -> Any:
    """Return the accumulator's value, converted to a tensor if it is a number."""
    value = accumulator.compute()
    return torch.tensor(float(value)) if isinstance(value, int | float) else value


def of_batch(measure: "Measure | Accumulator") -> Measure:
    """Convert the measure to a function of a batch.

    >>> of_batch(torch.dist) is torch.dist
    True
    """
    return _OfBatch(copied(measure)) if is_accumulator(measure) else measure  # type: ignore[return-value]  # a function


@dataclass(frozen=True)
class _OfBatch:
    accumulator: Accumulator

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        if isinstance(self.accumulator, nn.Module):
            self.accumulator.to(output.device)
        self.accumulator.reset()
        try:
            self.accumulator.update(output.detach(), target)
            value = value_of(self.accumulator)
            return value.to(output.device) if isinstance(value, Tensor) else value  # the trainer checks it
        finally:
            self.accumulator.reset()


def _never() -> bool:
    return False
