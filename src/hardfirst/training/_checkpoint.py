"""Checkpoints: all that a run needs to resume, in one file that is replaced as a whole."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from hardfirst import records
from hardfirst.errors import InputError, writing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint by atomic rename: the file is the old one or the new one, never a part.

    Raises:
        InputError: the folder cannot be written to.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # opened here: torch's own error would not say why the file cannot be written
        with records.replaced_file(path) as part, part.open("wb") as file:
            torch.save(state, file)
    except RuntimeError as error:  # how torch reports a disk that is full
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path} cannot be written: {reason}. Make room, or choose another --out; the previous checkpoint is kept."
        ) from error


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
    if state["settings"] != settings:
        raise InputError(f"The checkpoint {path} is from a run with other settings; choose another --out.")
    saved_devices = state.get("devices", 1)
    if saved_devices != devices:
        raise InputError(
            f"The checkpoint {path} is from a run with --devices {saved_devices}; resume with as many, not {devices}."
        )
    return state
