"""Checkpoints: everything that a run needs to resume, in one file that is replaced atomically."""

import io
import math
import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hardfirst import records
from hardfirst.errors import InputError, writing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint by atomic rename: the file is either the old one or the new one, never a part.

    Raises:
        InputError: the folder cannot be written to.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # opened here, since torch's own error would not say why the file cannot be written
    with records.replaced_file(path) as part, part.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # raised by torch instead of the file's error: it could not finish the archive
            raise _cause(error) from error


def _cause(error: BaseException) -> OSError:
    """Return the error of the file from the chain of torch's error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    return cause or OSError(str(error).partition("\n")[0])


def check_loadable(weights: Mapping[str, Any], what: str = "The network's extra state (`get_extra_state`)") -> None:
    """Check that a state can be loaded again, before a long training depends on it.

    Args:
        weights: a network's `state_dict`, or another state.
        what: the name of the state, for the error.

    Raises:
        InputError: the state contains objects whose loading could run code.
    """
    file = io.BytesIO()
    try:
        torch.save({name: value for name, value in weights.items() if not isinstance(value, Tensor)}, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except (pickle.PickleError, TypeError, AttributeError) as error:
        raise InputError(
            f"{what} cannot be saved in a checkpoint: it may contain tensors, numbers, strings, lists and dicts. "
            f"{str(error).partition(chr(10))[0]:.200}"
        ) from error


def check_optimizer(state: Any, optimizer: torch.optim.Optimizer, *, moving: frozenset[str] = frozenset()) -> None:
    """Check the state of an optimizer; for an optimizer that no recipe names, only its settings.

    Args:
        state: the state from the checkpoint.
        optimizer: the optimizer of the run.
        moving: the settings that a schedule changes.

    Raises:
        ValueError: the state has other settings or belongs to other parameters.
        TypeError: it is not a state of an optimizer.
        LookupError: it is not a state of an optimizer.
    """
    for saved, own in zip(state["param_groups"], optimizer.state_dict()["param_groups"], strict=True):
        for name in saved.keys() & own.keys():  # versions of torch differ in their settings
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
    """Return the names of the state per parameter of an optimizer that a recipe names; None for others."""
    kind, options = type(getattr(optimizer, "optimizer", optimizer)), optimizer.defaults  # Fabric wraps it
    if kind in (torch.optim.Adam, torch.optim.AdamW):
        return None if options["amsgrad"] else ("step", "exp_avg", "exp_avg_sq")
    if kind is torch.optim.SGD:
        return ("momentum_buffer",) if options["momentum"] else ()
    return None


def _equal(saved: Any, own: Any) -> bool:
    try:
        return bool(saved == own)
    except RuntimeError:  # a tensor, which another program's file may contain
        return False


def load(path: Path, settings: dict[str, Any], devices: int) -> dict[str, Any]:
    """Load the checkpoint of a run with these settings and number of devices, without executing code from the file.

    Raises:
        InputError: the file is missing or damaged, or belongs to a run with other settings or devices.
    """
    if not path.exists():
        raise InputError(f"There is no checkpoint {path} to resume from. Leave out --resume to start a new run.")
    try:
        with warnings.catch_warnings():  # torch warns about files that are not checkpoints
            warnings.simplefilter("ignore")
            state: Any = torch.load(path, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"The checkpoint {path} is damaged, or contains more than tensors and numbers, which is not loaded because it "
            "could run code. Delete it to start again."
        ) from error
    except Exception as error:  # torch and pickle raise many types of errors for files that are not checkpoints
        raise InputError(f"The checkpoint {path} is damaged ({type(error).__name__}). Delete it to start again.") from error
    if not isinstance(state, dict) or "settings" not in state:
        raise InputError(
            f"{path} is not a checkpoint of `hardfirst train`. Choose another --out, or delete it to start again."
        )
    if not _equal(state["settings"], settings):
        raise InputError(f"The checkpoint {path} is from a run with other settings. Choose another --out.")
    saved_devices = state.get("devices", 1)
    if not _equal(saved_devices, devices):
        raise InputError(
            f"The checkpoint {path} is from a run with --devices {saved_devices}. Use the same number, not {devices}."
        )
    return state


@contextmanager
def must_fit() -> Iterator[None]:
    """Turn any error of loading a state into the `InputError` that the checkpoint does not fit the run."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise InputError(
            f"The checkpoint does not fit this run: {first_lines(error)}. It may be from another version of hardfirst or of "
            "the problem's code. Choose another --out, and leave out --resume to start again."
        ) from error


def first_lines(error: Exception) -> str:
    """Shorten an error's message for use in a sentence."""
    text = f"{' '.join(str(error).split()):.200}".rstrip(". ")
    return text if isinstance(error, ValueError) else f"{type(error).__name__}, {text}"
