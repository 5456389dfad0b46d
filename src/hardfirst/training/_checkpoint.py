"""Checkpoints: all that a run needs to resume, in one file that is replaced as a whole."""

import io
import math
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardfirst import records
from hardfirst.errors import InputError, writing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint by atomic rename: the file is the old one or the new one, never a part.

    Raises:
        InputError: the folder cannot be written to.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # opened here: torch's own error would not say why the file cannot be written
    with records.replaced_file(path) as part, part.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch's own, in place of the file's: it could not write the end of the archive
            raise _cause(error) from error


def _cause(error: BaseException) -> OSError:
    """Why the file could not be written, which torch's error has in its chain."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause or OSError(str(error).partition("\n")[0])


def check_loadable(weights: Mapping[str, Any], what: str = "The network's extra state (`get_extra_state`)") -> None:
    """Check that a state can be loaded again, before hours are spent on it.

    Args:
        weights: a network's `state_dict`, or another.
        what: what it is, for the error.

    Raises:
        InputError: it holds objects whose loading could run code.
    """
    file = io.BytesIO()
    try:
        torch.save({name: value for name, value in weights.items() if not isinstance(value, Tensor)}, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except (pickle.PickleError, TypeError, AttributeError) as error:
        raise InputError(
            f"{what} cannot be kept in a checkpoint: it may hold tensors, numbers, strings, lists and dicts. "
            f"{str(error).partition(chr(10))[0]:.200}"
        ) from error


def check_optimizer(state: Any, optimizer: torch.optim.Optimizer, *, moving: frozenset[str] = frozenset()) -> None:
    """Check the state of an optimizer; of one that no recipe names, no more than its settings.

    Args:
        state: from the checkpoint.
        optimizer: the run's.
        moving: the settings that a schedule changes.

    Raises:
        ValueError: it is that of other settings or of other parameters.
        TypeError: it is no state of an optimizer.
        LookupError: likewise.
    """
    for saved, own in zip(state["param_groups"], optimizer.state_dict()["param_groups"], strict=True):
        for name in saved.keys() & own.keys():  # versions of torch differ in which there are
            same = type(saved[name]) is type(own[name]) if name in moving else saved[name] == own[name]
            if not same:
                raise ValueError(f"its optimizer has {name!r} {saved[name]!r:.40}")
    if (names := _averages(optimizer)) is None:
        return
    parameters = dict(enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]))
    for index, averages in state["state"].items():
        shapes = {name: () if name == "step" else parameters[index].shape for name in names}
        finite = "step" not in names or 0 < averages["step"] < math.inf
        if shapes != {name: average.shape for name, average in averages.items()} or not finite:
            raise ValueError("its optimizer's averages are not those of this network")


def _averages(optimizer: torch.optim.Optimizer) -> tuple[str, ...] | None:
    """What the optimizers that a recipe names keep of each parameter; None for others."""
    kind, options = type(getattr(optimizer, "optimizer", optimizer)), optimizer.defaults  # Fabric wraps it
    if kind in (torch.optim.Adam, torch.optim.AdamW):
        return None if options["amsgrad"] else ("step", "exp_avg", "exp_avg_sq")
    if kind is torch.optim.SGD:
        return ("momentum_buffer",) if options["momentum"] else ()
    return None


def _equal(saved: Any, own: Any) -> bool:
    try:
        return bool(saved == own)
    except RuntimeError:  # a tensor, which the file of another program may hold
        return False


def load(path: Path, settings: dict[str, Any], devices: int) -> dict[str, Any]:
    """Load the checkpoint of a run with these settings and number of devices, without executing code from the file.

    Raises:
        InputError: the file is missing or damaged, or is the checkpoint of a run with other settings or devices.
    """
    if not path.exists():
        raise InputError(f"There is no checkpoint {path} to resume from; leave out --resume to begin.")
    try:
        with warnings.catch_warnings():  # torch warns about files that are no checkpoint
            warnings.simplefilter("ignore")
            state: Any = torch.load(path, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"The checkpoint {path} is damaged, or holds more than tensors and numbers; that is not loaded, since it "
            "could run code. Delete it to begin again."
        ) from error
    except Exception as error:  # torch and pickle raise errors of many types for files that are no checkpoint
        raise InputError(f"The checkpoint {path} is damaged ({type(error).__name__}); delete it to begin again.") from error
    if not isinstance(state, dict) or "settings" not in state:
        raise InputError(
            f"{path} is not a checkpoint of `hardfirst train`; choose another --out, or delete it to begin again."
        )
    if not _equal(state["settings"], settings):
        raise InputError(f"The checkpoint {path} is from a run with other settings; choose another --out.")
    saved_devices = state.get("devices", 1)
    if not _equal(saved_devices, devices):
        raise InputError(
            f"The checkpoint {path} is from a run with --devices {saved_devices}; resume with as many, not {devices}."
        )
    return state


def first_lines(error: Exception) -> str:
    """What an error says, for a sentence."""
    text = f"{' '.join(str(error).split()):.200}".rstrip(". ")
    return text if isinstance(error, ValueError) else f"{type(error).__name__}, {text}"
