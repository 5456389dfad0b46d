"""Parsed data, kept as tensors in the user's cache folder."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems._folders import cache_folder
from hardfirst.records import replaced_file


def cached(name: str, parse: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the result of `parse`, read from the cache if it is there.

    A damaged or unwritable cache gives a warning, and the data is parsed again.

    Args:
        name: the file's name. It should contain the problem's name, a checksum of the source and a number that increases
            with every change of `parse`, e.g. "qm9-0123456789abcdef-1".
        parse: returns the tensors, the same every time.

    Example:
        >>> import torch
        >>> tensors = cached("example-1", lambda: {"inputs": torch.ones(3)})  # doctest: +SKIP
    """
    path = cache_folder() / f"{name}.pt"
    try:
        tensors: dict[str, Tensor] = torch.load(path, weights_only=True)
        return tensors
    except OSError:  # no such file, or no access to it
        pass
    except Exception as error:  # a damaged file can raise anything
        warnings.warn(f"The cache {path} could not be read and is created again: {error}", stacklevel=2)
    tensors = parse()
    _write(path, tensors)
    return tensors


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(path) as part:
            torch.save(tensors, part)
    except (InputError, OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        warnings.warn(f"The data could not be stored in {path.parent}, and is parsed at each start: {error}", stacklevel=3)
