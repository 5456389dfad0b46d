"""Base classes of methods that combine the tasks' gradients rather than their losses."""

import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from hardfirst._task_state import Group, send
from hardfirst.balancers._autograd import no_dependence_error, other_leaves, require_features, require_trainable
from hardfirst.balancers._base import Balancer, KPIs, Losses
from hardfirst.balancers._host import HostReader, Readings, to_host
from hardfirst.balancers._ops import refuse_features, refuse_to_compile
from hardfirst.balancers._rows import combine, gramian, update_memory
from hardfirst.balancers._task_gradients import Deliveries, Delivery, RowMemory, TaskGradients
from hardfirst.errors import InputError

_SCALE = 2.0**12  # a power of 2: exact in float32 and bfloat16


class GradientBalancer(Balancer, HostReader):
    r"""Base class of methods that combine the rows of the Jacobian J [T, n]: each task's gradient of n shared parameters.

    The combination becomes the gradient of the shared parameters. All other parameters, those of the heads, get the gradient
    of their own tasks' losses. `backward` calls `using` once, with a scalar whose value is the sum of the losses and whose
    graph leads straight to the parameters, so accumulation, DDP and `GradScaler` work as usual. With a scaler, pass the
    unscaled losses and `using=lambda total: scaler.scale(total).backward()`.

    A task that is absent, or does not depend on the shared parameters, has no row. A loss of exactly 0 counts as absent only
    if its gradient is also 0, so a signed loss may be 0 by chance. With several ranks, each row is the mean over the ranks
    that have the task; the update equals that of the full batch if these ranks have equally many labels. Micro-batches do
    not add up to one batch: each is combined separately. Hooks on parameters see each task's gradient, and then the combined
    one. The balancer cannot be compiled; the network can, with `torch._functorch.config.donated_buffer = False`.

    `backward` also accepts `features`, what the network computed for all tasks, in place of `shared`. J then holds the
    gradients of the features, and the layers before them run backward once with the combination: about T times cheaper for T
    tasks. The result differs from that with parameters: a guarantee that no task gets worse, for example, then applies to
    the features only.

    `weights` are the weights of the rows in the latest training step in which the task was present; 1 before its first.

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
        >>> print((shared.grad / shared.grad.norm()).numpy().round(2))  # improves both tasks, although they conflict
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
        self._memory = RowMemory()

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return dict(zip(self.tasks, self.weight.clone().unbind(), strict=True))

    def forward(self, *_: object, **__: object) -> NoReturn:
        """Raise an error: a gradient balancer has no total to return.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"{type(self).__name__} combines gradients and has no total. Replace `loss = balancer(losses)` and "
            "`loss.backward()` with `balancer.backward(losses, shared=network.shared_parameters())`."
        )

    @final
    def backward(
        self,
        losses: Losses,
        kpis: KPIs | None = None,
        *,
        shared: Iterable[nn.Parameter] | None = None,
        features: Tensor | Iterable[Tensor] | None = None,
        using: Callable[[Tensor], Any] = Tensor.backward,
    ) -> None:
        if torch.compiler.is_compiling():
            refuse_to_compile(type(self).__name__)
        vector = self._stack_losses(losses).detach()
        self._follow_device(vector)
        self.watch.step(self, len(losses))
        if kpis is not None and self.training:
            self.update(kpis)
        with_graph = {n: losses[task] for n, task in enumerate(self.tasks) if task in losses and losses[task].requires_grad}
        common = self._common(shared, features, with_graph.values())
        # a separate method, so that a device can free the Jacobian before `using` makes copies of the gradient
        by_leaf = self._gradient_by_leaf(with_graph, vector, common)
        # The host runs backward on a scalar (GradScaler, DDP's hooks and gradient accumulation rely on it), so the update
        # is placed in a graph node that leads from this scalar straight to the leaves.
        total = vector.sum()
        if not by_leaf:
            using(total.requires_grad_())
            return
        gradients = Deliveries(by_leaf.values())
        total = Delivery.apply(total, gradients, *by_leaf)  # type: ignore[no-untyped-call]
        if not self.training:
            self.watch.follow(self, total)
        later = weakref.ref(gradients)
        del gradients, by_leaf
        using(total)
        del total
        if (gradients_for_later := later()) is not None:
            gradients_for_later.move_out_of(self._memory)

    @abstractmethod
    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Combine the tasks' gradients. Called with gradients disabled, once per `backward` in which a task has a gradient.

        Change state in training mode only (`self.training`).

        Args:
            jacobian: [k, n] float32, all finite: one row for each of the k tasks that are present and depend on the n shared
                parameters, averaged over ranks and multiplied by `gradient_factors`. It may be overwritten.
            gramian: [k, k] float64 on the CPU, the inner products of the rows. To read other tensors, see `reads`.
            present: [k] int64 on the CPU, k ≥ 1: the positions of these tasks in `tasks`.

        Returns:
            The gradient of the shared parameters [n], and the weights of the rows [k], for logging.
        """

    def gradient_factors(self, losses: Tensor) -> Tensor:
        """Return the derivative of the function of each loss that the method differentiates; 1 by default.

        Called before the losses are differentiated. The gradients of the heads are multiplied by it as well.

        Args:
            losses: [T] float32 without a graph; 0 where a task is absent.

        Returns:
            [T].
        """
        return torch.ones_like(losses)

    def _common(
        self, shared: Iterable[nn.Parameter] | None, features: Tensor | Iterable[Tensor] | None, losses: Iterable[Tensor]
    ) -> Sequence[Tensor]:
        """Return the tensors whose gradients are combined: parameters or features."""
        method = type(self).__name__
        if features is None:
            return require_trainable(shared, method)
        if shared is not None:
            raise InputError(f"{method} takes either `shared` or `features`; got both. Leave one out.")
        if not self.takes_features:
            refuse_features(method)
        if self.is_distributed():
            raise InputError(
                f"{method} cannot average gradients of `features` over ranks, since each rank has different examples. "
                "Give `shared=network.shared_parameters()` instead."
            )
        return require_features(features, losses, method)

    def _gradient_by_leaf(
        self, losses: Mapping[int, Tensor], vector: Tensor, common: Sequence[Tensor]
    ) -> dict[Tensor, Tensor]:
        """Compute the gradient of each leaf: combined for shared parameters, of its own task's loss for a head."""
        factors = self.gradient_factors(vector.float())
        # ranks exchange the rows of all tasks
        positions = range(len(self.tasks)) if self.is_distributed() else losses
        gradients = TaskGradients(self._memory, list(positions), common, other_leaves(losses.values(), common))
        readings = Readings(self)
        # Scaling up keeps small float16 gradients from underflowing. If large ones overflow, repeat without the scale.
        for scale in (_SCALE, 1.0):
            gradients.differentiate(losses, factors, scale)
            with torch.no_grad():
                products, values, heads_finite, *read = to_host(
                    gramian(gradients.jacobian), vector, gradients.heads_are_finite(), *readings.buffers()
                )
            if products.isfinite().all() and heads_finite:
                break
        with torch.no_grad():
            nonfinite, products = self._select(gradients, products, values)
            if values.any() and not any(gradients.reached):
                raise no_dependence_error("shared" if common[0].is_leaf else "features")
            update = self._combine(gradients, products, factors, readings, read)
            return gradients.by_leaf(update if nonfinite is None else update + nonfinite)

    def _select(self, gradients: TaskGradients, products: Tensor, losses: Tensor) -> tuple[Tensor | None, Tensor]:
        """Keep the rows that take part, with their inner products; also return the sum of the rows that are not finite.

        The method ignores the latter, but the update includes them, so that a GradScaler sees them and skips the step.
        """
        squares, values = products.diagonal(), losses[gradients.positions]
        finite = (squares.isfinite() & values.isfinite()).tolist()
        # a loss may be 0 by chance; without labels its gradient is also 0
        zero = ((squares == 0) & (values == 0)).tolist()
        rows = range(len(finite))
        nonfinite = gradients.take_out([row for row in rows if gradients.has_row[row] and not finite[row]])
        kept = [row for row in rows if gradients.has_row[row] and finite[row] and not zero[row]]
        if self.is_distributed():
            kept, products = self._average_over_ranks(gradients, kept)
        gradients.keep(kept)
        return nonfinite, products[kept][:, kept]

    def _average_over_ranks(self, gradients: TaskGradients, kept: list[int]) -> tuple[list[int], Tensor]:
        """Replace each row by its mean over the ranks that keep it; return the rows kept by any rank and their products."""
        group, rows = self.process_group or None, gradients.jacobian
        self._compare_tasks(rows.device)
        has = [row in kept for row in range(len(rows))]
        # the other rows are 0, so the sum over all ranks divided by the number of ranks with the row is the mean
        gradients.take_out([row for row, kept_here in enumerate(has) if not kept_here])
        counts = torch.tensor([*has, *gradients.reached]).to(rows)
        dist.all_reduce(counts, group=group)
        dist.all_reduce(rows, group=group)
        rows.div_(counts[: len(rows)].clamp(min=1).unsqueeze(1))
        products, counts = to_host(gramian(rows), counts)
        gradients.reached = (counts[len(rows) :] > 0).tolist()
        return counts[: len(rows)].nonzero().flatten().tolist(), products

    def _combine(
        self, gradients: TaskGradients, products: Tensor, factors: Tensor, readings: Readings, read: Sequence[Tensor]
    ) -> Tensor:
        """Compute the gradient of the shared parameters [n]; in training mode, also set `weight`."""
        if not gradients.positions:
            return gradients.jacobian.new_zeros(gradients.jacobian.shape[1])
        present = torch.tensor(gradients.positions)
        with readings.received(read):
            combined, weights = self.aggregate(gradients.jacobian, products, present)
        if self.training:
            device, dtype = self.weight.device, self.weight.dtype
            present = send(present, device)
            self.weight[present] = send(weights, device, dtype) * factors[present].to(self.weight)
        return combined


class GramianBalancer(GradientBalancer):
    """Base class of methods whose update is a weighted sum of the rows, with weights that depend only on inner products.

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
    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.gramian_weights(gramian, present)
        return combine(weights, jacobian, update_memory(jacobian)), weights

    @abstractmethod
    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        """Compute the weights of the rows. Called in the same way as `aggregate`.

        Args:
            gramian: [k, k] float64 on the CPU, the inner products of the k rows.
            present: [k], as in `aggregate`.

        Returns:
            [k].
        """
