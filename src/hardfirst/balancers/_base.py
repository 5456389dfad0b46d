"""What every balancer is, whatever its method."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from hardfirst._spec import Value
from hardfirst._task_state import TaskState
from hardfirst.balancers._search_space import Range
from hardfirst.errors import InputError, check_names, mapping

Losses = Mapping[str, Tensor]
KPIs = Mapping[str, Tensor | float]


class Balancer(TaskState, ABC):
    """Decides how much each task counts in a training step.

    State is buffers, never parameters: `parameters()` is empty, so that no user's optimizer or weight decay touches it,
    and `state_dict` resumes bit for bit. It changes in training mode only (`update`, `end_epoch` and `reset` always act).

    Args:
        tasks: distinct non-empty strings.
        process_group: the ranks that measurements are averaged over, one collective of [2, T] in a training step; None
            for the default group, False for none. It is left out of copies and pickles, which use the default group.

    Example:
        >>> import torch, hardfirst
        >>> balancer = hardfirst.Spec.parse("dtp").build(["depth", "segment"])
        >>> loss = torch.tensor(0.5, requires_grad=True)
        >>> balancer.backward({"depth": loss, "segment": 2 * loss}, kpis={"depth": 0.9, "segment": 0.6})
        >>> loss.grad
        tensor(3.9019)
        >>> dict(balancer.state_dict())
        {'kpi.average': tensor([0.9000, 0.6000])}
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the method cannot work without: any of "kpis", "epochs" (calls of `end_epoch`), "shared" (parameters)."""

    linear: ClassVar[bool] = True
    """Whether the total is linear in the losses, with `weights` as the factors, and micro-batches therefore add up."""

    compiles: ClassVar[bool] = True
    """Whether the method runs under `torch.compile`; one that does not says so when it is tried."""

    ranges: ClassVar[Mapping[str, Range]] = MappingProxyType({})
    """The options that a study may tune, each with where to look; the defaults are tried as well."""

    controls: ClassVar[Mapping[str, Mapping[str, Value]]] = MappingProxyType({})
    """The variants that a study adds to show what the method owes its effect to: by name, the options that differ; None
    takes an option away."""

    def update(self, kpis: KPIs) -> None:
        """Take in one observation of each task's KPI; does nothing in a method that KPIs do not drive.

        Args:
            kpis: by task, a number in [0, 1] or a 0-d tensor, 1 is best. A task that is left out or NaN stays as it was.

        Raises:
            InputError: a name is unknown, or a value is not in [0, 1].
        """
        check_names("task", kpis, self.tasks)

    def end_epoch(self) -> None:
        """Say that an epoch is over; does nothing in a method without epochs."""

    @abstractmethod
    def backward(
        self,
        losses: Losses,
        kpis: KPIs | None = None,
        *,
        shared: Iterable[nn.Parameter] | None = None,
        using: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        """Balance and back-propagate; works for every method, so that a loop needs no `if`.

        Args:
            losses: by task, a 0-d tensor with its graph; a task without labels is left out, or 0.
            kpis: as in `update`, which is called first when in training mode.
            shared: the parameters that all tasks use, for the methods that need them.
            using: how the host runs backward on a scalar, e.g. `fabric.backward` or `accelerator.backward`.
        """

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, Tensor]:
        """Each task's weight by the current state: 0-d tensors without a graph, for logging.

        For what a task really counted in a step of a `LossBalancer`, see `task_weights`.
        """

    def _loss_vector(self, losses: Losses) -> Tensor:
        if type(losses) is not dict:
            mapping("losses", losses, f"{{{self.tasks[0]!r}: loss}}")
        if not losses:
            return torch.zeros(len(self.tasks), requires_grad=True)  # nothing labelled at all: a 0 that has a graph
        vector = self._vector(losses, "loss", absent=0.0, check=_not_a_tensor)
        if not vector.is_floating_point():
            kinds = ", ".join(f"{task!r} {loss.dtype}" for task, loss in losses.items())
            raise InputError(f"Expected losses to be floating-point tensors, which have gradients; got {kinds}.")
        state = next(iter(self._buffers.values()), None)
        if state is not None and state.device != vector.device:
            self._follow(state, vector)
        return vector

    def _follow(self, state: Tensor, losses: Tensor) -> None:
        """Go to the device of the losses, as a balancer has to that was made in passing."""
        if losses.is_meta:
            raise InputError("The losses are on the device meta, where they have no values; compute them on another one.")
        if state.is_meta:
            raise InputError(
                f"{type(self).__name__} is on the device meta, where it has no state: call "
                f"`to_empty(device={str(losses.device)!r})` and then `reset()`, or make it on a real device."
            )
        self.to(losses.device)

    def _measured(self, losses: Tensor) -> Tensor:
        """What may enter state: detached float32 losses [T], NaN for absent tasks, averaged over ranks."""
        detached = losses.detach().float()
        return self._mean_over_ranks(torch.where((detached != 0) & detached.isfinite(), detached, torch.nan))


class LossBalancer(Balancer):
    """A method that makes one scalar of the losses.

    A method implements `_weights` (from its state) and `_total` (its equation), and `_learn` or `_learn_from_gradients` if
    it learns from losses.

    Example:
        A method of one's own, which counts only the highest loss:

        >>> import torch, hardfirst
        >>> class Highest(hardfirst.LossBalancer):
        ...     def _weights(self):
        ...         return torch.ones(len(self.tasks))
        ...     def _total(self, losses, kpis):
        ...         return losses.max()
        >>> Highest(["a", "b"])({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
        tensor(2.)
    """

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(self, losses: Losses, kpis: KPIs | None = None, *, shared: Iterable[nn.Parameter] | None = None) -> Tensor:
        """The balanced total, one balancer step in training mode.

        Args:
            losses: by task, a 0-d tensor with its graph. A task left out, or exactly 0 because nothing was labelled,
                adds nothing and changes no other task's weight. NaN and infinite losses reach the total, never the state.
            kpis: as in `update`, which is called first when in training mode.
            shared: the parameters that all tasks use, for the methods that need them.

        Returns:
            A 0-d tensor to call `backward` on.

        Raises:
            InputError: a name is unknown, or a loss is not a 0-d tensor.
        """
        if not self.compiles and torch.compiler.is_compiling():
            refuse_to_compile(type(self).__name__)
        vector = self._loss_vector(losses)
        observed = kpis if self.training else None
        if observed is not None:
            self.update(observed)
        total = self._total(vector, observed)
        if self.training:
            self._learn(vector)
            self._learn_from_gradients(losses, shared)
        return total

    @final
    def backward(
        self,
        losses: Losses,
        kpis: KPIs | None = None,
        *,
        shared: Iterable[nn.Parameter] | None = None,
        using: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        using(self(losses, kpis, shared=shared))

    @property
    def weights(self) -> Mapping[str, Tensor]:
        with torch.no_grad():
            return dict(zip(self.tasks, self._weights().detach().unbind(), strict=True))

    @abstractmethod
    def _weights(self) -> Tensor:
        """The weights [T] by the current state, in fresh memory."""

    @abstractmethod
    def _total(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        """The method's equation: losses [T], 0 where a task is absent, to a 0-d total. KPIs are those of this step."""

    def _learn(self, losses: Tensor) -> None:
        """Take one learning step from the losses [T] of this training step, after the total was formed."""

    def _learn_from_gradients(self, losses: Losses, shared: Iterable[nn.Parameter] | None) -> None:
        """The same for a method that differentiates each loss by itself, which the vector of all does not allow."""


# a constant is found by running the function while tracing, so that its sentence is not lost in a graph break
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch leaves it untyped
def refuse_to_compile(method: str) -> None:
    """Raise `InputError`; what a method does first when it is compiled and cannot be."""
    raise InputError(
        f"{method} differentiates the losses inside the step, so it runs in eager mode only. "
        "Leave the balancer out of `torch.compile`; the network may be compiled."
    )


@torch.library.custom_op("hardfirst::kept", mutates_args=())
def _kept(state: Tensor) -> Tensor:
    return state.clone()


_kept.register_fake(torch.empty_like)


def kept(state: Tensor) -> Tensor:
    """State, or weights made of it, for use in a total whose step goes on to change that state.

    A compiler may compute a weight again in backward to save memory, from a buffer that has changed by then, and the
    gradient is silently that of the next step's weights (pytorch/pytorch#197039). It does not recompute an operator that
    it does not know.

    Example:
        >>> kept(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    return _kept(state) if torch.compiler.is_compiling() else state


def _not_a_tensor(task: str, loss: object) -> None:
    raise InputError(f"Expected the loss of task {task!r} to be a tensor; got {loss!r}.")


def weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """Σ w·L over the tasks, [T] and [T] → 0-d, in float32 or better; the weights have no graph.

    Example:
        >>> weighted_sum(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.5]))
        tensor(3.5000)
    """
    weights = kept(weights)
    if losses.dtype != weights.dtype:
        losses = losses.to(torch.promote_types(losses.dtype, weights.dtype))
        weights = weights.to(losses.dtype)
    return losses.dot(weights)


def task_weights(total: Tensor, losses: Losses) -> dict[str, Tensor]:
    """What each task really counted: ∂total/∂loss by autograd, whatever the method.

    Args:
        total: the 0-d tensor that a balancer returned.
        losses: the mapping it was given. The graph is kept, so that `backward` can follow.

    Returns:
        By task, a 0-d tensor; 0 where the total does not depend on the loss.

    Example:
        >>> import torch, hardfirst
        >>> losses = {"a": torch.tensor(1.0, requires_grad=True), "b": torch.tensor(2.0, requires_grad=True)}
        >>> task_weights(hardfirst.balancers.Fixed(["a", "b"], {"a": 1.0, "b": 3.0})(losses), losses)
        {'a': tensor(1.), 'b': tensor(3.)}
    """
    live = {task: loss for task, loss in losses.items() if loss.requires_grad}
    found: tuple[Tensor | None, ...] = ()
    if total.requires_grad and live:
        found = torch.autograd.grad(total, list(live.values()), retain_graph=True, allow_unused=True)
    gradients = dict(zip(live, found, strict=False))
    return {
        task: loss.new_zeros(()) if (gradient := gradients.get(task)) is None else gradient for task, loss in losses.items()
    }
