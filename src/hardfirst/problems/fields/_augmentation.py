"""The augmentation of the published dense benchmarks: a random crop, enlarged, and a random flip."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.problems._data import Batch

SCALES = (1.0, 1.2, 1.5)


def augment(item: Batch, generator: torch.Generator) -> Batch:
    """Enlarge a random crop to the frame's size, then flip it with probability 0.5.

    A scale s is drawn from 1, 1.2 and 1.5; the crop has 1/s of the height and width. Images and normals are enlarged
    bilinearly with aligned corners, classes and depths take the nearest pixel, and depths are divided by s, since enlarged
    objects look nearer. A flipped normal has the opposite x.

    Args:
        item: a frame from `Frames`.
        generator: the source of all random numbers.

    Note:
        Like published code, this also divides inverse depths by s, although those of a nearer surface are larger.
    """
    image, targets = item
    height, width = image.shape[-2:]
    scale = SCALES[_below(len(SCALES), generator)]
    rows, columns = int(height / scale), int(width / scale)
    top, left = _below(height - rows + 1, generator), _below(width - columns + 1, generator)
    flip = _below(2, generator) == 1

    def changed(values: Tensor, *, smooth: bool = False) -> Tensor:
        """Crop, enlarge and flip the values [channels, height, width]."""
        crop = values[None, :, top : top + rows, left : left + columns]
        mode, aligned = ("bilinear", True) if smooth else ("nearest", None)
        enlarged = F.interpolate(crop, size=(height, width), mode=mode, align_corners=aligned)[0]
        return enlarged.flip(-1) if flip else enlarged

    new = dict(targets)
    if (classes := targets.get("segment")) is not None:
        new["segment"] = changed(classes[None].float())[0].to(classes)
    if (depths := targets.get("depth")) is not None:
        new["depth"] = changed(depths) / scale
    if (normals := targets.get("normals")) is not None:
        turned = changed(normals.nan_to_num(), smooth=True) * torch.tensor([-1.0 if flip else 1.0, 1.0, 1.0]).view(3, 1, 1)
        new["normals"] = torch.where((turned != 0).any(0), turned, torch.nan)
    return changed(image, smooth=True), new


def _below(count: int, generator: torch.Generator) -> int:
    """Draw a random whole number from 0 to count − 1."""
    return int(torch.randint(count, (), generator=generator))
