"""The networks of `coco_persons`: a ResNet-50 that all tasks share, and four small heads."""

from functools import partial

import torch
from torch import Tensor, nn

from hardfirst.networks import HardSharing, Parts, class_head, image_layer
from hardfirst.networks.dilated_resnet import DilatedResNet
from hardfirst.problems.fields._persons import KEYPOINTS
from hardfirst.problems.fields._pictures import IMAGENET, Pixels, mean_head

_LOGIT_OF_ONE_PERCENT = -4.6  # the initial logit of a person in a cell, as in RetinaNet
_SMALL = 0.001  # the deviation of initial weights of an output that is 0 almost everywhere


class BoxHead(nn.Module):
    """A logit and a box for each cell, as `box_loss` reads them: [batch, channels, …] → [batch, 5, …].

    Args:
        channels: the channels of its input.
        hidden: the channels of the layer before its output.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.layer, self.output = image_layer(channels, hidden), nn.Conv2d(hidden, 5, 1)
        nn.init.normal_(self.output.weight, std=_SMALL)
        self.output.bias = nn.Parameter(torch.tensor([_LOGIT_OF_ONE_PERCENT, 0, 0, 0, 0]))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the cells."""
        output: Tensor = self.output(self.layer(features))
        return output


def _map_layers(channels: int, hidden: int, outputs: int) -> list[nn.Module]:
    """Maps at twice the resolution."""
    enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
    return [image_layer(channels, hidden), enlarge, image_layer(hidden, hidden), nn.Conv2d(hidden, outputs, 1)]


def mask_head(channels: int, hidden: int) -> nn.Module:
    """Return the logits of a mask: [batch, channels, 32, 32] → [batch, 256, 256]."""
    return nn.Sequential(*_map_layers(channels, hidden, 1), nn.Upsample(scale_factor=4, mode="bilinear"), nn.Flatten(1, 2))


def keypoints_head(channels: int, hidden: int) -> nn.Module:
    """Heat maps of the keypoints: [batch, channels, 32, 32] → [batch, 17, 64, 64]."""
    *layers, output = _map_layers(channels, hidden, KEYPOINTS)
    nn.init.normal_(output.weight, std=_SMALL)  # type: ignore[arg-type]  # a convolution's
    nn.init.zeros_(output.bias)  # type: ignore[arg-type]  # likewise
    return nn.Sequential(*layers, output)


def parts(width: int = 64, weights: str | None = None) -> Parts:
    """Return a dilated ResNet-50 as the stem, two convolutions of 4·`width` channels, and the heads.

    Args:
        width: the channels of the first convolution; 64 is a ResNet-50.
        weights: a file with weights of the stem: see `DilatedResNet`.
    """

    def stem() -> nn.Module:
        return nn.Sequential(Pixels(*IMAGENET), DilatedResNet(width, weights=weights))

    return Parts(
        stem=stem,
        channels=32 * width,
        layer=image_layer,
        width=4 * width,
        depth=2,
        heads={
            "presence": partial(mean_head, head=class_head(2)),
            "mask": partial(mask_head, hidden=width),
            "box": partial(BoxHead, hidden=width),
            "keypoints": partial(keypoints_head, hidden=width),
        },
    )


def resnet(width: int = 64, weights: str | None = None) -> HardSharing:
    """Return hard sharing with these parts.

    Args:
        width: as for `parts`.
        weights: as for `parts`.
    """
    return HardSharing.from_parts(parts(width, weights))
