"""The base classes of methods that combine the tasks' gradients rather than their losses."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hardfirst._task_state import Group
from hardfirst.balancers._autograd import flat, gradients_of, no_dependence_error, other_leaves, require_trainable
from hardfirst.balancers._base import Balancer, KPIs, Losses, refuse_to_compile
from hardfirst.errors import InputError

_SCALE = 2.0**12  # a power of 2: exact in float32 and bfloat16


class GradientBalancer(Balancer):
    r"""A method that combines the rows of the Jacobian J [T, n]: each task's gradient of the n shared parameters.

    The combination becomes the gradient of the shared parameters. All other parameters, those of the heads, get the gradient
    of their own tasks' losses. `backward` calls `using` once, with a scalar whose value is the sum of the losses and whose
    graph leads straight to the parameters, so accumulation, DDP and `GradScaler` work as usual: under a scaler, pass the
    unscaled losses, and `using=lambda total: scaler.scale(total).backward()`.

    A task that is absent, or does not depend on the shared parameters, has no row. Over several ranks each row is the mean
    over the ranks that have the task, so that the update is that of the full batch where these have equally many labels.
    Micro-batches do not add up to one batch: each is combined by itself. Hooks on parameters see each task's gradient, and
    then the combined one. The balancer cannot be compiled; a network may be, with
    `torch._functorch.config.donated_buffer = False`.

    `weights` are the weights of the rows in the latest training step in which the task was present; 1 before the first.

    A subclass implements `aggregate`, and `gradient_factors` if it differentiates a function of each loss.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.

    Example:
        >>> import torch
        >>> from hardfirst.balancers import UPGrad
        >>> shared = torch.nn.Parameter(torch.tensor([1.0, 3.0]))
        >>> balancer = UPGrad(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": shared[1] - shared[0]}, shared=[shared])
        >>> print((shared.grad / shared.grad.norm()).numpy().round(2))  # a step that helps both, though they conflict
        [0.32 0.95]
    """

    needs = frozenset({"shared"})
    linear = False
    compiles = False
    weight: Tensor

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.add_state("weight", 1.0)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return dict(zip(self.tasks, self.weight.clone().unbind(), strict=True))

    def forward(self, *_: object, **__: object) -> NoReturn:
        """Raise an error: there is no total to return.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{type(self).__name__} combines gradients and has no total; in place of `loss = balancer(losses)` and "
            "`loss.backward()` write `balancer.backward(losses, shared=network.shared_parameters())`."
        )

    @final
    def backward(
        self,
        losses: Losses,
        kpis: KPIs | None = None,
        *,
        shared: Iterable[nn.Parameter] | None = None,
        using: Callable[[Tensor], Any] = Tensor.backward,
    ) -> None:
        if torch.compiler.is_compiling():
            refuse_to_compile(type(self).__name__)
        vector = self._stack_losses(losses).detach()
        self._follow_device(vector)
        if kpis is not None and self.training:
            self.update(kpis)
        parameters = require_trainable(shared, type(self).__name__)
        factors = self.gradient_factors(vector.float())
        with_graph = {task: loss for task, loss in losses.items() if loss.requires_grad}
        gradients = self._differentiate(with_graph, vector, factors.tolist(), parameters)
        with torch.no_grad():
            by_leaf = self._update_by_leaf(gradients, factors)
        # The host runs backward on a scalar (a GradScaler, DDP's hooks and gradient accumulation rely on it), so the update
        # goes into a node of the graph that leads from this scalar straight to the leaves.
        total = vector.sum()
        if by_leaf:
            total = _Delivery.apply(total, list(by_leaf.values()), *by_leaf)  # type: ignore[no-untyped-call]
        using(total if by_leaf else total.requires_grad_())

    @abstractmethod
    def aggregate(self, jacobian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Combine the tasks' gradients. Called once in each `backward` in which a task has a gradient, without gradients.

        It changes state in training mode only (`self.training`).

        Args:
            jacobian: [k, n] float32, all finite: a row for each of the k tasks that are present and depend on the n shared
                parameters, averaged over ranks and multiplied by `gradient_factors`.
            present: [k] int64 on the CPU, k ≥ 1: the positions of these tasks in `tasks`.

        Returns:
            The gradient of the shared parameters [n], and the weights of the rows [k], for logging.
        """

    def gradient_factors(self, losses: Tensor) -> Tensor:
        """The derivative of the function of each loss that the method differentiates; 1 here, for the loss itself.

        Called before the losses are differentiated. Heads get their gradients multiplied by it as well.

        Args:
            losses: [T] float32 without a graph; 0 where a task is absent.

        Returns:
            [T].
        """
        return torch.ones_like(losses)

    def _differentiate(
        self, losses: Losses, vector: Tensor, factors: list[float], shared: list[nn.Parameter]
    ) -> "_TaskGradients":
        """Each present task's gradient of the shared parameters and the heads, averaged over ranks."""
        heads = other_leaves(losses.values(), shared)
        nonzero = (vector != 0).tolist()
        present = [index for index, task in enumerate(self.tasks) if task in losses and nonzero[index]]
        # Scaling up keeps small float16 gradients from underflowing; if large ones overflow instead, do without.
        for scale in (_SCALE, 1.0):
            gradients = _TaskGradients(len(self.tasks), shared, heads)
            for index in present:
                gradients.add(index, gradients_of(losses[self.tasks[index]], [*shared, *heads], scale * factors[index]))
            if gradients.all_finite():
                break
        gradients.divide(scale)
        gradients.set_aside_nonfinite(vector)
        self._average_over_ranks(gradients)
        if any(nonzero) and not gradients.reached.any():
            raise no_dependence_error()
        return gradients

    def _average_over_ranks(self, gradients: "_TaskGradients") -> None:
        """Replace each row by its mean over the ranks that have it."""
        if not self.is_distributed():
            return
        # absent rows are 0, so that a sum over all ranks, divided by how many have the row, is the mean
        counts = torch.cat([gradients.present, gradients.reached]).to(gradients.jacobian)
        dist.all_reduce(counts, group=self.process_group or None)
        dist.all_reduce(gradients.jacobian, group=self.process_group or None)
        ranks_with_task, ranks_with_parameter = counts[: len(self.tasks)], counts[len(self.tasks) :]
        gradients.jacobian.div_(ranks_with_task.clamp(min=1).unsqueeze(1))
        gradients.present, gradients.reached = ranks_with_task.cpu() > 0, ranks_with_parameter.cpu() > 0

    def _update_by_leaf(self, gradients: "_TaskGradients", factors: Tensor) -> dict[Tensor, Tensor]:
        """The gradient of each leaf: combined for shared parameters, of the own task's loss for heads."""
        update = gradients.nonfinite
        present = gradients.present.nonzero().squeeze(1)
        if len(present):
            # no copy of the Jacobian, which may be large, in the usual case
            rows = gradients.jacobian if len(present) == len(self.tasks) else gradients.jacobian[present]
            combined, weights = self.aggregate(rows, present)
            update = combined + update
            if self.training:
                self.weight[present] = weights.to(self.weight) * factors[present].to(self.weight)
        return gradients.by_leaf(update)


class _TaskGradients:
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


class _Delivery(torch.autograd.Function):
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


class GramianBalancer(GradientBalancer):
    """A method whose update is a weighted sum of the rows, with weights that depend on their inner products alone.

    A subclass implements `gramian_weights`.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.

    Example:
        >>> import torch
        >>> class UnitLengths(GramianBalancer):
        ...     def gramian_weights(self, gramian, present):
        ...         return gramian.diagonal().rsqrt()
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> UnitLengths(["a", "b"]).backward({"a": 2 * shared[0], "b": 5 * shared[1]}, shared=[shared])
        >>> shared.grad
        tensor([1., 1.])
    """

    @final
    def aggregate(self, jacobian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.gramian_weights(gramian(jacobian), present)
        return weights.to(jacobian) @ jacobian, weights

    @abstractmethod
    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        """The weights of the rows. Called as `aggregate` is.

        Args:
            gramian: [k, k] float64 on the CPU, the inner products of the k rows.
            present: [k], as in `aggregate`.

        Returns:
            [k].
        """


def gramian(rows: Tensor) -> Tensor:
    """The inner products [k, k] of rows [k, n], summed in float64; on the CPU, where the small problem is solved."""
    # Each slice is short enough for a float32 product; a float64 copy of the whole Jacobian would double its memory.
    return torch.stack([part @ part.T for part in torch.split(rows, 2**16, dim=1)]).cpu().double().sum(0)
