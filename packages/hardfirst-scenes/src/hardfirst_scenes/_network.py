"""The network of `scenes`: a small U-Net with a head for each task, and the parts of other networks.

Sizes are chosen for two CPU cores: about 150,000 weights, and maps of 60×80 and less for frames of 120×160.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.networks import HardSharing, Parts
from hardfirst.networks.layers import group_norm

WIDTHS = (16, 32, 48, 64)
PRIOR = 0.01
"""Initial probability of an object in a cell: π of Lin et al., section 4.1."""
LOG_DEPTH = 1.2
"""Initial output of the depth head: about three metres."""


class UNet(nn.Module):
    """A U-Net: features at every stride, with information from coarse maps in the fine ones.

    Each level halves the resolution by a convolution with stride 2. On the way up the coarser map is enlarged and added to
    the level's map from the way down, which costs less than concatenation. Batches are small and may be distributed over
    ranks, so norms are over groups of channels, never over the batch.

    Args:
        widths: channels of the maps at strides 2, 4, 8 …; multiples of 8.

    Shape:
        uint8 [batch, 3, height, width] → for each stride s a float [batch, width of s, height / s, width / s], rounded up.

    Example:
        >>> [tuple(features.shape[1:]) for features in UNet()(torch.zeros(1, 3, 120, 160, dtype=torch.uint8))]
        [(16, 60, 80), (32, 30, 40), (48, 15, 20), (64, 8, 10)]

    References:
        Ronneberger, Fischer and Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015;
        Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017 (adding);
        Wu and He, Group Normalization, ECCV 2018.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            nn.Sequential(*_layer(before, width, stride=2), *_layer(width, width))
            for before, width in zip((3, *widths), widths, strict=False)
        )
        self.across = nn.ModuleList(nn.Conv2d(coarse, fine, 1, bias=False) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(nn.Sequential(*_layer(width, width)) for width in widths[:-1])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features of bytes, finest first."""
        features = _centred(images)
        descending = []
        for down in self.down:
            features = down(features)
            descending.append(features)
        maps = [features]
        for fine, across, up in zip(descending[-2::-1], reversed(self.across), reversed(self.up), strict=True):
            features = up(fine + F.interpolate(across(features), size=fine.shape[-2:]))
            maps.append(features)
        return tuple(reversed(maps))


class Dense(nn.Module):
    """A head that predicts a map at half the frame's resolution from the finest features.

    The outputs of a whole split are gathered for its metrics, and would take four times the memory at full resolution.

    Args:
        width: channels of the finest features.
        channels: the channels of the map.
        start: initial output, approximately.
    """

    def __init__(self, width: int, channels: int, start: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layer(width, width), nn.Conv2d(width, channels, 1))
        nn.init.constant_(self.layers.get_parameter("3.bias"), start)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map features at all strides to [batch, channels, height / 2, width / 2]."""
        output: Tensor = self.layers(maps[0])
        return output


class Detector(nn.Module):
    """The head of a one-stage detector: logits of the classes and a box for every cell of a few maps.

    As in RetinaNet, classes and boxes have separate convolutions; as in FCOS, a cell has one box and no anchors. The bias of
    the classes starts at −log((1 − π) / π), so that the many cells without an object do not dominate the first steps.

    Args:
        widths: channels of the features, finest first.
        classes: number of classes of objects.
        levels: indices of the features to read; `hardfirst_scenes._detection.Grid` has their strides.

    Shape:
        Features at all strides → [batch, cells, classes + 4]. Cells are ordered by level, then row by row.

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, section 4;
        Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019.
    """

    def __init__(self, widths: Sequence[int] = WIDTHS, classes: int = 2, levels: Sequence[int] = (1, 2)) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.classes = nn.ModuleList(_tower(widths[level], classes) for level in levels)
        self.boxes = nn.ModuleList(_tower(widths[level], 4) for level in levels)
        for tower in self.classes.children():
            nn.init.normal_(tower.get_parameter("3.weight"), std=0.01)
            nn.init.constant_(tower.get_parameter("3.bias"), -math.log((1 - PRIOR) / PRIOR))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Map features at all strides to [batch, cells, classes + 4]."""
        outputs = []
        for level, classes, boxes in zip(self.levels, self.classes, self.boxes, strict=True):
            both = torch.cat([classes(maps[level]), boxes(maps[level])], dim=1)
            outputs.append(both.flatten(2).transpose(1, 2))
        return torch.cat(outputs, dim=1)


def network(widths: Sequence[int] = WIDTHS, *, segments: int = 6, objects: int = 2) -> HardSharing:
    """Return the U-Net with heads for `segment`, `depth`, `normals` and `boxes`.

    Args:
        widths: channels of the U-Net's features, at strides 2, 4, 8 …
        segments: number of classes of surfaces.
        objects: number of classes of boxes.

    Example:
        >>> outputs = network()(torch.zeros(1, 3, 120, 160, dtype=torch.uint8))
        >>> {task: tuple(output.shape) for task, output in outputs.items()}
        {'segment': (1, 6, 60, 80), 'depth': (1, 1, 60, 80), 'normals': (1, 3, 60, 80), 'boxes': (1, 1500, 6)}
    """
    heads = {
        "segment": Dense(widths[0], segments),
        "depth": Dense(widths[0], 1, start=LOG_DEPTH),
        "normals": Dense(widths[0], 3),
        "boxes": Detector(widths, objects),
    }
    return HardSharing(UNet(widths), heads)


# The parts of other networks


class Stem(nn.Module):
    """A stem at a quarter of the frame's resolution: bytes [batch, 3, height, width] → [batch, 32, height/4, width/4]."""

    channels = WIDTHS[1]

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layer(3, WIDTHS[0], stride=2), *_layer(WIDTHS[0], self.channels, stride=2))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of bytes."""
        features: Tensor = self.layers(_centred(images))
        return features


class Hourglass(nn.Module):
    """A layer with a large receptive field: a convolution, then another at half the resolution, added to it.

    Args:
        before: channels in.
        channels: channels out.
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(*_layer(before, channels))
        self.coarse = nn.Sequential(*_layer(channels, channels, stride=2))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [batch, before, height, width] to [batch, channels, height, width]."""
        fine: Tensor = self.fine(features)
        return fine + F.interpolate(self.coarse(fine), size=fine.shape[-2:])


class Enlarged(nn.Module):
    """A head that predicts a map at half the frame's resolution from features at a quarter of it.

    Args:
        width: channels of the features.
        channels: the channels of the map.
        start: initial output, approximately.
    """

    def __init__(self, width: int, channels: int, start: float = 0.0) -> None:
        super().__init__()
        self.before = nn.Sequential(*_layer(width, WIDTHS[0]))
        self.head = Dense(WIDTHS[0], channels, start)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [batch, width, height / 4, width / 4] to [batch, channels, height / 2, width / 2]."""
        output: Tensor = self.head([F.interpolate(self.before(features), scale_factor=2)])
        return output


