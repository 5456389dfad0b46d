"""The base classes of balancers, and what their equations share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from hardfirst._task_state import TaskState
from hardfirst.balancers._search_space import Range
from hardfirst.errors import InputError, check_names, mapping

Losses = Mapping[str, Tensor]
KPIs = Mapping[str, Tensor | float]


class Balancer(TaskState, ABC):
    """Decides how much each task counts in a training step.

    State is held in buffers (`add_state`), never in parameters: `parameters()` is empty, so no optimizer or weight decay
    touches it, and `state_dict` resumes bit for bit. It changes in training mode only, except in `update`, `end_epoch` and
    `reset`. To write a method, subclass `LossBalancer`, `NonlinearLossBalancer`, `GradientBalancer` or `GramianBalancer`.

    Args:
        tasks: distinct non-empty strings.
        process_group: the ranks that measurements are averaged over, one collective of [2, T] in a training step; None
            for the default group, False for none. Copies and pickles leave it out and use the default group.

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
    """What the method requires: any of "kpis", "epochs" (calls of `end_epoch`), "shared" (parameters)."""

    linear: ClassVar[bool] = True
    """Whether the total is linear in the losses, with `weights` as the factors, so that micro-batches add up."""

    compiles: ClassVar[bool] = True
    """Whether the method runs under `torch.compile`; if not, compiling it raises an error that says so."""

    ranges: ClassVar[Mapping[str, Range]] = MappingProxyType({})
    """The options that a study may tune, each with the range to search; the default is tried as well."""

    single_task_options: ClassVar[frozenset[str]] = frozenset()
    """The options that accept `stl` in a study: for each task, the KPI of its single-task run."""

    @classmethod
    def example_options(cls, tasks: Sequence[str]) -> Mapping[str, Any]:
        """Values for the options without a default, for tests and cards, which have to construct every method.

        Args:
            tasks: distinct non-empty strings.

        Returns:
            Keyword arguments of the class; none here.
        """
        return {}

    def update(self, kpis: KPIs) -> None:
        """Record one observation of each task's KPI. Does nothing in a method that KPIs do not drive.

        Args:
            kpis: by task, a number in [0, 1] or a 0-d tensor; 1 is best. A task that is left out or NaN is not updated.

        Raises:
            InputError: a name is unknown, or a value is not in [0, 1].
        """
        check_names("task", kpis, self.tasks)

    def end_epoch(self) -> None:
        """Mark the end of an epoch; the training loop calls it. Does nothing in a method that does not count epochs."""

    @abstractmethod
    def backward(
        self,
        losses: Losses,
        kpis: KPIs | None = None,
        *,
        shared: Iterable[nn.Parameter] | None = None,
        using: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        """Balance the losses and back-propagate. It works for every method, so a training loop needs no `if`.

        Args:
            losses: by task, a 0-d tensor with its graph; a task without labels is left out, or 0.
            kpis: as in `update`, which is called first when in training mode.
            shared: the parameters that all tasks use, for the methods that need them.
            using: how the host runs backward on a scalar, e.g. `fabric.backward` or `accelerator.backward`.
        """

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, Tensor]:
        """Each task's weight by the current state, for logging: 0-d tensors without a graph.

        `task_weights` gives a task's effective weight in a step of a `LossBalancer`.
        """

    def losses_for_state(self, losses: Tensor) -> Tensor:
        """Losses in the form in which they may enter state.

        Args:
            losses: [T], with or without a graph.

        Returns:
            [T] float32 without a graph, averaged over ranks; NaN for a task that is absent (0) or whose loss is not finite.
        """
        values = losses.detach().float()
        return self.mean_over_ranks(torch.where((values != 0) & values.isfinite(), values, torch.nan))

    def _stack_losses(self, losses: Losses) -> Tensor:
        """The losses as a checked vector [T], 0 where a task is absent."""
        if type(losses) is not dict:
            mapping("losses", losses, f"{{{self.tasks[0]!r}: loss}}")
        if not losses:
            # a batch without labels: backward still needs a graph
            return torch.zeros(len(self.tasks), requires_grad=True, device=self._device)
        vector = self.stack_by_task(losses, "loss")
        if not vector.is_floating_point():
            dtypes = ", ".join(f"{task!r} {loss.dtype}" for task, loss in losses.items())
            raise InputError(f"Expected losses to be floating-point tensors, which have gradients; got {dtypes}.")
        return vector

    def _follow_device(self, losses: Tensor) -> None:
        """Move to the losses' device (a balancer built inline starts on the CPU)."""
        device = self._device
        if device is None or device == losses.device:
            return
        if losses.is_meta:
            raise InputError("The losses are on the device meta, where they have no values; compute them on another one.")
        if device.type == "meta":
            raise InputError(
                f"{type(self).__name__} is on the device meta, where it has no state: call "
                f"`to_empty(device={str(losses.device)!r})` and then `reset()`, or make it on a real device."
            )
        self.to(losses.device)


