"""Gradients of the tasks' losses, for the gradient balancers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardfirst.balancers._autograd import gradients_of


class RowMemory:
    """The memory of a Jacobian. On the CPU it is reused from step to step, since new pages cost more than writing to them.

    The allocators of other devices reuse memory themselves. Copies and pickles are empty.
    """

    def __init__(self) -> None:
        self._kept = torch.empty(0)

    def rows(self, count: int, size: int, device: torch.device) -> Tensor:
        """Return uninitialized rows [count, size], float32. On the CPU they reuse the memory of the previous call."""
        if device.type != "cpu":
            return torch.empty(count, size, device=device)
        if len(self._kept) < count * size:
            self._kept = torch.empty(0)  # freed first, so that there are never two
            self._kept = torch.empty(count * size, dtype=torch.float32)
        return self._kept[: count * size].view(count, size)

    def holds(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() == self._kept.untyped_storage().data_ptr()

    def __reduce__(self) -> tuple[type["RowMemory"], tuple[()]]:
        return RowMemory, ()


class TaskGradients:
    """The gradients of some tasks' losses.

    Args:
        memory: the memory for the Jacobian.
        positions: the positions of these tasks in the balancer's `tasks`, in ascending order.
        shared: the shared parameters, n numbers in all.
        heads: the other leaves of the losses' graphs.

    Attributes:
        positions: as given; after `keep`, of the remaining rows.
        jacobian: [k, n] float32, a row for each of these tasks; 0 where its loss does not depend on `shared`.
        has_row: for each row, whether the loss depends on `shared`.
        reached: for each shared parameter, whether a loss depends on it.
        heads: each head's gradient, summed over tasks; None where no loss depends on it.
    """

    def __init__(self, memory: RowMemory, positions: list[int], shared: Sequence[Tensor], heads: Sequence[Tensor]) -> None:
        self.positions = positions
        self._shared = shared
        self._sizes = [parameter.numel() for parameter in shared]
        self._scale = 1.0
        self.jacobian = memory.rows(len(positions), sum(self._sizes), shared[0].device)  # `differentiate` fills it
        self.has_row = [False] * len(positions)
        self.reached = [False] * len(shared)
        self.heads: dict[Tensor, Tensor | None] = dict.fromkeys(heads)

    def differentiate(self, losses: Mapping[int, Tensor], factors: Tensor, scale: float) -> None:
        """Compute all gradients.

        Args:
            losses: by position, the losses that have a graph.
            factors: [T], the factors of the gradients.
            scale: multiplies the gradients inside the graph only, so that small float16 numbers do not underflow there.
        """
        self._scale = scale
        self.reached = [False] * len(self._shared)
        self.heads = dict.fromkeys(self.heads)
        leaves = [*self._shared, *self.heads]
        for row, position in enumerate(self.positions):
            loss = losses.get(position)
            gradients: Sequence[Tensor | None] = [None] * len(leaves)
            if loss is not None:
                gradients = gradients_of(loss, leaves, (factors[position] * scale).to(loss.dtype))
            self._fill(row, gradients[: len(self._shared)])
            for head, gradient in zip(self.heads, gradients[len(self._shared) :], strict=True):
                if gradient is not None:
                    total = self.heads[head]
                    self.heads[head] = gradient if total is None else total + gradient

    def _fill(self, row: int, parts: Sequence[Tensor | None]) -> None:
        """Write a task's gradients of the shared parameters into its row, without the scale."""
        self.has_row[row] = any(part is not None for part in parts)
        for index, (part, piece) in enumerate(zip(parts, torch.split(self.jacobian[row], self._sizes), strict=True)):
            if part is None:
                piece.zero_()
            else:
                self.reached[index] = True
                torch.mul(part.detach().float().flatten(), 1 / self._scale, out=piece)

    def heads_are_finite(self) -> Tensor:
        """Return a 0-d bool on the device. A sum of finite numbers that overflows counts as not finite."""
        # a sum is one number per head to check; `isfinite` would allocate a mask of the head's size
        gradients = [gradient for gradient in self.heads.values() if gradient is not None]
        sums = [gradient.sum(dtype=torch.promote_types(gradient.dtype, torch.float32)) for gradient in gradients]
        flags = [total.isfinite().to(self.jacobian.device) for total in sums]
        return torch.stack(flags).all() if flags else torch.ones((), dtype=torch.bool, device=self.jacobian.device)

    def take_out(self, rows: Sequence[int]) -> Tensor | None:
        """Set some rows to 0, and return their sum [n]; None if the list is empty."""
        total = self.jacobian[rows].sum(0) if rows else None
        for row in rows:
            self.jacobian[row].zero_()
        return total

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in place, since the Jacobian may be large."""
        for goal, row in enumerate(rows):
            if goal != row:
                self.jacobian[goal].copy_(self.jacobian[row])
        self.jacobian = self.jacobian[: len(rows)]
        self.positions = [self.positions[row] for row in rows]

    def by_leaf(self, update: Tensor) -> dict[Tensor, Tensor]:
        """Return the gradient of each leaf that a loss depends on, given that of the shared parameters [n]."""
        of_shared = {
            parameter: part.view_as(parameter)
            for parameter, part, reached in zip(self._shared, torch.split(update, self._sizes), self.reached, strict=True)
            if reached
        }
        of_heads = {head: torch.zeros_like(head) if g is None else g / self._scale for head, g in self.heads.items()}
        return {**of_shared, **of_heads}


class Deliveries(list[Tensor]):
    """The gradients that a `Delivery` has for its leaves. Unlike a plain list, it supports weak references."""

    def move_out_of(self, memory: RowMemory) -> None:
        """Copy the gradients that are stored in the memory of the Jacobian, which the next step overwrites."""
        self[:] = [gradient.clone() if memory.holds(gradient) else gradient for gradient in self]


class Delivery(torch.autograd.Function):
    """A scalar whose backward delivers given gradients to given leaves, each times the gradient of the scalar."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, gradients: Deliveries, *leaves: Tensor) -> Tensor:
        ctx.gradients, ctx.dtypes = gradients, [leaf.dtype for leaf in leaves]
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Any, ...]:
        # None for `total` and the list. `factor` contains the loss scale: small float16 gradients need it before the cast.
        scaled = (gradient * factor.to(gradient.dtype) for gradient in ctx.gradients)
        return None, None, *(gradient.to(dtype) for gradient, dtype in zip(scaled, ctx.dtypes, strict=True))
