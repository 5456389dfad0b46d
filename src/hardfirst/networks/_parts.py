"""A problem's parts, from which every network can be built, and the width at which networks have equal size."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TypeVar

import torch
from torch import nn

from hardfirst.errors import InputError, whole
from hardfirst.networks._base import task_names

_N = TypeVar("_N", bound=nn.Module)
_MAX_WIDTH = 2**16


@dataclass(frozen=True)
class Parts:
    """A problem's stem, layers and heads, from which every network in `NETWORKS` can be built.

    All networks start with the stem and end with the heads, with layers in between. The width of the layers is chosen so
    that layers and heads have about as many parameters as those of hard sharing with `width` and `depth`.

    Args:
        stem: builds the module that turns inputs of any kind into features [batch, channels, ...].
        channels: the channels of the stem's features.
        layer: builds a layer with the given channels in and out that keeps all other dimensions: `vector_layer`,
            `sequence_layer`, `image_layer`, or the problem's own.
        width: the channels of each layer in hard sharing.
        depth: the number of layers between stem and head, at least 1. `TaskHierarchy` has at least one per task.
        heads: by task, builds the head for features of the given channels.

    Raises:
        InputError: a number is not whole or below 1, or there are no heads.

    Example:
        >>> import torch
        >>> from hardfirst.networks import NETWORKS, parameters, vector_layer
        >>> parts = Parts(
        ...     stem=nn.Flatten,
        ...     channels=64,
        ...     layer=vector_layer,
        ...     width=48,
        ...     depth=2,
        ...     heads={"digit": lambda channels: nn.Linear(channels, 10), "bright": lambda channels: nn.Linear(channels, 1)},
        ... )
        >>> network = NETWORKS["mmoe"](parts)
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(5, 8, 8)).items()}
        {'digit': (5, 10), 'bright': (5, 1)}
        >>> parameters(NETWORKS["hard_sharing"](parts)), parameters(network)
        (6011, 5947)
    """

    stem: Callable[[], nn.Module]
    channels: int
    layer: Callable[[int, int], nn.Module]
    width: int
    depth: int
    heads: Mapping[str, Callable[[int], nn.Module]]

    def __post_init__(self) -> None:
        for name in ("channels", "width", "depth"):
            whole(name, getattr(self, name), least=1)
        task_names(self.heads)
        object.__setattr__(self, "heads", dict(self.heads))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The heads' names."""
        return tuple(self.heads)

    def layers(self, before: int, width: int, depth: int) -> list[nn.Module]:
        """Build a chain of layers of this width; the first reads `before` channels."""
        return [self.layer(before if index == 0 else width, width) for index in range(depth)]

    def build_heads(self, width: int) -> dict[str, nn.Module]:
        """Build a head for each task, for features of this many channels."""
        return {task: head(width) for task, head in self.heads.items()}


def parameters(network: nn.Module) -> int:
    """Count the elements of a network's parameters, each once, trainable or not.

    >>> parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in network.parameters())


def matched(build: Callable[[int], nn.Module], target: int) -> int:
    """Find the width at which a network's parameter count is nearest to a target; the smaller width if two are equally near.

    Bisects on networks that it builds, and leaves torch's random state on the CPU unchanged.

    Args:
        build: builds the network of a given width; a wider one must not have fewer parameters.
        target: the number of parameters to match.

    Returns:
        The width, at least 1.

    Raises:
        InputError: the network has more parameters even at width 1, or fewer at any width.

    Example:
        >>> width = matched(lambda width: nn.Linear(10, width), target=300)
        >>> width, parameters(nn.Linear(10, width))
        (27, 297)
    """

    @cache
    def count(width: int) -> int:
        return parameters(build(width))

    with torch.random.fork_rng(devices=[]):
        if count(1) > target:
            raise InputError(
                f"{type(build(1)).__name__} has {count(1):,} parameters even at width 1, more than the {target:,} to match. "
                "Match a wider network, choose fewer experts or layers, or set `width`."
            )
        above = 1
        while count(above) < target:
            if above == _MAX_WIDTH:
                raise InputError(
                    f"{type(build(1)).__name__} has {count(above):,} parameters even at width {above:,}, fewer than the "
                    f"{target:,} to match: the size of its layers does not depend on the width."
                )
            above *= 2
        below = max(above // 2, 1)  # fewer parameters than the target, unless it is 1
        while above - below > 1:
            middle = (above + below) // 2
            above, below = (middle, below) if count(middle) >= target else (above, middle)
        return min((below, above), key=lambda width: abs(count(width) - target))


def match_hard_sharing(parts: Parts, width: int | None, make: Callable[[Parts, int], _N]) -> _N:
    """Build a network of the given width, or of the width that matches the size of hard sharing without the stem."""
    if width is None:
        bare = replace(parts, stem=nn.Identity)
        with torch.random.fork_rng(devices=[]):
            trunk = parts.layers(parts.channels, parts.width, parts.depth)
            target = parameters(nn.ModuleList([*trunk, *parts.build_heads(parts.width).values()]))
        width = matched(lambda width: make(bare, width), target)
    return make(parts, whole("width", width, least=1))