class LossBalancer(Balancer):
    """A method that combines the losses into one scalar.

    A subclass implements `current_weights` and `combine`; `learn` or `learn_from_gradients` if it learns from losses;
    `update` if KPIs drive it; `end_epoch` if it counts epochs. `__init__` registers state with `add_state`. In training
    mode, `forward` calls `update` (if KPIs are given), `combine`, `learn` and `learn_from_gradients`, in this order; in eval
    mode `combine` alone.

    Example:
        A method that counts only the highest loss:

        >>> import torch, hardfirst
        >>> class Highest(hardfirst.LossBalancer):
        ...     def current_weights(self):
        ...         return torch.ones(len(self.tasks))
        ...     def combine(self, losses, kpis):
        ...         return losses.max()
        >>> Highest(["a", "b"])({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
        tensor(2.)
    """

    _learns: ClassVar[bool] = False
    _learns_from_gradients: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # a method that does not learn pays neither for the losses' mean over ranks nor for a call
        cls._learns = cls.learn is not LossBalancer.learn
        cls._learns_from_gradients = cls.learn_from_gradients is not LossBalancer.learn_from_gradients

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(self, losses: Losses, kpis: KPIs | None = None, *, shared: Iterable[nn.Parameter] | None = None) -> Tensor:
        """Compute the balanced total, and take one balancer step in training mode.

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
        vector = self._stack_losses(losses)
        self._follow_device(vector)
        if not self.training:
            return self.combine(vector, None)
        if kpis is not None:
            self.update(kpis)
        total, values = self._training_total(vector, kpis)
        if self._learns:
            with torch.no_grad():
                self.learn(values)
        if self._learns_from_gradients:
            self.learn_from_gradients(losses, values, shared)
        return total

    def _training_total(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        """The total, and the losses [T] to learn from; only a method that learns has these averaged over ranks."""
        total = self.combine(losses, kpis)
        return total, self.losses_for_state(losses) if self._learns or self._learns_from_gradients else losses

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
            return dict(zip(self.tasks, self.current_weights().detach().unbind(), strict=True))

    @abstractmethod
    def current_weights(self) -> Tensor:
        """The tasks' weights by the current state.

        Called by `weights`, and by `combine` where the total is a weighted sum.

        Returns:
            [T], in the order of `tasks`, in memory that no later step changes (clone a buffer).
        """

    @abstractmethod
    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        """The method's equation. Called once in each `forward`, before `learn`; it must not change state.

        Args:
            losses: [T] with its graph, in the order of `tasks`; 0 where a task is absent, NaN or infinite where its loss is.
            kpis: those of this step, which `update` has seen; None in eval mode, or where none were given.

        Returns:
            The total, 0-d, with its graph.
        """

    def learn(self, losses: Tensor) -> None:
        """Change state by the losses of a training step. Called after `combine`, without gradients; does nothing here.

        Args:
            losses: [T] float32 without a graph, averaged over ranks; NaN where a task is absent or its loss is not finite.
        """

    def learn_from_gradients(self, losses: Losses, values: Tensor, shared: Iterable[nn.Parameter] | None) -> None:
        """Change state by the gradient of each loss. Called after `learn`; does nothing here.

        A method that overrides it sets `needs = frozenset({"shared"})` and `compiles = False`.

        Args:
            losses: by task, as given to `forward`: 0-d tensors with their graph, which has to be retained; absent tasks may
                be missing or 0.
            values: [T], as in `learn`.
            shared: as given to `forward`.
        """


# torch runs the function while tracing to get the constant, so the error is raised as it is, without a graph break
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch leaves it untyped
def refuse_to_compile(method: str) -> None:
    """Raise the `InputError` for a method that is compiled and cannot be."""
    raise InputError(
        f"{method} differentiates the losses inside the step, so it runs in eager mode only. "
        "Leave the balancer out of `torch.compile`; the network may be compiled."
    )


@torch.library.custom_op("hardfirst::no_recompute", mutates_args=())
def _no_recompute(state: Tensor) -> Tensor:
    return state.clone()


_no_recompute.register_fake(torch.empty_like)


def no_recompute(state: Tensor) -> Tensor:
    """Protect state, or weights computed from it, from being recomputed in backward by a compiler.

    Use it on state that enters a total and changes later in the same step. To save memory, a compiler may compute a weight
    again in backward, from a buffer that has changed by then; the gradient is then silently that of the next step's weights
    (pytorch/pytorch#197039). A compiler never recomputes an operator that it does not know.

    Args:
        state: a tensor of any shape without a graph.

    Returns:
        A tensor with the same values: a copy in a compiled graph, `state` itself in eager mode.

    Example:
        >>> no_recompute(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    return _no_recompute(state) if torch.compiler.is_compiling() else state


def weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """Σ w·L over the tasks, [T] and [T] → 0-d, in float32 or better; the weights have no graph.

    Example:
        >>> weighted_sum(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.5]))
        tensor(3.5000)
    """
    weights = no_recompute(weights)
    if losses.dtype != weights.dtype:
        losses = losses.to(torch.promote_types(losses.dtype, weights.dtype))
        weights = weights.to(losses.dtype)
    return losses.dot(weights)


def task_weights(total: Tensor, losses: Losses) -> dict[str, Tensor]:
    """Each task's effective weight in a step, for any method: ∂total/∂loss by autograd.

    Args:
        total: the 0-d tensor that a balancer returned.
        losses: the mapping that it was given. The graph is retained, so `backward` can follow.

    Returns:
        By task, a 0-d tensor; 0 where the total does not depend on the loss.

    Example:
        >>> import torch, hardfirst
        >>> losses = {"a": torch.tensor(1.0, requires_grad=True), "b": torch.tensor(2.0, requires_grad=True)}
        >>> task_weights(hardfirst.balancers.Fixed(["a", "b"], {"a": 1.0, "b": 3.0})(losses), losses)
        {'a': tensor(1.), 'b': tensor(3.)}
    """
    live = {task: loss for task, loss in losses.items() if loss.requires_grad}
    gradients: dict[str, Tensor | None] = {}
    if total.requires_grad and live:
        values = torch.autograd.grad(total, list(live.values()), retain_graph=True, allow_unused=True)
        gradients = dict(zip(live, values, strict=True))
    return {
        task: loss.new_zeros(()) if (gradient := gradients.get(task)) is None else gradient for task, loss in losses.items()
    }
