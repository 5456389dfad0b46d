"""The base classes of methods that combine the tasks' gradients rather than their losses."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hardfirst._task_state import Group
from hardfirst.balancers._autograd import gradients_of, no_dependence_error, other_leaves, require_trainable
from hardfirst.balancers._base import Balancer, KPIs, Losses
from hardfirst.balancers._ops import refuse_to_compile
from hardfirst.balancers._task_gradients import Delivery, TaskGradients, gramian
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
    joint = True
    equal_alone = True
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
        self.watch.step(self, len(losses))
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
            total = Delivery.apply(total, list(by_leaf.values()), *by_leaf)  # type: ignore[no-untyped-call]
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
    ) -> TaskGradients:
        """Each present task's gradient of the shared parameters and the heads, averaged over ranks."""
        heads = other_leaves(losses.values(), shared)
        nonzero = (vector != 0).tolist()
        present = [index for index, task in enumerate(self.tasks) if task in losses and nonzero[index]]
        # Scaling up keeps small float16 gradients from underflowing; if large ones overflow instead, do without.
        for scale in (_SCALE, 1.0):
            gradients = TaskGradients(len(self.tasks), shared, heads)
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

    def _average_over_ranks(self, gradients: TaskGradients) -> None:
        """Replace each row by its mean over the ranks that have it."""
        if not self.is_distributed():
            return
        self._compare_tasks(gradients.jacobian.device)
        # absent rows are 0, so that a sum over all ranks, divided by how many have the row, is the mean
        counts = torch.cat([gradients.present, gradients.reached]).to(gradients.jacobian)
        dist.all_reduce(counts, group=self.process_group or None)
        dist.all_reduce(gradients.jacobian, group=self.process_group or None)
        ranks_with_task, ranks_with_parameter = counts[: len(self.tasks)], counts[len(self.tasks) :]
        gradients.jacobian.div_(ranks_with_task.clamp(min=1).unsqueeze(1))
        gradients.present, gradients.reached = ranks_with_task.cpu() > 0, ranks_with_parameter.cpu() > 0

    def _update_by_leaf(self, gradients: TaskGradients, factors: Tensor) -> dict[Tensor, Tensor]:
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
