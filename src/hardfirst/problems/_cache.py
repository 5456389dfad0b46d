"""Data that took long to parse, kept as tensors in the user's cache folder."""

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor


def cache_folder() -> Path:
    """`hardfirst` in the user's cache folder."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "hardfirst/cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/hardfirst"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hardfirst"


def cached(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What `make` gives, from the cache if it is there.

    Args:
        name: of the file; it should hold the problem's name, a checksum of its source and a number that is raised whenever
            `make` changes, e.g. "qm9-0123456789abcdef-1".
        make: makes the tensors, the same every time.
    """
    path = cache_folder() / f"{name}.pt"
    try:
        found: dict[str, Tensor] = torch.load(path, weights_only=True)
        return found
    except OSError:  # not there, or not to be reached
        pass
    except Exception as error:  # a damaged cache is made anew, whatever is wrong with it
        warnings.warn(f"The cache {path} could not be read and is made anew: {error}", stacklevel=2)
    made = make()
    _write(path, made)
    return made


def _write(path: Path, made: dict[str, Tensor]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(made, part)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        warnings.warn(f"The data could not be kept in {path.parent}, and is parsed at each start: {error}", stacklevel=3)
