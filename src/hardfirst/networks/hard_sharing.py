"""Hard parameter sharing: one trunk, one head per task."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hardfirst.networks._base import Network, by_task, call, task_names
from hardfirst.networks._parts import Parts, match_hard_sharing


class HardSharing(Network):
    """A trunk that all tasks share, and one head per task: output_t = head_t(trunk(inputs)).

    All tasks read the same features, so the narrower the trunk, the more they compete for it.

    When to use: Start here. It is the cheapest network, the easiest to deploy, and the baseline for all others.

    Cost: the trunk once, and one head per task.

    Args:
        trunk: computes features of any kind from the inputs.
        heads: by task, at least one; computes the output from the features. Names are any non-empty strings.

    Raises:
        InputError: there are no heads, or a name is empty; in use, if a head does not fit the features.

    Example:
        >>> import torch
        >>> heads = {"digit": nn.Linear(16, 10), "bright": nn.Linear(16, 1)}
        >>> network = HardSharing(nn.Sequential(nn.Linear(64, 16), nn.ReLU()), heads)
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(5, 64)).items()}
        {'digit': (5, 10), 'bright': (5, 1)}
        >>> sum(parameter.numel() for parameter in network.shared_parameters())
        1040

    Note:
        Shared parameters are the trunk's. In the paper's figure each task has its own module between trunk and output; here
        this is the head.

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Fig. 2a;
        Caruana, Multitask Learning, Machine Learning 28, 1997.
    """

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.tasks = task_names(heads)
        self.trunk = trunk
        self.heads = by_task(heads)

    @classmethod
    def from_parts(cls, parts: Parts, *, width: int | None = None) -> "HardSharing":
        """Build a network from the stem, `depth` layers and the heads.

        Args:
            parts: the parts of the problem.
            width: the channels of each layer; default: the width of the parts.

        Raises:
            InputError: the width is not a whole number, or below 1.
        """

        def make(parts: Parts, width: int) -> "HardSharing":
            trunk = nn.Sequential(parts.stem(), *parts.layers(parts.channels, width, parts.depth))
            return cls(trunk, parts.build_heads(width))

        return match_hard_sharing(parts, parts.width if width is None else width, make)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Compute every task's output, in the order of `heads`."""
        features = call(self.trunk, inputs, "The trunk")
        return self._called(self.heads, dict.fromkeys(self.tasks, features))

    def task_modules(self) -> dict[str, list[nn.Module]]:
        return self._with_shared([self.trunk], self.heads)
