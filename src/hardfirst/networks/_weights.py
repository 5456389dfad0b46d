"""Load the weights of a network from a local file, without executing anything in the file."""

from pathlib import Path

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, MissingPackage

_MOST_LISTED = 3  # names in an error


def load_weights(network: nn.Module, path: str | Path, *, like: str) -> None:
    """Load the weights in a file, except those of a classifier (`fc`).

    Args:
        network: the network, with the names and shapes that the file must have.
        path: a `.safetensors` file, or tensors by name written by `torch.save`.
        like: a description of a file that would fit, for the error: "torchvision's resnet18".

    Raises:
        InputError: the file cannot be read, or a tensor is missing, has the wrong shape, or is unknown.
    """
    tensors = {name: value for name, value in read_weights(path).items() if not name.startswith("fc.")}
    expected = network.state_dict()
    # the number of batches that a norm has seen is missing in older files
    missing = [name for name in expected if name not in tensors and not name.endswith("num_batches_tracked")]
    wrong = [name for name in tensors if name not in expected or tensors[name].shape != expected[name].shape]
    if missing or wrong:
        listed = ", ".join((missing or wrong)[:_MOST_LISTED])
        raise InputError(
            f"{path} does not fit this network: {len(missing)} tensors are missing and {len(wrong)} have another name or "
            f"shape ({listed}, …). Give a file with the names and shapes of {like}."
        )
    network.load_state_dict(tensors, strict=False)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file by name.

    Raises:
        InputError: the file cannot be read, or contains something else.
    """
    if not isinstance(path, str | Path):
        raise InputError(f"Expected `weights` to be the path of a file, without a comma or plus; got {path!r}.")
    if not Path(path).is_file():
        raise InputError(f"There is no file {path}. `weights` must be the path of a .safetensors or .pth file.")
    try:
        if Path(path).suffix == ".safetensors":
            return _read_safetensors(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except MissingPackage:
        raise
    except Exception as error:  # a damaged file can raise anything
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path} cannot be read as tensors by name: {reason:.200}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise InputError(
            f"Expected {path} to contain tensors by name, as `torch.save(network.state_dict(), …)` writes them."
        )
    return found


def _read_safetensors(path: str | Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise MissingPackage(f'Reading {path} needs safetensors: pip install "hardfirst[vision]"') from None
    return load_file(path)
