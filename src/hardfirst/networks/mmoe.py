"""Multi-gate mixture-of-experts: shared experts, and for each task a gate that weights them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, whole
from hardfirst.networks._base import Network, by_task, features, resize, same_shapes, task_names
from hardfirst.networks._parts import Parts, match_hard_sharing
from hardfirst.networks.layers import Gate


class MMoE(Network):
    r"""Experts that all tasks share, mixed by one gate per task: output_t = head_t(Σ_i g_t(x)_i expert_i(x)).

    g_t(x) = softmax(W_t x). Tasks with little in common can learn to use different experts, and related ones the same; the
    choice depends on the example.

    When to use: Use with many examples, and tasks that may or may not be related, such as predictions about one customer.

    Cost: each expert once, for all tasks; one gate of channels × experts per task.

    Args:
        stem: computes the features x [batch, channels, ...] from the inputs; `nn.Identity()` if experts read the inputs.
        experts: at least one; each reads x, and all return features of the same shape.
        heads: by task, computes the output from the task's mixture: the paper's tower. Names are any non-empty strings.
        channels: the channels of x.

    Raises:
        InputError: there are no heads or experts, or `channels` is not a whole number above 0; in use, if an expert, gate or
            head does not fit its input, or experts differ in shape.

    Example:
        >>> import torch
        >>> experts = [nn.Sequential(nn.Linear(64, 16), nn.ReLU()) for _ in range(4)]
        >>> network = MMoE(nn.Flatten(), experts, {"digit": nn.Linear(16, 10), "bright": nn.Linear(16, 1)}, channels=64)
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(5, 8, 8)).items()}
        {'digit': (5, 10), 'bright': (5, 1)}

    Note:
        Shared parameters are those of the stem and the experts. In the paper, examples are vectors. In sequences and images
        each position has its own weights, like tokens in a Transformer with experts, so padding has no effect. If experts
        return features of another size, the gates' weights are averaged to it.

    References:
        Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018,
        Eq. (6) and (7).
    """

    def __init__(
        self, stem: nn.Module, experts: Sequence[nn.Module], heads: Mapping[str, nn.Module], *, channels: int
    ) -> None:
        super().__init__()
        self.tasks = task_names(heads)
        if not experts:
            raise InputError("Expected `experts` to have at least one expert; got none.")
        whole("channels", channels, least=1)
        self.stem = stem
        self.experts = nn.ModuleList(experts)
        self.gates = by_task({task: Gate(channels, len(experts)) for task in heads})
        self.heads = by_task(heads)

    @classmethod
    def from_parts(cls, parts: Parts, *, experts: int = 4, width: int | None = None) -> "MMoE":
        """Build a network from the stem, and experts of `depth` layers each.

        Args:
            parts: the parts of the problem.
            experts: the number of experts, at least 1.
            width: the channels of each layer; default: matched to the size of hard sharing.

        Raises:
            InputError: a number is out of range; or the network is larger than hard sharing even at width 1.
        """
        whole("experts", experts, least=1)

        def make(parts: Parts, width: int) -> "MMoE":
            chains = [nn.Sequential(*parts.layers(parts.channels, width, parts.depth)) for _ in range(experts)]
            return cls(parts.stem(), chains, parts.build_heads(width), channels=parts.channels)

        return match_hard_sharing(parts, width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `heads`."""
        stem = features(self.stem, inputs, "The stem")
        named = {f"Expert {number}": expert for number, expert in enumerate(self.experts, 1)}
        experts = same_shapes({name: features(expert, stem, name) for name, expert in named.items()}, "all experts")
        weights = self._called(self.gates, dict.fromkeys(self.tasks, stem), "gate")
        return self._called(self.heads, {task: mixture(each, experts) for task, each in weights.items()})

    def task_modules(self) -> dict[str, list[nn.Module]]:
        return self._with_shared([self.stem, self.experts], self.gates, self.heads)


def mixture(weights: Tensor, experts: Sequence[Tensor]) -> Tensor:
    """Compute Σ_i weights_i · experts_i at every position.

    Args:
        weights: [batch, experts, ...]; averaged to the experts' size if that differs.
        experts: tensors [batch, channels, ...] of one shape.
    """
    like = experts[0]
    if weights.dim() == like.dim():
        weights = resize(weights, like)
    else:  # one set of weights for all positions
        mean = weights.flatten(2).mean(2) if weights.dim() > 2 else weights
        weights = mean.view(*mean.shape, *[1] * (like.dim() - 2))
    return (weights.unsqueeze(2) * torch.stack(list(experts), dim=1)).sum(1)
