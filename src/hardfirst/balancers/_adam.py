"""Adam for a balancer's learned state, with its moments as buffers."""

from collections.abc import Sequence
from math import inf, log, sqrt

import torch
from torch import Tensor

from hardfirst._task_state import TaskState
from hardfirst.errors import number
from hardfirst.functional._scalar import host_memory

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8
_LARGEST_SQUARE = torch.finfo(torch.float32).max


class Adam(TaskState):
    """Adam steps on a tensor [T] whose gradient has a closed form.

    A `torch.optim.Adam` inside `forward` would break the graph under `torch.compile`, would see the GradScaler's scale,
    and the user would have to checkpoint it.

    Args:
        tasks: the tasks; each has its own moments and step count.
        lr: the learning rate, above 0. The other constants are Adam's defaults.
        weight_decay: the L2 coefficient added to the gradient, at least 0.
        bound: the value is kept in [−bound, bound].
    """

    first: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, tasks: Sequence[str], lr: float, *, weight_decay: float = 0.0, bound: float = inf) -> None:
        super().__init__(tasks, process_group=False)
        self.lr = number("lr", lr, above=0)
        self.weight_decay = number("weight_decay", weight_decay, least=0)
        self.bound = bound
        self.add_state("first", 0.0)
        self.add_state("second", 0.0)
        self.add_state("steps", 0, dtype=torch.int64)

    @torch.no_grad()
    def step(self, value: Tensor, gradient: Tensor) -> None:
        """Update `value` [T] in place.

        Entries whose gradient [T] is NaN do not change, and neither do their moments. A gradient whose square overflows is
        like NaN: it would make the second moment infinite for ever.
        """
        states = (value, self.first, self.second, self.steps)
        memories = [memory for memory in map(host_memory, states) if memory is not None]
        if len(memories) < len(states):
            self._step_in_tensors(value, gradient)
            return
        for position, entry in enumerate(zip(*memories, gradient.tolist(), strict=True)):
            for memory, new in zip(memories, self._entry(*entry), strict=True):
                memory[position] = new

    def _step_in_tensors(self, value: Tensor, gradient: Tensor) -> None:
        if self.weight_decay:
            gradient = gradient.add(value, alpha=self.weight_decay)
        square = gradient.square()
        present = square < inf
        self.steps.add_(present)
        self.first.lerp_(torch.where(present, gradient, self.first), 1 - _BETA1)
        self.second.lerp_(torch.where(present, square, self.second), 1 - _BETA2)
        # 1 − βⁿ, negative
        mean = self.first / (self.steps * log(_BETA1)).expm1()
        root = (self.second / -(self.steps * log(_BETA2)).expm1()).sqrt()
        moved = value.addcdiv(mean, root + _EPS, value=self.lr)
        if self.bound < inf:
            moved = moved.clamp(-self.bound, self.bound)
        value.copy_(torch.where(present, moved, value))

    def _entry(
        self, value: float, first: float, second: float, steps: int, gradient: float
    ) -> tuple[float, float, float, int]:
        """The step of one entry, in Python numbers."""
        gradient += self.weight_decay * value
        if not gradient * gradient <= _LARGEST_SQUARE:
            return value, first, second, steps
        steps += 1
        first += (1 - _BETA1) * (gradient - first)
        second += (1 - _BETA2) * (gradient * gradient - second)
        root = sqrt(second / (1 - _BETA2**steps))
        value -= self.lr * first / (1 - _BETA1**steps) / (root + _EPS)
        return min(max(value, -self.bound), self.bound), first, second, steps
