"""SegNet, the usual encoder–decoder of dense multi-task benchmarks, and the multi-task attention network on it."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import whole
from hardfirst.networks._base import Network, by_task, call, task_names

WIDTHS = (1, 2, 4, 8, 8)
"""The channels of the five blocks, as multiples of the first block's."""
DEPTHS = (2, 2, 3, 3, 3)
"""The number of convolutions in each of the five blocks."""

Stage = tuple[Tensor, Tensor]


def batch_layer(before: int, channels: int) -> nn.Module:
    """Return a 3×3 convolution, a norm over the batch, and a ReLU: [batch, before, ...] → [batch, channels, ...].

    >>> batch_layer(8, 3)(torch.zeros(5, 8, 6, 4)).shape
    torch.Size([5, 3, 6, 4])
    """
    return _initialized(
        nn.Sequential(nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
    )


def map_head(channels: int, *, outputs: int, unit: bool = False) -> nn.Module:
    """Return a head that predicts maps: a 3×3 and a 1×1 convolution, with no nonlinearity between, as in published code.

    Args:
        channels: the channels of the features.
        outputs: the channels of the map.
        unit: whether to divide the vectors on dim 1 by their length.

    Example:
        >>> map_head(8, outputs=3, unit=True)(torch.ones(5, 8, 6, 4)).norm(dim=1).allclose(torch.ones(5, 6, 4))
        True
    """
    layers = [nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, outputs, 1)]
    return nn.Sequential(_initialized(nn.Sequential(*layers)), *[UnitLength()] * unit)


class UnitLength(nn.Module):
    """Divide vectors on dim 1 by their length.

    Shape:
        [batch, 3, ...] → the same.

    Example:
        >>> UnitLength()(torch.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """

    def forward(self, vectors: Tensor) -> Tensor:
        """Return vectors of length 1."""
        return F.normalize(vectors, dim=1)


class SegNet(nn.Module):
    """An encoder of five blocks with max-pooling, and a decoder of five that unpools to the positions of the maxima.

    Args:
        width: the channels of the first block; the others have 2, 4, 8 and 8 times as many. Usually 64.

    Shape:
        images [batch, 3, height, width] of at least 32×32 → features [batch, width, height, width].

    Raises:
        InputError: the width is not a whole number, or below 1.

    Example:
        >>> SegNet(4)(torch.zeros(2, 3, 64, 96)).shape
        torch.Size([2, 4, 64, 96])

    Note:
        This is the SegNet of MTAN's code: blocks of 2, 2, 3, 3 and 3 convolutions in either half, the first of which changes
        the channels. (In the decoder of the original SegNet, the last one does.)

    References:
        Badrinarayanan, Kendall and Cipolla, SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
        Segmentation, TPAMI 2017; Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.widths = tuple(whole("width", width, least=1) * multiple for multiple in WIDTHS)
        self.down = nn.ModuleList(
            nn.Sequential(batch_layer(before, channels), _chain(channels, depth - 1))
            for before, channels, depth in zip((3, *self.widths), self.widths, DEPTHS, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Sequential(batch_layer(before, channels), _chain(channels, depth - 1))
            for (channels, before), depth in reversed([*zip(pairwise((width, *self.widths)), DEPTHS, strict=True)])
        )

    def stages(self, images: Tensor) -> list[Stage]:
        """Compute what attention reads and masks in each block: five down, then five up.

        Attention reads the output of a block's first convolution in the encoder, and the unpooled features in the decoder;
        it masks the block's output.
        """
        stages, pools, features = [], [], images
        for block in self.down:
            assert isinstance(block, nn.Sequential)
            first, others = block
            seen = first(features)
            output = others(seen)
            stages.append((seen, output))
            features, places = F.max_pool2d(output, 2, return_indices=True)
            pools.append((places, output.shape[-2:]))
        for block, (places, size) in zip(self.up, reversed(pools), strict=True):
            seen = F.max_unpool2d(features, places, [2, 2], output_size=size)
            features = block(seen)
            stages.append((seen, features))
        return stages

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features of the last block."""
        return self.stages(images)[-1][1]


