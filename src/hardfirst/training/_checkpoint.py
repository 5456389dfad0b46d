"""Everything a run needs to go on, in one file that is replaced as a whole."""

import os
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from hardfirst.errors import InputError


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint by atomic rename: the file is the old one or the new one, never a part.

    Raises:
        InputError: the folder cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, part)
        part.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        with suppress(OSError):
            part.unlink()
        raise InputError(f"The checkpoint {path} cannot be written: {error}") from error


def load(path: Path, settings: dict[str, Any], devices: int) -> dict[str, Any]:
    """Read the checkpoint of a run with these settings on so many devices. Nothing in the file is executed.

    Raises:
        InputError: there is none, it is damaged, it is of another run, or of another number of devices.
    """
    if not path.exists():
        raise InputError(f"There is no checkpoint {path} to resume from; leave out --resume to begin.")
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(f"The checkpoint {path} is damaged ({type(error).__name__}); delete it to begin again.") from error
    if state.get("settings") != settings:
        raise InputError(f"The checkpoint {path} is of a run with other settings; choose another --out.")
    before = state.get("devices", 1)
    if before != devices:
        raise InputError(f"The checkpoint {path} is of a run with --devices {before}; go on with as many, not {devices}.")
    return state
