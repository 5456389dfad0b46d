"""The base class of balancers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from hardfirst._spec import Value
from hardfirst._task_state import Group, TaskState
from hardfirst.balancers._search_space import Range
from hardfirst.balancers._watch import StepWatch, watched
from hardfirst.errors import InputError, check_names, mapping

Losses = Mapping[str, Tensor]
KPIs = Mapping[str, Tensor | float]


class Balancer(TaskState, ABC):
    """Base class of all balancers: decides how much each task counts in a training step.

    State is held in buffers (`add_state`), never in parameters: `parameters()` is empty, so no optimizer or weight decay
    changes it, and `state_dict` restores it exactly. State changes in training mode only, except in `update`, `end_epoch`
    and `reset`. To write a method, subclass `LossBalancer`, `NonlinearLossBalancer`, `GradientBalancer` or
    `GramianBalancer`.

    Args:
        tasks: distinct non-empty strings.
        process_group: the ranks over which measurements are averaged, one collective of [2, T] per training step; None
            for the default group, False for none. Copies and pickles do not keep it and use the default group.

    Example:
        >>> import torch, hardfirst
        >>> balancer = hardfirst.Spec.parse("dtp").build(["depth", "segment"])
        >>> loss = torch.tensor(0.5, requires_grad=True)
        >>> balancer.backward({"depth": loss, "segment": 2 * loss}, kpis={"depth": 0.9, "segment": 0.6})
        >>> loss.grad
        tensor(3.9019)
        >>> balancer.state_dict()["kpi.average"]
        tensor([0.9000, 0.6000])
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    """What the method requires: any of "kpis", "epochs" (calls of `end_epoch`) and "shared" (parameters)."""

    linear: ClassVar[bool] = True
    """Whether the total is linear in the losses, with `weights` as factors, so that micro-batches add up to one batch."""

    compiles: ClassVar[bool] = True
    """Whether the method runs under `torch.compile`. If not, compiling it raises an error."""

    joint: ClassVar[bool] = False
    """Whether a task's weight depends on which other tasks are in the step."""

    equal_alone: ClassVar[bool] = False
    """Whether the method reduces to equal weights when each step has the loss of a single task."""

    takes_features: ClassVar[bool] = True
    """Whether `backward` accepts `features` in place of `shared`. A method that needs neither ignores both."""

    ranges: ClassVar[Mapping[str, Range]] = {}
    """The options that a study may tune, with the range to search for each. A study also tries the default."""

    controls: ClassVar[Mapping[str, Mapping[str, Value]]] = {}
    """The variants that a study adds to find out what causes the method's effect: by name, the options that differ; None
    removes an option."""

    single_task_options: ClassVar[frozenset[str]] = frozenset()
    """The options that accept `stl` in a study: the KPI of each task's single-task run."""

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.watch = StepWatch()
        self._after_pause: bool | None = None  # inside `paused`: the mode to restore

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "end_epoch" in vars(cls):
            cls.end_epoch = watched(cls.end_epoch)  # type: ignore[method-assign]  # a method need not call the base's

    @property
    def needs_steps(self) -> bool:
        """Whether the method depends on the number of training steps and does not know it; see `plan_steps`."""
        return False

    @property
    def restart_step(self) -> int | None:
        """The number of training steps after which network and optimizer go back to step 0; None for never."""
        return None

    @property
    def restarted(self) -> bool:
        """Whether network and optimizer must go back to step 0 before the next training step.

        True between step `restart_step` and the next one, so that a loop which checks it after each step acts once. Reading
        it waits for the device of the state; a loop that counts its steps can compare them to `restart_step`.
        """
        return False

    def plan_steps(self, steps: int) -> None:
        """Set the number of training steps if `needs_steps`. The trainer and the mixins call it before the first step.

        Args:
            steps: the number of training steps of the whole training, those of a resumed run included; at least 1.
        """

    @classmethod
    def example_options(cls, tasks: Sequence[str]) -> Mapping[str, Any]:
        """Return values for the options without a default. Tests and cards use them to construct every method.

        Args:
            tasks: distinct non-empty strings.

        Returns:
            Keyword arguments of the class; none by default.
        """
        return {}

    def update(self, kpis: KPIs) -> None:
        """Record one observation of each task's KPI. Does nothing in a method that does not use KPIs.

        Args:
            kpis: by task, a number in [0, 1] or a 0-d tensor; 1 is best. A task that is missing or NaN is not updated.

        Raises:
            InputError: a name is unknown, or a value is not in [0, 1].
        """
        check_names("task", kpis, self.tasks)

    def end_epoch(self) -> None:
        """Mark the end of an epoch. Call it from the training loop. Does nothing in a method that does not count epochs."""
        self.watch.end_epoch(self)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the balancer in eval mode within a `with` block, even if a parent module calls `train()`.

        Use it when one step evaluates the losses several times: LBFGS and other optimizers with a closure, line searches.
        Call the balancer once in training mode after the step, so that it learns.

        Example:
            >>> import torch, hardfirst
            >>> balancer = hardfirst.DTP(["a", "b"])
            >>> with balancer.paused():
            ...     total = balancer({"a": torch.tensor(1.0)}, kpis={"a": 0.2})
            >>> balancer.kpi.average, balancer.training
            (tensor([nan, nan]), True)
        """
        training, before = self.training, self._after_pause
        self.eval()
        self._after_pause = training if before is None else before
        try:
            yield
        finally:
            self._after_pause = before
            self.train(training)

    @property
    def is_paused(self) -> bool:
        """Whether a `paused` block is active. Copies and pickles made inside the block are not paused."""
        return self._after_pause is not None

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self._after_pause is not None:
            training, self._after_pause = self._after_pause, None
            self.train(training)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, in which the balancer learns, or eval mode. Inside `paused`, eval mode stays."""
        return super().train(mode and not self.is_paused)

    @abstractmethod
    def backward(
        self,
        losses: Losses,
        kpis: KPIs | None = None,
        *,
        shared: Iterable[nn.Parameter] | None = None,
        features: Tensor | Iterable[Tensor] | None = None,
        using: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        """Balance the losses and back-propagate. Every method supports it, so a training loop needs no special cases.

        Args:
            losses: by task, a 0-d tensor with its graph. Leave out a task without labels, or give 0.
            kpis: as in `update`, which is called first in training mode.
            shared: the parameters that all tasks use, for the methods that need them.
            features: in place of `shared`, the heads' inputs: what the network computed for all tasks, with its graph. The
                method combines the gradients of these, and the layers before them run backward once.
            using: the function that runs backward on a scalar, such as `fabric.backward` or `accelerator.backward`.
        """

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, Tensor]:
        """Each task's weight in the current state, for logging: 0-d tensors without a graph.

        `task_weights` gives the effective weight of a task in one step of a `LossBalancer`.
        """

    def losses_for_state(self, losses: Tensor) -> Tensor:
        """Return the losses in the form that may enter state.

        Args:
            losses: [T], with or without a graph.

        Returns:
            [T] float32 without a graph, averaged over ranks; NaN for an absent task (0), and for a loss that is not
            finite or beyond 2⁶⁴, since Adam squares losses and sums of squares would overflow.
        """
        values = losses.detach().float()
        scaled = values * 2.0**64
        # 0/0 and ∞/∞ are NaN; the factor is the least positive number, since a compiler drops a quotient multiplied by 0
        return self.mean_over_ranks(torch.addcdiv(values, scaled, scaled, value=2.0**-149))

    def _stack_losses(self, losses: Losses) -> Tensor:
        """Check the losses and return them as a vector [T], with 0 where a task is absent."""
        if type(losses) is not dict:
            mapping("losses", losses, f"{{{self.tasks[0]!r}: loss}}")
        if not losses:
            # a batch without labels: backward still requires a graph
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
            raise InputError("The losses are on the device meta, where they have no values. Compute them on another device.")
        if device.type == "meta":
            raise InputError(
                f"{type(self).__name__} is on the device meta, where it has no state. Call "
                f"`to_empty(device={str(losses.device)!r})` and then `reset()`, or create it on a real device."
            )
        self.to(losses.device)