class SegNetMTAN(Network):
    r"""The multi-task attention network on SegNet: a SegNet that all tasks share, and masks of its features for each task.

    The encoder is as in `MTAN`: a_b = h_b([u_b, pool f_{b−1}(â_{b−1})]), â_b = a_b ∘ p_b, with u_b and p_b the outputs of
    the block's first and last convolution. In the decoder, u_b is the unpooled features, and f reads the enlarged previous
    features: a_b = h_b([u_b, f_b(enlarge â_{b−1})]). The head reads the last â.

    When to use: Use it to compare with published results on NYUv2 and Cityscapes, most of which use it.

    Cost: SegNet once, and for each task the masks of ten blocks, and the f of all blocks. The first and the last blocks, at
    the images' resolution, take most of the time and memory.

    Args:
        heads: by task, computes the output from features of `width` channels. Names are any non-empty strings.
        width: the channels of SegNet's first block.

    Raises:
        InputError: there are no heads, or the width is not a whole number or below 1; in use, if a head does not fit.

    Example:
        >>> heads = {"segment": map_head(4, outputs=13), "depth": map_head(4, outputs=1)}
        >>> network = SegNetMTAN(heads, width=4)
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(2, 3, 64, 96)).items()}
        {'segment': (2, 13, 64, 96), 'depth': (2, 1, 64, 96)}

    Note:
        Shared parameters are those of SegNet and of f, which the paper also shares. Norms are over batches, as in the
        paper's code, so the f of a batch is normalized for each task separately.

    References:
        Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019, Fig. 2, Eq. (1) and (2).
    """

    def __init__(self, heads: Mapping[str, nn.Module], width: int = 64) -> None:
        super().__init__()
        self.tasks = task_names(heads)
        self.trunk = SegNet(width)
        down = self.trunk.widths
        up = (*reversed(down[:-1]), width)  # output channels of the decoder's blocks
        carried = (*down[1:], down[-1], *up)  # output channels of f, after a block down and before a block up
        self.transitions = nn.ModuleList(
            batch_layer(before, channels) for before, channels in zip((*down, down[-1], *up[:-1]), carried, strict=True)
        )
        seen = [down[0], *(2 * channels for channels in down[1:])]
        seen += [before + after for before, after in zip(reversed(down), up, strict=True)]
        self.attentions = by_task({task: nn.ModuleList(map(_attention, seen, (*down, *up))) for task in heads})
        self.heads = by_task(heads)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `heads`."""
        stages: list[Stage] = call(self.trunk.stages, images, "The trunk")
        attentions = zip(self.tasks, self.attentions.values(), strict=True)
        attended = {task: self._attended(stages, list(each.children())) for task, each in attentions}
        return self._called(self.heads, attended)

    def _attended(self, stages: Sequence[Stage], attentions: Sequence[nn.Module]) -> Tensor:
        """Compute a task's masked features of the last block."""
        steps = list(zip(stages, attentions, self.transitions, strict=True))
        half, read = len(WIDTHS), list[Tensor]()
        for (seen, output), attention, transition in steps[:half]:
            masked = attention(torch.cat([seen, *read], dim=1)) * output
            read = [F.max_pool2d(transition(masked), 2)]
        (features,) = read
        for (seen, output), attention, transition in steps[half:]:
            carried = transition(F.interpolate(features, seen.shape[-2:], mode="bilinear", align_corners=True))
            features = attention(torch.cat([seen, carried], dim=1)) * output
        return features

    def task_modules(self) -> dict[str, list[nn.Module]]:
        return self._with_shared([self.trunk, self.transitions], self.attentions, self.heads)


def _chain(channels: int, depth: int) -> nn.Module:
    return nn.Sequential(*(batch_layer(channels, channels) for _ in range(depth)))


def _attention(before: int, channels: int) -> nn.Module:
    """Build layers that compute a mask from 0 to 1, like `Attention` but with norms over the batch."""
    first, second = partial(nn.Conv2d, kernel_size=1), partial(nn.BatchNorm2d, channels)
    layers = [first(before, channels), second(), nn.ReLU(inplace=True), first(channels, channels), second(), nn.Sigmoid()]
    return _initialized(nn.Sequential(*layers))


def _initialized(layers: nn.Sequential) -> nn.Sequential:
    """Initialize the layers by Glorot and Bengio (2010), with biases of 0, as in published code."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return layers
