"""Equations of `functional` on Python numbers, for small steps on the CPU.

In eager mode on the CPU, a step of DTP works on a handful of numbers. As tensors, these need about twenty kernels, which
cost more than the backward pass (`make bench`). On an accelerator and in a compiled graph the tensor form is used, since it
does not wait for the device. tests/functional/test_scalar.py checks that the two forms agree.
"""

import ctypes
from collections.abc import Iterable, Sequence
from functools import cache
from math import exp, isnan, log, log1p
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch

_NUMBERS: dict[torch.dtype, Any] = {torch.float32: ctypes.c_float, torch.int64: ctypes.c_int64}


def has_values(tensor: Tensor) -> bool:
    """Return whether a tensor has readable values: in eager mode, and neither a fake tensor nor one of `vmap`."""
    return (
        type(tensor) is Tensor and not torch.compiler.is_compiling() and not _functorch.is_functorch_wrapped_tensor(tensor)
    )


def is_batched(tensor: Tensor) -> bool:
    """Return whether a tensor belongs to `vmap`, which does not support some operations."""
    return _functorch.is_batchedtensor(tensor)


def has_graph(tensor: Tensor) -> bool:
    """Return whether a tensor has a graph; for a tensor of `vmap`, which does not know, look at the wrapped tensor."""
    if tensor.requires_grad or not is_batched(tensor):
        return tensor.requires_grad
    return has_graph(_functorch.get_unwrapped(tensor))


def on_host(state: Tensor) -> bool:
    """Return whether reading a tensor's values is free: it has values, on the CPU."""
    return state.is_cpu and has_values(state)


def host_memory(state: Tensor) -> ctypes.Array[Any] | None:
    """Return a tensor's memory as a writable array of Python numbers; None if it is not on the host.

    The array is valid at this moment only: create it again in each step, since a buffer may move.

    Args:
        state: [T], without a graph; float32 or int64, as all state is. None for another dtype.

    Example:
        >>> state = torch.zeros(2)
        >>> host_memory(state)[:] = [0.5, 1.0]
        >>> state
        tensor([0.5000, 1.0000])
    """
    if on_host(state) and state.dtype in _NUMBERS and state.is_contiguous():
        return _array(state.dtype, state.numel()).from_address(state.data_ptr())  # type: ignore[no-any-return]  # ctypes' own
    return None


def host_tensor(numbers: Sequence[float]) -> Tensor:
    """Create a tensor of float32 numbers, at least one, in a third of the time of `torch.tensor`."""
    return torch.frombuffer((ctypes.c_float * len(numbers))(*numbers), dtype=torch.float32)


@cache
def _array(dtype: torch.dtype, count: int) -> Any:
    return _NUMBERS[dtype] * count


def focal_weights_on_host(
    kpis: Sequence[float],
    gammas: Sequence[float],
    *,
    floor: float,
    normalize: bool = True,
    uniform: float = 0.0,
    easy_first: bool = False,
) -> Tensor:
    """Compute `functional.focal_weights` on Python numbers.

    Args:
        kpis: T numbers, NaN where a task is not measured.
        gammas: T numbers.
        floor: as in `functional.focal_weights`, like the other options.
        normalize: see there.
        uniform: see there.
        easy_first: see there.
    """
    if easy_first:
        kpis = [1 - value for value in kpis]
    logs = log_focal_weights(kpis, gammas, floor)
    measured = logs if not isnan(sum(logs)) else [log for log in logs if not isnan(log)]
    weights = _normalized(measured, uniform) if normalize and measured else [exp(log) for log in measured]
    if len(measured) < len(logs):
        rest = iter(weights)
        weights = [1.0 if isnan(log) else next(rest) for log in logs]
    return host_tensor(weights)


def _normalized(logs: Sequence[float], uniform: float) -> list[float]:
    highest = max(logs)
    shares = [exp(log - highest) for log in logs]
    scale = (1 - uniform) * len(shares) / sum(shares)
    return [scale * share + uniform for share in shares]


def log_focal_weights(kpis: Iterable[float], gammas: Sequence[float], floor: float) -> list[float]:
    """See `functional.log_focal_weight`."""
    ends = (floor, highest := 1 - floor)
    return [
        gamma * log1p(-kpi) + log(-log(kpi))
        for value, gamma in zip(kpis, gammas, strict=True)
        for kpi in (value if floor < value < highest or isnan(value) else ends[value > 0.5],)
    ]


def moving_averages(averages: Sequence[float], kpis: Sequence[float], alpha: float) -> list[float]:
    """See `functional.moving_average`."""
    moved = [old + alpha * (new - old) for old, new in zip(averages, kpis, strict=True)]
    if isnan(sum(moved)):  # a task was not measured before, or is not measured now
        pairs = zip(moved, averages, kpis, strict=True)
        return [average if not isnan(average) else old if isnan(new) else new for average, old, new in pairs]
    return moved
