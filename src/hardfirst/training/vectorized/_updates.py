"""From gradients to weights, for trials with different learning rates."""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from hardfirst.recipes import Recipe, Schedule
from hardfirst.training._updates import Updates
from hardfirst.training.vectorized._stack import Stack, Weights

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class StackedUpdates:
    """The updates of trials. Trials whose networks go back to step 0 together have an optimizer for themselves.

    Args:
        recipe: the problem's.
        fabric: of the run.
        stack: the trials' networks.
        moved: whether a trial's single run would change a parameter, [trials, parameters]; None if it changes all.
        learning_rates: of the trials.
        restarts: of the trials, the number of optimizer steps before their networks go back to step 0; None for never.
        batches: training batches in an epoch.
        epochs: of the run.
    """

    def __init__(
        self,
        recipe: Recipe,
        fabric: "Fabric",
        stack: Stack,
        *,
        moved: Tensor | None,
        learning_rates: Sequence[float],
        restarts: Sequence[int | None],
        batches: int,
        epochs: int,
    ) -> None:
        self.stack = stack
        self._parts: list[tuple[int | None, slice, RowUpdates]] = []
        for restart, rows in _runs_of_equal(restarts):
            whole = rows == slice(0, len(stack))
            part = RowUpdates(
                recipe,
                fabric,
                stack.weights if whole else nn.Parameter(stack.weights.detach()[rows]),  # in the same memory
                moved=moved if moved is None else moved[rows],
                learning_rates=learning_rates[rows],
                batches=batches,
                epochs=epochs,
            )
            self._parts.append((restart, rows, part))
        first = self._parts[0][2]
        self.part, self.steps_before, self.steps_in_epoch = first.part, first.steps_before, first.steps_in_epoch

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.stack.weights.grad = None

    def step(self) -> None:
        """Change the weights by their gradients."""
        gradient = self.stack.weights.grad
        assert gradient is not None
        for _, rows, part in self._parts:
            part.weights.grad = gradient if part.weights is self.stack.weights else gradient[rows]
            part.step()

    def restart(self, done: int, initial: Weights) -> None:
        """Put the networks and optimizers back to step 0 whose trials restart after this number of optimizer steps."""
        for restart, rows, part in self._parts:
            if restart == done:
                self.stack.restore(initial, rows)
                part.restart(done)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The context in which the stack has the weights to evaluate and keep."""
        with ExitStack() as contexts:
            for *_, part in self._parts:
                contexts.enter_context(part.averaged())
            yield

    def end_epoch(self, scores: Sequence[float]) -> None:
        """Move the schedules on after an epoch with these scores of the trials; NaN does not count."""
        for _, rows, part in self._parts:
            part.follow(scores[rows])

    def learning_rates(self) -> list[float]:
        """Those of each trial's last step."""
        return [part.learning_rate * share for *_, part in self._parts for share in part.shares]


def _runs_of_equal(values: Sequence[int | None]) -> Iterator[tuple[int | None, slice]]:
    """Yield the values without repetition, each with the positions of those that follow one another.

    >>> list(_runs_of_equal([None, None, 9]))
    [(None, slice(0, 2, None)), (9, slice(2, 3, None))]
    """
    start = 0
    for value, group in groupby(values):
        stop = start + len(list(group))
        yield value, slice(start, stop)
        start = stop


class RowUpdates(Updates):
    """The updates of a single run (`Updates`), with the weights of trials as one parameter.

    The optimizer steps with the highest learning rate, and each trial's weights go the part of the way that its own rate
    is of that: a step of Adam, AdamW or SGD is proportional to the rate. A gradient is clipped by the norm of its row. A
    parameter without a gradient stays as it is, as in a single run, also if weights decay.

    Args:
        recipe: the problem's.
        fabric: of the run.
        weights: of the trials, [trials, parameters].
        moved: whether a trial's single run would change a parameter, [trials, parameters]; None if it changes all.
        learning_rates: of the trials.
        batches: training batches in an epoch.
        epochs: of the run.
    """

    def __init__(
        self,
        recipe: Recipe,
        fabric: "Fabric",
        weights: nn.Parameter,
        *,
        moved: Tensor | None,
        learning_rates: Sequence[float],
        batches: int,
        epochs: int,
    ) -> None:
        self.weights, self._own_recipe, self._rates = weights, recipe, learning_rates
        # A schedule that follows the score has another course in each trial; others are proportional to the rate.
        common = recipe.replace({"clip": None} | ({"schedule": "constant"} if _follows(recipe) else {}))
        highest, parameters = max(learning_rates), nn.ParameterList([weights])
        super().__init__(common, fabric, parameters, learning_rate=highest, batches=batches, epochs=epochs)
        # without decay a gradient of 0 changes nothing
        decays = any(group.get("weight_decay") for group in self.optimizer.param_groups)
        self._moved = moved if decays else None
        self._begin()
        # The hooks come right before and after the optimizer's step, before the average of the weights is updated.
        self.optimizer.register_step_pre_hook(self._before_step)
        self.optimizer.register_step_post_hook(self._after_step)

    def _begin(self) -> None:
        """Set the learning rates of step 0."""
        self._own = [_followed(self._own_recipe, rate) for rate in self._rates] if _follows(self._own_recipe) else []
        self._set_rates(self._rates)

    def restart(self, done: int) -> None:
        """Start again at step 0, as `Updates.restart`."""
        super().restart(done)
        self._begin()

    def follow(self, scores: Sequence[float]) -> None:
        """Move the schedules on after an epoch with these scores of the trials; NaN does not count."""
        self.end_epoch(math.nan)
        for (_, scheduler), score in zip(self._own, scores, strict=False):
            if not math.isnan(score):
                scheduler.step(score)
        if self._own:
            self._set_rates([optimizer.param_groups[0]["lr"] for optimizer, _ in self._own])

    def _set_rates(self, rates: Sequence[float]) -> None:
        highest = max(rates)
        if self._own:
            self.optimizer.param_groups[0]["lr"] = highest
        self.shares = [rate / highest if highest else 1.0 for rate in rates]
        """Of each trial, its learning rate over the highest."""
        shares = self.weights.new_tensor(self.shares)[:, None]
        if self._moved is not None:
            shares = shares * self._moved
        self._parts = shares if min(self.shares) < 1 or self._moved is not None else None

    @torch.no_grad()
    def _before_step(self, *_: Any) -> None:
        weights, clip = self.weights, self._own_recipe.clip
        if clip is not None:
            assert weights.grad is not None
            norms = torch.linalg.vector_norm(weights.grad, dim=1, keepdim=True)
            weights.grad.mul_((clip / (norms + 1e-6)).clamp(max=1.0))  # as torch.nn.utils.clip_grad_norm_
        if self._parts is not None:
            self._earlier: Tensor = weights.detach().clone()

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        if self._parts is not None:
            self.weights.copy_(self._earlier.lerp_(self.weights, self._parts))


def _follows(recipe: Recipe) -> bool:
    return isinstance(recipe.schedule, str) and recipe.schedule.partition(":")[0] == "plateau"


def _followed(recipe: Recipe, rate: float) -> tuple[Optimizer, Any]:
    """An optimizer of nothing, whose rate is that of a trial, and what changes it."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    schedule: Schedule = recipe.make_schedule(optimizer, steps=1, epochs=1)  # a schedule that follows scores needs neither
    return optimizer, schedule.scheduler
