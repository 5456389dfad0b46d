"""What the methods share that combine the tasks' gradients rather than their losses."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, final

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hardfirst._task_state import Group
from hardfirst.balancers._autograd import flat, gradients, independent, other_leaves, trained
from hardfirst.balancers._base import Balancer, KPIs, Losses, refuse_to_compile
from hardfirst.errors import InputError

_MAGNIFIED = 2.0**12  # keeps float16 gradients from vanishing on their way; exact in float32 and bfloat16


class GradientBalancer(Balancer):
    r"""A method that combines the rows of the Jacobian J [T, n]: each task's gradient of the n shared parameters.

    The combination becomes the gradient of the shared parameters; all others, the heads', get the gradient of their own
    tasks' losses. `backward` calls `using` once, with a scalar whose value is the sum of the losses and whose graph leads
    straight to the parameters, so that accumulation, DDP and `GradScaler` work as ever: under a scaler give the losses as
    they are, and `using=lambda total: scaler.scale(total).backward()`.

    A task that is absent, or does not depend on the shared parameters, has no row. Over several ranks each row is the mean
    over the ranks that have the task, so that the update is that of the full batch where these have equally many labels.
    Micro-batches do not add up to one batch: each is combined by itself. Hooks on parameters see each task's gradient, and
    then the combined one. The balancer cannot be compiled; a network may be, with
    `torch._functorch.config.donated_buffer = False`.

    `weights` are what the rows were combined with, in the latest training step that had the task; 1 before the first.

    A method implements `_combine`, and `_factors` if it differentiates another function of the losses.

    Example:
        >>> import torch
        >>> from hardfirst.balancers import UPGrad
        >>> shared = torch.nn.Parameter(torch.tensor([1.0, 3.0]))
        >>> balancer = UPGrad(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": shared[1] - shared[0]}, shared=[shared])
        >>> print((shared.grad / shared.grad.norm()).numpy().round(2))  # of use to both, though they conflict
        [0.32 0.95]
    """

    needs = frozenset({"shared"})
    linear = False
    compiles = False
    weight: Tensor

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self._hold("weight", 1.0)

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return dict(zip(self.tasks, self.weight.clone().unbind(), strict=True))

    def forward(self, *_: object, **__: object) -> NoReturn:
        """There is no total to return.

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
        vector = self._loss_vector(losses).detach()
        if kpis is not None and self.training:
            self.update(kpis)
        parameters = trained(shared, type(self).__name__)
        factors = self._factors(vector.float())
        live = {task: loss for task, loss in losses.items() if loss.requires_grad}
        found = self._differentiate(live, vector, factors.tolist(), parameters)
        with torch.no_grad():
            delivered = self._balance(found, factors)
        total = vector.sum()
        if delivered:
            total = _Delivery.apply(total, list(delivered.values()), *delivered)  # type: ignore[no-untyped-call]
        using(total if delivered else total.requires_grad_())

    @abstractmethod
    def _combine(self, rows: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """The method itself; it changes state in training mode only.

        Args:
            rows: float32 [k, n], those of the tasks that are there.
            present: int64 [k], at least one, the tasks' positions; on the CPU.

        Returns:
            The shared parameters' gradient [n], and the weights of the rows [k].
        """

    def _factors(self, losses: Tensor) -> Tensor:
        """What each task's gradient is multiplied by [T]: the derivative of what the method makes of its loss."""
        return torch.ones_like(losses)

    def _differentiate(
        self, losses: Losses, vector: Tensor, factors: list[float], shared: list[nn.Parameter]
    ) -> "_Gradients":
        heads = other_leaves(losses.values(), shared)
        there = (vector != 0).tolist()
        present = [place for place, task in enumerate(self.tasks) if task in losses and there[place]]
        for magnified in (_MAGNIFIED, 1.0):
            found = _Gradients(len(self.tasks), shared, heads)
            for place in present:
                found.add(place, gradients(losses[self.tasks[place]], [*shared, *heads], magnified * factors[place]))
            if found.finite():
                break
        found.divide(magnified)
        found.set_aside_broken(vector)
        self._over_ranks(found)
        if any(there) and not found.reached.any():
            raise independent()
        return found

    def _over_ranks(self, found: "_Gradients") -> None:
        """Each row becomes its mean over the ranks that have it."""
        if not self._shared_by_ranks():
            return
        counts = torch.cat([found.there, found.reached]).to(found.jacobian)
        dist.all_reduce(counts, group=self.process_group or None)
        dist.all_reduce(found.jacobian, group=self.process_group or None)
        there, reached = counts[: len(found.there)], counts[len(found.there) :]
        found.jacobian.div_(there.clamp(min=1).unsqueeze(1))
        found.there, found.reached = there.cpu() > 0, reached.cpu() > 0

    def _balance(self, found: "_Gradients", factors: Tensor) -> dict[Tensor, Tensor]:
        """The gradient of each leaf."""
        update = found.aside
        present = found.there.nonzero().squeeze(1)
        if len(present):
            every = len(present) == len(self.tasks)
            combined, weights = self._combine(found.jacobian if every else found.jacobian[present], present)
            update = combined + update
            if self.training:
                self.weight[present] = weights.to(self.weight) * factors[present].to(self.weight)
        return found.delivered(update)


class _Gradients:
    """What the losses' graphs give."""

    def __init__(self, tasks: int, shared: list[nn.Parameter], heads: list[Tensor]) -> None:
        size = sum(parameter.numel() for parameter in shared)
        self.shared = shared
        self.jacobian = torch.zeros(tasks, size, device=shared[0].device)  # a row for each task
        self.there = torch.zeros(tasks, dtype=torch.bool)  # which of them have one
        self.reached = torch.zeros(len(shared), dtype=torch.bool)  # the parameters that some loss depends on
        self.heads: dict[Tensor, Tensor | None] = dict.fromkeys(heads)
        self.aside = torch.zeros(size, device=shared[0].device)  # rows that are not finite, for the optimizer to see

    def add(self, place: int, parts: Sequence[Tensor | None]) -> None:
        """Take in a task's gradients of the shared parameters and the heads."""
        rows, rest = parts[: len(self.shared)], parts[len(self.shared) :]
        reached = torch.tensor([part is not None for part in rows])
        if reached.any():
            flat(rows, self.shared, out=self.jacobian[place])
            self.there[place] = True
            self.reached |= reached
        for leaf, part in zip(self.heads, rest, strict=True):
            if part is not None:
                before = self.heads[leaf]
                self.heads[leaf] = part if before is None else before + part

    def finite(self) -> bool:
        """Whether nothing has overflown."""
        parts = [self.jacobian, *(part for part in self.heads.values() if part is not None)]
        return bool(torch.stack([part.isfinite().all().to(self.jacobian.device) for part in parts]).all())

    def divide(self, by: float) -> None:
        if by != 1:
            self.jacobian.div_(by)
            self.heads = {leaf: None if part is None else part / by for leaf, part in self.heads.items()}

    def set_aside_broken(self, losses: Tensor) -> None:
        """Rows of tasks whose loss or gradient is not finite have no part in the method."""
        broken = self.there & ~(losses.isfinite() & self.jacobian.isfinite().all(1)).cpu()
        if broken.any():
            self.aside += self.jacobian[broken].sum(0)
            self.jacobian[broken] = 0
            self.there &= ~broken

    def delivered(self, update: Tensor) -> dict[Tensor, Tensor]:
        """The gradient of each leaf that some loss depends on, given that of the shared parameters [n]."""
        parts = torch.split(update, [parameter.numel() for parameter in self.shared])
        given: dict[Tensor, Tensor] = {
            parameter: part.view_as(parameter).to(parameter.dtype)
            for parameter, part, reached in zip(self.shared, parts, self.reached.tolist(), strict=True)
            if reached
        }
        heads = {leaf: torch.zeros_like(leaf) if part is None else part for leaf, part in self.heads.items()}
        return {**given, **heads}


class _Delivery(torch.autograd.Function):
    """A scalar with given gradients: what `using` runs backward on."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, given: list[Tensor], *leaves: Tensor) -> Tensor:
        ctx.given = given
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Any, ...]:
        return None, None, *(gradient * factor.to(gradient.dtype) for gradient in ctx.given)


class GramianBalancer(GradientBalancer):
    """A method whose weights depend on the inner products of the rows alone, and whose update is the weighted sum of rows.

    A method implements `_solve`.
    """

    @final
    def _combine(self, rows: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        weights = self._solve(gramian(rows), present)
        return weights.to(rows) @ rows, weights

    @abstractmethod
    def _solve(self, gramian: Tensor, present: Tensor) -> Tensor:
        """The weights [k] from the rows' inner products [k, k], float64 on the CPU; `present` as in `_combine`."""


def gramian(rows: Tensor) -> Tensor:
    """The inner products [k, k] of rows [k, n], summed in float64; on the CPU, where the small problem is solved."""
    return torch.stack([part @ part.T for part in torch.split(rows, 2**16, dim=1)]).cpu().double().sum(0)
