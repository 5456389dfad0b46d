"""The network of `scenes`: a small U-Net, and on it a head for each task.

Sizes are chosen for two cores: some 150,000 weights, and maps of 60×80 and less for frames of 120×160.
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
"""How likely an object is in a cell before anything is learned: π of Lin et al., section 4.1."""
LOG_DEPTH = 1.2
"""What the depth head guesses at first: some three metres."""


class UNet(nn.Module):
    """Features at every stride, the coarse brought to the fine: bytes [batch, 3, height, width] to four maps.

    Each level halves the map by a convolution with stride 2. On the way back the coarser map is enlarged and added to what
    this level saw on the way down, which costs less than to set them side by side. Batches are small and may be spread over
    ranks, so that norms are of groups of channels, never of the batch.

    Args:
        widths: channels of the maps, at strides 2, 4, 8 …; multiples of 8.

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
        """Bytes to features, the finest first."""
        features = _centred(images)
        seen = []
        for down in self.down:
            features = down(features)
            seen.append(features)
        maps = [features]
        for fine, across, up in zip(seen[-2::-1], reversed(self.across), reversed(self.up), strict=True):
            features = up(fine + F.interpolate(across(features), size=fine.shape[-2:]))
            maps.append(features)
        return tuple(reversed(maps))


class Dense(nn.Module):
    """A head that predicts a map from the finest features, at half the frame's resolution.

    The measures enlarge its output to the frame's size, a few frames at a time: a whole split's outputs are gathered for
    its figures, and would take four times the memory.

    Args:
        width: channels of the finest features.
        channels: of the map.
        start: what it predicts before anything is learned, about.
    """

    def __init__(self, width: int, channels: int, start: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layer(width, width), nn.Conv2d(width, channels, 1))
        nn.init.constant_(self.layers.get_parameter("3.bias"), start)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Features at all strides to [batch, channels, height / 2, width / 2]."""
        output: Tensor = self.layers(maps[0])
        return output


class Detector(nn.Module):
    """A one-stage detector's head: for every cell of a few maps, logits of the classes and a box.

    As in RetinaNet, classes and boxes have convolutions of their own; as in FCOS, a cell has one box and no anchors. The
    bias of the classes begins at −log((1 − π) / π), so that the many cells without an object do not swamp the first steps.

    Args:
        widths: channels of the features, finest first.
        classes: of objects.
        levels: which of the features to read; `hardfirst_scenes._detection.Grid` has their strides.

    Shape:
        Features at all strides → [batch, cells, classes + 4]. The cells are those of the levels in turn, row by row.

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
        """Features at all strides to [batch, cells, classes + 4]."""
        outputs = []
        for level, classes, boxes in zip(self.levels, self.classes, self.boxes, strict=True):
            both = torch.cat([classes(maps[level]), boxes(maps[level])], dim=1)
            outputs.append(both.flatten(2).transpose(1, 2))
        return torch.cat(outputs, dim=1)


def network(widths: Sequence[int] = WIDTHS, *, segments: int = 6, objects: int = 2) -> HardSharing:
    """The U-Net with heads for `segment`, `depth`, `normals` and `boxes`.

    Args:
        widths: of the U-Net's features, at strides 2, 4, 8 …
        segments: classes of surfaces.
        objects: classes of boxes.

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


# What other networks are made of


class Stem(nn.Module):
    """Features at a quarter of the frame's resolution: bytes [batch, 3, height, width] to [batch, 32, height/4, width/4]."""

    channels = WIDTHS[1]

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layer(3, WIDTHS[0], stride=2), *_layer(WIDTHS[0], self.channels, stride=2))

    def forward(self, images: Tensor) -> Tensor:
        """Bytes to features."""
        features: Tensor = self.layers(_centred(images))
        return features


class Hourglass(nn.Module):
    """A layer that sees far: a convolution, and on it another at half the resolution: [batch, channels, height, width].

    Args:
        before: channels in.
        channels: channels out.
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(*_layer(before, channels))
        self.coarse = nn.Sequential(*_layer(channels, channels, stride=2))

    def forward(self, features: Tensor) -> Tensor:
        """Features of other channels."""
        fine: Tensor = self.fine(features)
        return fine + F.interpolate(self.coarse(fine), size=fine.shape[-2:])


class Enlarged(nn.Module):
    """A head for a map at half the frame's resolution, from features at a quarter of it.

    Args:
        width: channels of the features.
        channels: of the map.
        start: what it predicts before anything is learned, about.
    """

    def __init__(self, width: int, channels: int, start: float = 0.0) -> None:
        super().__init__()
        self.before = nn.Sequential(*_layer(width, WIDTHS[0]))
        self.head = Dense(WIDTHS[0], channels, start)

    def forward(self, features: Tensor) -> Tensor:
        """Features [batch, width, height / 4, width / 4] to [batch, channels, height / 2, width / 2]."""
        output: Tensor = self.head([F.interpolate(self.before(features), scale_factor=2)])
        return output


class Boxes(nn.Module):
    """The detector's head from features at a quarter of the frame's resolution, and from these at half of that.

    Args:
        width: channels of the features.
        classes: of objects.
    """

    def __init__(self, width: int, classes: int = 2) -> None:
        super().__init__()
        self.coarser = nn.Sequential(*_layer(width, width, stride=2))
        self.detector = Detector((width, width), classes, levels=(0, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Features [batch, width, height / 4, width / 4] to [batch, cells, classes + 4]."""
        output: Tensor = self.detector([features, self.coarser(features)])
        return output


def parts(*, segments: int = 6, objects: int = 2) -> Parts:
    """What networks are made of: features at a quarter of the resolution, and three hourglasses of 40 channels on them."""
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
    """Bytes about zero. A pixel's channels lie side by side: on a CPU a step takes three quarters of the time."""
    return ((images.float() - 128) / 64).contiguous(memory_format=torch.channels_last)


def _layer(before: int, width: int, stride: int = 1) -> list[nn.Module]:
    """A convolution of 3×3, a norm over groups of 8 channels, and what is above 0."""
    convolution = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
    return [convolution, group_norm(width), nn.ReLU(inplace=True)]


def _tower(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(*_layer(width, width), nn.Conv2d(width, channels, 3, padding=1))
