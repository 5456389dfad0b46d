"""From gradients to weights, for trials with different learning rates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hardfirst.recipes import Recipe
from hardfirst.training._updates import Updates
from hardfirst.training.vectorized._stack import Stack

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class StackedUpdates:
    """The updates of a single run (`Updates`), with the weights of all trials as one parameter.

    The optimizer steps with the highest learning rate, and each trial's weights go the part of the way that its own rate
    is of that: a step of Adam, AdamW or SGD is proportional to the rate. A gradient is clipped by the norm of its row.

    Args:
        recipe: the problem's.
        fabric: of the run.
        stack: the trials' networks.
        learning_rates: of the trials.
        batches: training batches in an epoch.
        epochs: of the run.
    """

    def __init__(
        self, recipe: Recipe, fabric: "Fabric", stack: Stack, *, learning_rates: Sequence[float], batches: int, epochs: int
    ) -> None:
        self.stack, self.clip, self.learning_rates = stack, recipe.clip, learning_rates
        self.highest = max(learning_rates)
        module = nn.ParameterList([stack.weights])
        options: dict[str, Any] = {"learning_rate": self.highest, "batches": batches, "epochs": epochs}
        self.updates = Updates(recipe.replace({"clip": None}), fabric, module, **options)
        # The hooks come before and after the optimizer's own step, and before the average of the weights.
        optimizer: Any = self.updates.optimizer
        if self.clip is not None:
            optimizer.optimizer.register_step_pre_hook(self._clip)
        if min(learning_rates) < self.highest:
            shares = [rate / self.highest for rate in learning_rates]
            self._shares = torch.tensor(shares, dtype=stack.weights.dtype, device=stack.weights.device)[:, None]
            self._before: Tensor
            optimizer.optimizer.register_step_pre_hook(self._remember)
            optimizer.optimizer.register_step_post_hook(self._shorten)

    def learning_rate(self, row: int) -> float:
        """That of a trial's last step."""
        return self.updates.learning_rate * (self.learning_rates[row] / self.highest)

    @torch.no_grad()
    def _clip(self, *_: Any) -> None:
        gradients = self.stack.weights.grad
        assert gradients is not None and self.clip is not None
        norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
        gradients.mul_((self.clip / (norms + 1e-6)).clamp(max=1.0))  # as torch.nn.utils.clip_grad_norm_

    def _remember(self, *_: Any) -> None:
        self._before = self.stack.weights.detach().clone()

    @torch.no_grad()
    def _shorten(self, *_: Any) -> None:
        self.stack.weights.copy_(self._before.lerp_(self.stack.weights, self._shares))
