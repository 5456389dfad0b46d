"""Hard parameter sharing: one trunk, one head per task."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hardfirst.errors import InputError


class HardSharing(nn.Module):
    """A trunk that all tasks share and a head for each: output_t = head_t(trunk(inputs)).

    All tasks read the same features, so the narrower the trunk, the more they compete for it.

    Args:
        trunk: makes the features from the inputs.
        heads: by task, makes its output from the features; at least one. Any non-empty string is a task's name.

    Raises:
        InputError: no heads, or an empty name.

    Example:
        >>> import torch
        >>> heads = {"digit": nn.Linear(16, 10), "bright": nn.Linear(16, 1)}
        >>> network = HardSharing(nn.Sequential(nn.Linear(64, 16), nn.ReLU()), heads)
        >>> {task: tuple(output.shape) for task, output in network(torch.zeros(5, 64)).items()}
        {'digit': (5, 10), 'bright': (5, 1)}
        >>> sum(parameter.numel() for parameter in network.shared_parameters())
        1040

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Fig. 2a;
        Caruana, Multitask Learning, Machine Learning 28, 1997.
    """

    def __init__(self, trunk: nn.Module, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        if not heads:
            raise InputError("Expected `heads` to have a head for each task; got none.")
        self.trunk = trunk
        self.tasks = tuple(heads)
        self.heads = by_task(heads)

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """Every task's output, in the order of `heads`."""
        features = self.trunk(inputs)
        return {task: head(features) for task, head in zip(self.tasks, self.heads.values(), strict=True)}

    def shared_parameters(self) -> list[nn.Parameter]:
        """The trunk's parameters that are trained: what balancers that look at shared gradients need."""
        return [parameter for parameter in self.trunk.parameters() if parameter.requires_grad]


def by_task(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """A ModuleDict of modules by task, in order, for names of any sort.

    A checkpoint holds heads by name ("heads.digit.weight"), so that the order of tasks may change between runs.

    Raises:
        InputError: a name is empty or not a string.
    """
    for task in modules:
        if not isinstance(task, str) or not task:
            raise InputError(f"Expected a task's name to be a non-empty string; got {task!r}.")
    return nn.ModuleDict({_key(task): module for task, module in modules.items()})


def _key(task: str) -> str:
    """The task's name, percent-encoded where ModuleDict forbids it: a dot, or an attribute that ModuleDict has."""
    key = task.replace("%", "%25").replace(".", "%2E")
    return f"%{ord(key[0]):02X}{key[1:]}" if key in dir(nn.ModuleDict()) else key
