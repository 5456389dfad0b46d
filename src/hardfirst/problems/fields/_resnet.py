"""ResNet-18 without its classifier."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.networks.dilated_resnet import ResNet

WIDTHS = (64, 128, 256, 512)


class ResNet18(ResNet):
    """The features of a ResNet-18, at 1/32 of the resolution.

    Parameters have the names and shapes of torchvision and timm, so their files can be loaded.

    Args:
        weights: a file with weights, for example trained on ImageNet: `.safetensors`, or tensors by name written by
            `torch.save`. Those of a classifier (`fc`) are ignored. Default: random weights.

    Shape:
        pictures [batch, 3, height, width] → features [batch, 512, height / 32, width / 32], rounded up.

    Raises:
        InputError: the file does not fit.

    References:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        steps = zip((WIDTHS[0], *WIDTHS), WIDTHS, (1, 2, 2, 2), strict=False)
        groups = ([_Block(before, width, stride), _Block(width, width, 1)] for before, width, stride in steps)
        super().__init__(WIDTHS[0], groups, weights, like="resnet18")


class _Block(nn.Module):
    """Two 3×3 convolutions, added to the input; named as torchvision names them."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the block's output."""
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(features)))))
        same = features if self.downsample is None else self.downsample(features)
        return F.relu(inner + same)