class Boxes(nn.Module):
    """The detector's head on features at a quarter of the frame's resolution, and on coarser ones computed from them.

    Args:
        width: channels of the features.
        classes: number of classes of objects.
    """

    def __init__(self, width: int, classes: int = 2) -> None:
        super().__init__()
        self.coarser = nn.Sequential(*_layer(width, width, stride=2))
        self.detector = Detector((width, width), classes, levels=(0, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [batch, width, height / 4, width / 4] to [batch, cells, classes + 4]."""
        output: Tensor = self.detector([features, self.coarser(features)])
        return output


def parts(*, segments: int = 6, objects: int = 2) -> Parts:
    """Return the parts of other networks: features at a quarter of the resolution, and three hourglasses of 40 channels.

    Args:
        segments: number of classes of surfaces.
        objects: number of classes of boxes.

    Example:
        >>> parts().tasks
        ('segment', 'depth', 'normals', 'boxes')
    """
    return Parts(
        stem=Stem,
        channels=Stem.channels,
        layer=Hourglass,
        width=40,
        depth=3,
        heads={
            "segment": partial(Enlarged, channels=segments),
            "depth": partial(Enlarged, channels=1, start=LOG_DEPTH),
            "normals": partial(Enlarged, channels=3),
            "boxes": partial(Boxes, classes=objects),
        },
    )


def _centred(images: Tensor) -> Tensor:
    """Centre bytes at zero. With channels last a step takes three quarters of the time on a CPU."""
    return ((images.float() - 128) / 64).contiguous(memory_format=torch.channels_last)


def _layer(before: int, width: int, stride: int = 1) -> list[nn.Module]:
    """Return a 3×3 convolution, a norm over groups of 8 channels, and a ReLU."""
    convolution = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
    return [convolution, group_norm(width), nn.ReLU(inplace=True)]


def _tower(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*_layer(width, width), nn.Conv2d(width, channels, 3, padding=1))
