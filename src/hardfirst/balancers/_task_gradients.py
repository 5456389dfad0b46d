"""The gradients of the tasks' losses, for the gradient balancers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hardfirst.balancers._autograd import flat


class TaskGradients:
    """The gradients of all tasks' losses.

    Args:
        tasks: how many tasks there are.
        shared: the shared parameters, n numbers in all.
        heads: the other leaves of the losses' graphs.

    Attributes:
        jacobian: [T, n] float32, a row for each task; 0 where a task has none.
        present: [T] bool on the CPU, the tasks that have a row.
        reached: [len(shared)] bool on the CPU, the parameters that a loss depends on.
        heads: each head's gradient, summed over tasks; None where no loss depends on it.
        nonfinite: [n], the sum of the rows that are not finite. They have no part in the method, but go into the update, so
            that a GradScaler sees them and skips the step.
    """

    def __init__(self, tasks: int, shared: list[nn.Parameter], heads: list[Tensor]) -> None:
        size = sum(parameter.numel() for parameter in shared)
        self.shared = shared
        self.jacobian = torch.zeros(tasks, size, device=shared[0].device)
        self.present = torch.zeros(tasks, dtype=torch.bool)
        self.reached = torch.zeros(len(shared), dtype=torch.bool)
        self.heads: dict[Tensor, Tensor | None] = dict.fromkeys(heads)
        self.nonfinite = torch.zeros(size, device=shared[0].device)

    def add(self, index: int, gradients: Sequence[Tensor | None]) -> None:
        """Add a task's gradients of the shared parameters and the heads."""
        of_shared, of_heads = gradients[: len(self.shared)], gradients[len(self.shared) :]
        reached = torch.tensor([gradient is not None for gradient in of_shared])
        if reached.any():
            flat(of_shared, self.shared, out=self.jacobian[index])
            self.present[index] = True
            self.reached |= reached
        for head, gradient in zip(self.heads, of_heads, strict=True):
            if gradient is not None:
                total = self.heads[head]
                self.heads[head] = gradient if total is None else total + gradient

    def all_finite(self) -> bool:
        """Whether no gradient has overflowed."""
        tensors = [self.jacobian, *(gradient for gradient in self.heads.values() if gradient is not None)]
        return bool(torch.stack([tensor.isfinite().all().to(self.jacobian.device) for tensor in tensors]).all())

    def divide(self, scale: float) -> None:
        """Divide all gradients by the factor that they were computed with."""
        if scale != 1:
            self.jacobian.div_(scale)
            self.heads = {head: None if gradient is None else gradient / scale for head, gradient in self.heads.items()}

    def set_aside_nonfinite(self, losses: Tensor) -> None:
        """Move the rows of tasks whose loss or gradient is not finite from `jacobian` to `nonfinite`."""
        broken = self.present & ~(losses.isfinite() & self.jacobian.isfinite().all(1)).cpu()
        if broken.any():
            self.nonfinite += self.jacobian[broken].sum(0)
            self.jacobian[broken] = 0
            self.present &= ~broken

    def by_leaf(self, update: Tensor) -> dict[Tensor, Tensor]:
        """The gradient of each leaf that a loss depends on, given that of the shared parameters [n]."""
        parts = torch.split(update, [parameter.numel() for parameter in self.shared])
        of_shared: dict[Tensor, Tensor] = {
            parameter: part.view_as(parameter).to(parameter.dtype)
            for parameter, part, reached in zip(self.shared, parts, self.reached.tolist(), strict=True)
            if reached
        }
        of_heads = {head: torch.zeros_like(head) if g is None else g for head, g in self.heads.items()}
        return {**of_shared, **of_heads}


class Delivery(torch.autograd.Function):
    """A scalar whose backward delivers given gradients to given leaves, each times the gradient of the scalar."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, gradients: list[Tensor], *leaves: Tensor) -> Tensor:
        ctx.gradients = gradients
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Any, ...]:
        # none for `total` and the list; a loss scale arrives in `factor`
        return None, None, *(gradient * factor.to(gradient.dtype) for gradient in ctx.gradients)


def gramian(rows: Tensor) -> Tensor:
    """The inner products [k, k] of rows [k, n], summed in float64; on the CPU, where the small problem is solved."""
    # Each slice is short enough for a float32 product; a float64 copy of the whole Jacobian would double its memory.
    return torch.stack([part @ part.T for part in torch.split(rows, 2**16, dim=1)]).cpu().double().sum(0)
