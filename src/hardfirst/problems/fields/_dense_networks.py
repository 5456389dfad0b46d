"""The networks of the published dense benchmarks, and the parts of all others."""

from collections.abc import Mapping
from functools import partial

from torch import nn

from hardfirst.networks import HardSharing, Parts
from hardfirst.networks.dilated_resnet import ASPP, DilatedResNet
from hardfirst.networks.segnet import SegNet, SegNetMTAN, batch_layer, map_head

Maps = Mapping[str, tuple[int, bool]]
"""The number of channels of each task's map, and whether they form a unit vector."""


def segnet(maps: Maps, *, width: int = 64) -> HardSharing:
    """Return a SegNet that all tasks share, with a small head for each.

    Args:
        maps: the maps of the tasks.
        width: the channels of the first block.
    """
    return HardSharing(SegNet(width), {task: head(width) for task, head in _map_heads(maps).items()})


def segnet_mtan(maps: Maps, *, width: int = 64) -> SegNetMTAN:
    """Return a SegNet with the attention of MTAN, and a small head for each task.

    Args:
        maps: the maps of the tasks.
        width: the channels of the first block.
    """
    return SegNetMTAN({task: head(width) for task, head in _map_heads(maps).items()}, width)


def deeplab(maps: Maps, *, width: int = 64, weights: str | None = None) -> HardSharing:
    """Return a dilated ResNet-50 that all tasks share, with DeepLab's head for each.

    Args:
        maps: the maps of the tasks.
        width: the channels of the first convolution.
        weights: a file with weights of the ResNet.
    """
    trunk = DilatedResNet(width, weights=weights)
    heads = {task: head(trunk.channels) for task, head in _aspp_heads(maps, width).items()}
    return HardSharing(trunk, heads)


def segnet_parts(maps: Maps, *, width: int = 64) -> Parts:
    """Return parts whose stem is SegNet, with two layers of convolutions between it and the heads."""
    return Parts(partial(SegNet, width), width, batch_layer, width=width, depth=2, heads=_map_heads(maps))


def deeplab_parts(maps: Maps, *, width: int = 64) -> Parts:
    """Return parts whose stem is the dilated ResNet-50, with two layers of convolutions between it and the heads."""
    stem, heads = partial(DilatedResNet, width), _aspp_heads(maps, width)
    return Parts(stem, 32 * width, batch_layer, width=4 * width, depth=2, heads=heads)


def _map_heads(maps: Maps) -> dict[str, "partial[nn.Module]"]:
    return {task: partial(map_head, outputs=outputs, unit=unit) for task, (outputs, unit) in maps.items()}


def _aspp_heads(maps: Maps, width: int) -> dict[str, "partial[ASPP]"]:
    return {task: partial(ASPP, outputs=outputs, channels=4 * width, unit=unit) for task, (outputs, unit) in maps.items()}
