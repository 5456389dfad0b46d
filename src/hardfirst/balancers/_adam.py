"""Adam for the state that a balancer learns, with its moments in a buffer."""

from collections.abc import Sequence
from math import inf, log, sqrt
from typing import Any

import torch
from torch import Tensor

from hardfirst._task_state import TaskState
from hardfirst.balancers._ops import assign_where
from hardfirst.errors import number
from hardfirst.functional._scalar import host_memory

_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8
_LARGEST_SQUARE = torch.finfo(torch.float32).max


class Adam(TaskState):
    """Adam for a tensor [T] whose gradient is known in closed form.

    Inside `forward`, a `torch.optim.Adam` would break the graph under `torch.compile`, receive gradients scaled by the
    GradScaler, and need a checkpoint of its state from the user.

    Args:
        tasks: the tasks; each has its own moments and step count.
        lr: the learning rate, above 0. The other constants are Adam's defaults.
        weight_decay: the L2 coefficient added to the gradient, at least 0.
        bound: clips the value to [−bound, bound].

    Attributes:
        moments: [T, 4]: the moving averages of the gradient g and of g², and two bias corrections, 1 − β₁ⁿ and 1 − β₂ⁿ
            after n steps, stored as moving averages so that one operation updates all four.
    """

    moments: Tensor
    rates: Tensor
    powers: Tensor

    def __init__(self, tasks: Sequence[str], lr: float, *, weight_decay: float = 0.0, bound: float = inf) -> None:
        super().__init__(tasks, process_group=False)
        self.lr = number("lr", lr, above=0)
        self.weight_decay = number("weight_decay", weight_decay, least=0)
        self.bound = bound
        self.add_state("moments", [[0.0] * 4] * len(self.tasks), task_axes=1)
        self.add_state("rates", [1 - _BETA1, 1 - _BETA2] * 2, persistent=False, task_axes=0)
        self.add_state("powers", [1.0, 2.0, 0.0, 0.0], persistent=False, task_axes=0)

    @torch.no_grad()
    def step(self, value: Tensor, gradient: Tensor) -> None:
        """Update `value` [T] in place.

        Entries with a NaN gradient [T], and their moments, do not change. The same holds for a gradient whose square
        overflows: it would leave the second moment infinite.
        """
        values, moments = host_memory(value), host_memory(self.moments)
        if values is None or moments is None:
            self._step_in_tensors(value, gradient)
            return
        for position, slope in enumerate(gradient.tolist()):
            own = slice(4 * position, 4 * position + 4)
            values[position], moments[own] = self._entry(values[position], moments[own], slope)

    def _step_in_tensors(self, value: Tensor, gradient: Tensor) -> None:
        if isinstance(self.weight_decay, Tensor):  # stacked balancers have one per trial
            gradient = gradient + self.weight_decay * value
        elif self.weight_decay:
            gradient = gradient.add(value, alpha=self.weight_decay)
        new = gradient[:, None].pow(self.powers)  # g, g², 1, 1
        present = new[:, 1] < inf
        assign_where(present[:, None], self.moments.lerp(new, self.rates), self.moments, self.moments)
        mean, square = (self.moments[:, :2] / self.moments[:, 2:]).unbind(1)
        if isinstance(self.lr, Tensor):
            moved = value - self.lr * mean / (square.sqrt() + _EPS)
        else:
            moved = value.addcdiv(mean, square.sqrt() + _EPS, value=-self.lr)
        if self.bound < inf:
            moved = moved.clamp(-self.bound, self.bound)
        assign_where(present, moved, value, value)

    def _entry(self, value: float, moments: Sequence[float], gradient: float) -> tuple[float, list[float]]:
        """Compute the step of one entry in Python numbers."""
        gradient += self.weight_decay * value
        if not gradient * gradient <= _LARGEST_SQUARE:
            return value, list(moments)
        first, second, share1, share2 = moments
        first += (1 - _BETA1) * (gradient - first)
        second += (1 - _BETA2) * (gradient * gradient - second)
        share1 += (1 - _BETA1) * (1 - share1)
        share2 += (1 - _BETA2) * (1 - share2)
        value -= self.lr * first / share1 / (sqrt(second / share2) + _EPS)
        return min(max(value, -self.bound), self.bound), [first, second, share1, share2]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Load a state, also one saved before the moments were merged into one tensor."""
        old = [state_dict.get(prefix + name) for name in ("first", "second", "steps")]
        if all(isinstance(part, Tensor) for part in old):
            first, second, steps = (state_dict.pop(prefix + name) for name in ("first", "second", "steps"))
            shares = [-torch.expm1(steps.double() * log(beta)).float() for beta in (_BETA1, _BETA2)]
            state_dict[prefix + "moments"] = torch.stack([first, second, *shares], dim=-1)
        super()._load_from_state_dict(state_dict, prefix, *rest)
