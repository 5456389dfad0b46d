"""A few numbers that identify data, to detect that a file read by `data()` has changed.

They are sums rather than a hash: on another processor, or with another number of threads, the same program may round
differently although its data is the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from hardfirst.problems import Splits

Fingerprint = dict[str, list[float]]

_MOST = 2**22  # the number of elements of a tensor that are read
_GOLDEN, _ROOT = 0.6180339887498949, 1.4142135623730951
_WHOLE_TOLERANCE, _FLOAT_TOLERANCE = 1e-9, 1e-5


def fingerprint(splits: Splits) -> Fingerprint:
    """Compute sums over the tensors, arrays and lists of numbers in each split's data sets.

    Nothing is read by index, since that may be slow or draw random numbers. For a tensor of more than four million elements,
    evenly spaced elements are read.

    Returns:
        By split: the number of elements, of those that are NaN, Σ wᵢ·vᵢ and Σ |vᵢ| over whole numbers, and both over floats,
        with weights in [0.5, 1.5] that depend on the position.
    """
    return {name: _sums(getattr(splits, name)) for name in ("train", "validation", "test")}


def same_data(one: Fingerprint, other: Fingerprint) -> bool:
    """Return whether two fingerprints are of the same data, up to rounding."""
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(one: list[float], other: list[float]) -> bool:
    if len(one) != len(other) or one[:2] != other[:2]:
        return False
    limits = (_WHOLE_TOLERANCE * one[3], _WHOLE_TOLERANCE * one[3], _FLOAT_TOLERANCE * one[5], _FLOAT_TOLERANCE * one[5])
    return all(abs(mine - its) <= limit for mine, its, limit in zip(one[2:], other[2:], limits, strict=True))


def _sums(split: Any) -> list[float]:
    count, missing, sums = 0, 0, {False: [0.0, 0.0], True: [0.0, 0.0]}
    for index, tensor in enumerate(_tensors(split, set())):
        count += tensor.numel()
        floats = tensor.is_floating_point()
        flat = tensor.detach().flatten()
        values = flat[:: max(1, len(flat) // _MOST)].cpu().double()
        missing += int(values.isnan().sum())
        values = values.nan_to_num(0.0, 0.0, 0.0)
        weights = 0.5 + (torch.arange(1, len(values) + 1, dtype=torch.float64) * _GOLDEN + index * _ROOT) % 1
        sums[floats][0] += float(values @ weights)
        sums[floats][1] += float(values.abs().sum())
    return [count, missing, *sums[False], *sums[True]]


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield the tensors in the attributes of a data set and of the data sets that it wraps."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if hasattr(value, "to_numpy"):  # of pandas and others
        value = value.to_numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        value = torch.from_numpy(value.astype(np.float64 if value.dtype.kind == "f" else np.int64))
    elif isinstance(value, list | tuple) and value and all(isinstance(item, int | float) for item in value):
        value = torch.as_tensor(value)
    if isinstance(value, Tensor):
        if value.layout is torch.strided and not value.is_quantized:
            yield torch.view_as_real(value) if value.is_complex() else value
    elif isinstance(value, Mapping | list | tuple | Dataset):
        held = vars(value) if isinstance(value, Dataset) else value
        for item in held.values() if isinstance(held, Mapping) else held:
            yield from _tensors(item, seen)
