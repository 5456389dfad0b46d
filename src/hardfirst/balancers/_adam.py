"""Adam for a balancer's learned state, with its moments as buffers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import TaskState
from hardfirst.errors import number


class Adam(TaskState):
    """Adam steps on a tensor [T] whose gradient has a closed form.

    A `torch.optim.Adam` inside `forward` would break the graph under `torch.compile`, would see the GradScaler's scale,
    and the user would have to checkpoint it.

    Args:
        tasks: the tasks; each has its own moments and step count.
        lr: the learning rate, above 0. The other constants are Adam's defaults.
        weight_decay: the L2 coefficient added to the gradient, at least 0.
    """

    first: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, tasks: Sequence[str], lr: float, *, weight_decay: float = 0.0) -> None:
        super().__init__(tasks, process_group=False)
        self.lr = number("lr", lr, above=0)
        self.weight_decay = number("weight_decay", weight_decay, least=0)
        self.add_state("first", 0.0)
        self.add_state("second", 0.0)
        self.add_state("steps", 0, dtype=torch.int64)

    @torch.no_grad()
    def step(self, value: Tensor, gradient: Tensor) -> None:
        """Update `value` [T] in place. Entries whose gradient [T] is NaN do not change, and neither do their moments."""
        present = ~gradient.isnan()
        gradient = torch.where(present, gradient + self.weight_decay * value, 0)
        steps = self.steps + present
        first = torch.where(present, torch.lerp(self.first, gradient, 0.1), self.first)
        second = torch.where(present, torch.lerp(self.second, gradient.square(), 0.001), self.second)
        mean = first / (1 - 0.9**steps)
        root = (second / (1 - 0.999**steps)).sqrt()
        value.copy_(torch.where(present, value - self.lr * mean / (root + 1e-8), value))
        self.steps.copy_(steps)
        self.first.copy_(first)
        self.second.copy_(second)
