"""Pictures of a benchmark: decoded and resized to bytes, and converted to numbers in the network."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, MissingPackage

_CHUNK = 1024  # pictures that are decoded together
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The mean and the deviation of each colour in ImageNet, as its networks expect."""


def picture(path: Path, side: int) -> Tensor:
    """Decode a picture to bytes [3, side, side]: three colours, resized bilinearly to a square, ignoring its proportions.

    Raises:
        InputError: the file does not exist, or is not a complete picture.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingPackage('Reading pictures needs Pillow: pip install "hardfirst[cli]"') from None
    try:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    except FileNotFoundError:
        raise InputError(f"There is no picture {path}.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: from a damaged PNG
        raise InputError(f"{path} cannot be read as a picture: {error}. Get this file again.") from None
    return torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(side, side, 3).movedim(2, 0)


def pictures(paths: Sequence[Path], side: int) -> Iterator[Tensor]:
    """Decode pictures in chunks, bytes [pictures, 3, side, side] in the order of the paths.

    Raises:
        InputError: as `picture`.
    """
    with ThreadPoolExecutor() as threads:  # Pillow decodes without the interpreter's lock
        for start in range(0, len(paths), _CHUNK):
            yield torch.stack(list(threads.map(partial(picture, side=side), paths[start : start + _CHUNK])))


class Pixels(nn.Module):
    """Bytes as numbers: ((bytes / 255) − mean) / deviation, for each colour.

    Args:
        mean: the mean of each colour.
        deviation: the standard deviation of each colour.

    Example:
        >>> Pixels()(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).unique()
        tensor([1.])
    """

    def __init__(self, mean: Sequence[float] = (0.0, 0.0, 0.0), deviation: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        for name, values in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Map bytes [pictures, 3, height, width] to float32."""
        return (pictures.float() / 255 - self.mean) / self.deviation


def mean_head(channels: int, head: Callable[[int], nn.Module]) -> nn.Module:
    """Return a head on the mean of all positions: it reads [pictures, channels, height, width]."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(channels))
