"""ResNet-18 without its classifier."""

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.networks._weights import load_weights

WIDTHS = (64, 128, 256, 512)


class ResNet18(nn.Module):
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
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, WIDTHS[0], 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(WIDTHS[0])
        for number, (before, width) in enumerate(zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False), 1):
            first = _Block(before, width, stride=1 if number == 1 else 2)
            self.add_module(f"layer{number}", nn.Sequential(first, _Block(width, width, stride=1)))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if weights is not None:
            load_weights(self, weights, like="torchvision's or timm's resnet18")

    def forward(self, pictures: Tensor) -> Tensor:
        """Compute the features of the last block."""
        features = F.max_pool2d(F.relu(self.bn1(self.conv1(pictures))), 3, stride=2, padding=1)
        for number in range(1, len(WIDTHS) + 1):
            features = self.get_submodule(f"layer{number}")(features)
        return features


class _Block(nn.Module):
    """Two 3×3 convolutions, added to the input; named as torchvision names them."""

    def __init__(self, before: int, width: int, *, stride: int) -> None:
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
