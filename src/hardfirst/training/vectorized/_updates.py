"""From gradients to weights, for trials with different learning rates."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from hardfirst.recipes import Recipe, Schedule
from hardfirst.training._updates import Part, Updates
from hardfirst.training.vectorized._stack import Stack

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class StackedUpdates:
    """The updates of a single run (`Updates`), with the weights of all trials as one parameter.

    The optimizer steps with the highest learning rate, and each trial's weights go the part of the way that its own rate
    is of that: a step of Adam, AdamW or SGD is proportional to the rate. A gradient is clipped by the norm of its row. A
    parameter without a gradient stays as it is, as in a single run, also if weights decay.

    Args:
        recipe: the problem's.
        fabric: of the run.
        stack: the trials' networks.
        moved: whether a trial's single run would change a parameter, [trials, parameters]; None if it changes all.
        learning_rates: of the trials.
        batches: training batches in an epoch.
        epochs: of the run.
    """

    def __init__(
        self,
        recipe: Recipe,
        fabric: "Fabric",
        stack: Stack,
        *,
        moved: Tensor | None = None,
        learning_rates: Sequence[float],
        batches: int,
        epochs: int,
    ) -> None:
        self.stack, self.clip = stack, recipe.clip
        # A schedule that follows the score has another course in each trial; others are proportional to the rate.
        self._own = [_followed(recipe, rate, batches, epochs) for rate in learning_rates] if _follows(recipe) else []
        common = recipe.replace({"clip": None} | ({"schedule": "constant"} if self._own else {}))
        weights = nn.ParameterList([stack.weights])
        self._updates = Updates(common, fabric, weights, learning_rate=max(learning_rates), batches=batches, epochs=epochs)
        # without decay a gradient of 0 changes nothing
        decays = any(group.get("weight_decay") for group in self._updates.optimizer.param_groups)
        self._moved = moved if decays else None
        self._set_rates(learning_rates)
        # The hooks come right before and after the optimizer's step, before the average of the weights is updated.
        optimizer = self._updates.optimizer
        optimizer.register_step_pre_hook(self._before_step)
        optimizer.register_step_post_hook(self._after_step)

    def part(self, number: int) -> Part:
        """The part of an epoch's batch in its optimizer step, as `Updates.part`."""
        return self._updates.part(number)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._updates.optimizer.zero_grad()

    def step(self) -> None:
        """Change the weights by their gradients."""
        self._updates.step()

    def averaged(self) -> AbstractContextManager[None]:
        """The context in which the stack has the weights to evaluate and keep."""
        return self._updates.averaged()

    def end_epoch(self, scores: Sequence[float]) -> None:
        """Move the schedules on after an epoch with these scores of the trials; NaN does not count."""
        self._updates.end_epoch(math.nan)
        for (_, scheduler), score in zip(self._own, scores, strict=False):
            if not math.isnan(score):
                scheduler.step(score)
        if self._own:
            self._set_rates([optimizer.param_groups[0]["lr"] for optimizer, _ in self._own])

    def learning_rate(self, row: int) -> float:
        """That of a trial's last step."""
        return self._updates.learning_rate * self._shares[row]

    def _set_rates(self, rates: Sequence[float]) -> None:
        highest = max(rates)
        if self._own:
            self._updates.optimizer.param_groups[0]["lr"] = highest
        self._shares = [rate / highest if highest else 1.0 for rate in rates]
        shares = self.stack.weights.new_tensor(self._shares)[:, None]
        if self._moved is not None:
            shares = shares * self._moved
        self._parts = shares if min(self._shares) < 1 or self._moved is not None else None

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        weights = self.stack.weights
        if self.clip is not None:
            assert weights.grad is not None
            norms = torch.linalg.vector_norm(weights.grad, dim=1, keepdim=True)
            weights.grad.mul_((self.clip / (norms + 1e-6)).clamp(max=1.0))  # as torch.nn.utils.clip_grad_norm_
        if self._parts is not None:
            self._earlier: Tensor = weights.detach().clone()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        if self._parts is not None:
            self.stack.weights.copy_(self._earlier.lerp_(self.stack.weights, self._parts))


def _follows(recipe: Recipe) -> bool:
    return isinstance(recipe.schedule, str) and recipe.schedule.partition(":")[0] == "plateau"


def _followed(recipe: Recipe, rate: float, batches: int, epochs: int) -> tuple[Optimizer, Any]:
    """An optimizer of nothing, whose rate is that of a trial, and what changes it."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    schedule: Schedule = recipe.make_schedule(optimizer, batches, epochs)
    return optimizer, schedule.scheduler
