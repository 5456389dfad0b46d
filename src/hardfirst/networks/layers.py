"""Layers that keep all dimensions except the channels, and simple heads."""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn


def vector_layer(before: int, channels: int) -> nn.Module:
    """Return a linear map and a ReLU: [batch, before] → [batch, channels].

    >>> import torch
    >>> vector_layer(8, 3)(torch.zeros(5, 8)).shape
    torch.Size([5, 3])
    """
    return nn.Sequential(nn.Linear(before, channels), nn.ReLU())


def sequence_layer(before: int, channels: int) -> nn.Module:
    """Return a convolution of width 3 and a SiLU: [batch, before, length] → [batch, channels, length].

    A position where all channels are 0 is padding and stays 0, so the amount of padding in a batch has no effect. (A ReLU
    could set all features of a narrow layer to 0 where there is no padding; a SiLU does not.)

    >>> import torch
    >>> sequence_layer(8, 3)(torch.zeros(5, 8, 20)).shape
    torch.Size([5, 3, 20])
    """
    return _SequenceLayer(before, channels)


def image_layer(before: int, channels: int) -> nn.Module:
    """Return a 3×3 convolution, a norm over groups of about 8 channels, and a ReLU.

    [batch, before, height, width] → [batch, channels, height, width]. The norm does not depend on the batch, which may be
    small or spread over ranks.

    >>> import torch
    >>> image_layer(8, 3)(torch.zeros(5, 8, 6, 4)).shape
    torch.Size([5, 3, 6, 4])
    """
    return nn.Sequential(nn.Conv2d(before, channels, 3, padding=1, bias=False), group_norm(channels), nn.ReLU())


def class_head(classes: int) -> Callable[[int], nn.Module]:
    """Return a function of the channels that builds a linear head: [batch, channels] → logits [batch, classes].

    >>> import torch
    >>> class_head(10)(8)(torch.zeros(5, 8)).shape
    torch.Size([5, 10])
    """
    return partial(nn.Linear, out_features=classes)


def number_head(channels: int) -> nn.Module:
    """Return a linear head for one number: [batch, channels] → [batch], the shape of its target.

    >>> import torch
    >>> number_head(8)(torch.zeros(5, 8)).shape
    torch.Size([5])
    """
    return nn.Sequential(nn.Linear(channels, 1), nn.Flatten(0))


class Pointwise(nn.Module):
    """The same linear map of the channels at every position: a convolution of kernel 1, for any number of dimensions.

    It has no bias, so padding that is 0 stays 0.

    Args:
        before: channels in.
        channels: channels out.

    Shape:
        [batch, before, ...] → [batch, channels, ...].

    Example:
        >>> import torch
        >>> Pointwise(8, 3)(torch.zeros(5, 8, 6, 4)).shape
        torch.Size([5, 3, 6, 4])
    """

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(before, channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map the channels."""
        return self.linear(features.movedim(1, -1)).movedim(-1, 1)  # type: ignore[no-any-return]  # a module's call


class Gate(nn.Module):
    """The weights of experts at every position: softmax(W x).

    Args:
        channels: the channels of the features x that the gate reads.
        experts: the number of experts.

    Shape:
        [batch, channels, ...] → weights [batch, experts, ...], at least 0, that sum to 1 over the experts.
    """

    def __init__(self, channels: int, experts: int) -> None:
        super().__init__()
        self.scores = Pointwise(channels, experts)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the experts' weights."""
        return self.scores(features).softmax(1)  # type: ignore[no-any-return]  # a module's call


def group_norm(channels: int) -> nn.GroupNorm:
    """Return a norm over groups of 8 channels, or the next larger size that divides them.

    >>> [group_norm(channels).num_groups for channels in (3, 16, 20, 37, 64)]
    [1, 2, 2, 1, 8]
    """
    return nn.GroupNorm(max(groups for groups in range(1, max(channels // 8, 1) + 1) if channels % groups == 0), channels)


class _SequenceLayer(nn.Module):
    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(before, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        not_padding = (features != 0).any(1, keepdim=True)
        return F.silu(self.convolution(features)) * not_padding
