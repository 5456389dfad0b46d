"""A ResNet-50 whose last blocks are dilated instead of strided, and the head of DeepLab that reads it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import whole
from hardfirst.networks._weights import load_weights

BLOCKS = (3, 4, 6, 3)
EXPANSION = 4
RATES = (12, 24, 36)
"""The dilations of the head's three large convolutions, for features at an eighth of the resolution."""


class ResNet(nn.Module):
    """A ResNet without its classifier. Parameters have the names and shapes of torchvision and timm.

    Args:
        width: the channels of the first convolution.
        groups: the blocks of each group.
        weights: a file with weights; default: random weights.
        like: the name of the network in torchvision and timm.

    Raises:
        InputError: the file does not fit.
    """

    def __init__(self, width: int, groups: Iterable[Sequence[nn.Module]], weights: str | Path | None, *, like: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(width)
        for number, blocks in enumerate(groups, 1):
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if weights is not None:
            load_weights(self, weights, like=f"torchvision's or timm's {like}")

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features of the last block."""
        features = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        for group in list(self.children())[2:]:
            features = group(features)
        return features


class DilatedResNet(ResNet):
    """A ResNet-50 without its classifier, at 1/8 of the resolution: the last two groups of blocks are dilated.

    Parameters have the names and shapes of torchvision and timm, so their files can be loaded.

    Args:
        width: the channels of the first convolution; usually 64.
        weights: a file with weights, for example trained on ImageNet: `.safetensors`, or tensors by name written by
            `torch.save`. Those of a classifier (`fc`) are ignored. Default: random weights.

    Shape:
        images [batch, 3, height, width] → features [batch, 32·width, height / 8, width / 8], rounded up.

    Raises:
        InputError: the width is not a whole number or below 1, or the file does not fit.

    Example:
        >>> DilatedResNet(4)(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 128, 8, 12])

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016;
        Yu, Koltun and Funkhouser, Dilated Residual Networks, CVPR 2017.
    """

    def __init__(self, width: int = 64, *, weights: str | Path | None = None) -> None:
        width = whole("width", width, least=1)
        super().__init__(width, _groups(width), weights, like="resnet50")
        self.channels = 8 * EXPANSION * width


def _groups(width: int) -> Iterator[list[nn.Module]]:
    before = width
    for number, (count, stride, dilation) in enumerate(zip(BLOCKS, (1, 2, 1, 1), (1, 1, 2, 4), strict=True)):
        inner = width * 2**number
        # the block that was strided keeps the dilation of the previous group
        first = _Bottleneck(before, inner, stride=stride, dilation=max(dilation // 2, 1))
        before = EXPANSION * inner
        yield [first, *(_Bottleneck(before, inner, stride=1, dilation=dilation) for _ in range(count - 1))]


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling, as DeepLab's head: one output from convolutions of several dilations, enlarged.

    Args:
        before: the channels of its input.
        outputs: the channels of its output.
        channels: the channels of the layers between them; usually 256.
        enlarge: the factor by which the output is enlarged, bilinearly with aligned corners.
        unit: whether to divide the vectors on dim 1 by their length.

    Shape:
        [batch, before, height, width] → [batch, outputs, enlarge·height, enlarge·width].

    Example:
        >>> ASPP(8, outputs=3, channels=4)(torch.zeros(2, 8, 6, 4)).shape
        torch.Size([2, 3, 48, 32])

    Note:
        The layers are those of torchvision's DeepLab head, except that the mean of an image is spread over its positions
        before its norm, not after it, so that a batch may have a single image; only the running variance differs.

    References:
        Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017.
    """

    def __init__(self, before: int, *, outputs: int, channels: int = 256, enlarge: int = 8, unit: bool = False) -> None:
        super().__init__()
        self.enlarge, self.unit = enlarge, unit
        self.branches = nn.ModuleList(
            _layer(before, channels, kernel=3 if rate else 1, dilation=rate or 1) for rate in (0, *RATES)
        )
        self.whole_image = _layer(before, channels)
        self.project = nn.Sequential(_layer((2 + len(RATES)) * channels, channels), nn.Dropout(0.5))
        self.output = nn.Sequential(_layer(channels, channels, kernel=3), nn.Conv2d(channels, outputs, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the enlarged output."""
        mean = features.mean((2, 3), keepdim=True).expand_as(features)
        branches = [branch(features) for branch in self.branches] + [self.whole_image(mean)]
        output: Tensor = self.output(self.project(torch.cat(branches, dim=1)))
        output = F.interpolate(output, scale_factor=self.enlarge, mode="bilinear", align_corners=True)
        return F.normalize(output, dim=1) if self.unit else output


class _Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions, added to the input; named as torchvision names them."""

    def __init__(self, before: int, inner: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        after = EXPANSION * inner
        self.conv1, self.bn1 = nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after)
        self.downsample = None
        if stride > 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, features: Tensor) -> Tensor:
        inner = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(features))))))
        same = features if self.downsample is None else self.downsample(features)
        return F.relu(self.bn3(self.conv3(inner)) + same)


def _layer(before: int, channels: int, *, kernel: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(before, channels, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
