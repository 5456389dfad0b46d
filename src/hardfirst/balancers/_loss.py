"""Base class of methods that combine the losses into one scalar."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from hardfirst._task_state import Group
from hardfirst.balancers._base import Balancer, KPIs, Losses
from hardfirst.balancers._ops import no_recompute, refuse_features, refuse_to_compile, refuse_without_steps, weighted_sum
from hardfirst.errors import InputError, number, short, whole

Anneal = Sequence[float] | None
"""The start and the end of the change to equal weights, as shares of training; None for no change."""


class LossBalancer(Balancer):
    r"""Base class of methods that combine the losses into one scalar.

    A subclass implements `current_weights`; `combine` unless the total is Σ w·L with these weights; `learn` or
    `learn_from_gradients` if it learns from losses; `update` if it uses KPIs; `end_epoch` if it counts epochs. `__init__`
    registers state with `add_state`. In training mode, `forward` calls `update` (if KPIs are given), `combine`, `learn` and
    `learn_from_gradients`, in this order; in eval mode, only `combine`.

    Every method can change over to equal weights during training: with `anneal`, each weight :math:`w_t` becomes
    :math:`(1 - \lambda) w_t + \lambda`, where :math:`\lambda` rises from 0 to 1. The method itself learns as before.

    Args:
        tasks: distinct non-empty strings.
        anneal: the start and the end of the change, as shares of `steps` in [0, 1]; None for no change. For example,
            (0.6, 0.8) has the method's weights until 60% of training and equal weights, each 1, from 80%. If the start is
            above the end, the order is reversed: equal weights come first.
        steps: the number of training steps of the whole training, at least 1. Only `anneal` uses it. The trainer and the
            mixins set it; a loop of your own must.
        process_group: see `Balancer`.

    Raises:
        InputError: `anneal` is not two different numbers in [0, 1], or `steps` is not a whole number of at least 1. In a
            training step: `anneal` is given, and `steps` is not known.

    Example:
        A method that counts only the largest loss:

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
    steps_done: Tensor

    def __init__(
        self, tasks: Sequence[str], *, anneal: Anneal = None, steps: int | None = None, process_group: Group = None
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        self.anneal = None if anneal is None else _two_shares(anneal)
        self.steps = steps
        if self.anneal is not None:
            self.add_state("steps_done", [0], dtype=torch.int64)

    @property
    def steps(self) -> int | None:
        """The number of training steps of the whole training, at least 1; None while it is not known."""
        return self._steps

    @steps.setter
    def steps(self, steps: int | None) -> None:
        self._steps = None if steps is None else whole("steps", steps, least=1)

    @property
    def needs_steps(self) -> bool:
        return self.anneal is not None and self.steps is None

    def plan_steps(self, steps: int) -> None:
        if self.needs_steps:
            self.steps = steps

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # a method that does not learn skips the losses' mean over ranks
        learns_from_gradients = cls.learn_from_gradients is not LossBalancer.learn_from_gradients
        cls._learns = cls.learn is not LossBalancer.learn or learns_from_gradients

    @final  # type: ignore[misc]  # torch declares forward as an attribute
    def forward(self, losses: Losses, kpis: KPIs | None = None, *, shared: Iterable[nn.Parameter] | None = None) -> Tensor:
        """Compute the balanced total and, in training mode, take one balancer step.

        Args:
            losses: by task, a 0-d tensor with its graph. A task that is left out is absent: it adds nothing, and changes
                other tasks' weights only in a method that is `joint`. A loss of exactly 0 counts as absent for state and
                shares, since it may mean that the batch has no labels. NaN and infinite losses reach the total, but never
                the state.
            kpis: as in `update`, which is called first in training mode.
            shared: the parameters that all tasks use, for the methods that need them.

        Returns:
            A 0-d tensor to call `backward` on.

        Raises:
            InputError: a name is unknown, or a loss is not a 0-d tensor.
        """
        compiling = torch.compiler.is_compiling()
        if compiling and not self.compiles:
            refuse_to_compile(type(self).__name__)
        vector = self._stack_losses(losses)
        self._follow_device(vector)
        if not compiling:
            self.watch.step(self, len(losses))
        if not self.training:
            total = self._annealed(self.combine(vector, None), vector)
            if not compiling:
                self.watch.follow(self, total)
            return total
        total, values = self._training_step(vector, kpis)
        self.learn_from_gradients(losses, values, shared)
        return total

    def _training_step(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        """Run the part of a training step that needs no other gradients, for losses [T]; also under `torch.vmap`."""
        if self.needs_steps:
            refuse_without_steps(type(self).__name__)
        if kpis is not None:
            self.update(kpis)
        total, values = self._training_total(losses, kpis)
        if self._learns:
            with torch.no_grad():
                self.learn(values)
        if "steps_done" in self._buffers:
            self.steps_done.add_(1)
        return total, values

    def _annealed(self, total: Tensor, losses: Tensor) -> Tensor:
        """Return the total with its share of equal weights."""
        share = self._equal_share()
        return total if share is None else (1 - share) * total + share * losses.sum(dtype=total.dtype)

    def _annealed_weights(self, weights: Tensor) -> Tensor:
        """Return the weights [T] with their share of equal weights."""
        share = self._equal_share()
        return weights if share is None else (1 - share) * weights + share

    def _equal_share(self) -> Tensor | None:
        """Compute λ of this step, 0-d; None if it is 0 at every step."""
        if self.anneal is None or self.steps is None:
            return None
        start, end = self.anneal
        done = no_recompute(self.steps_done)[0] / self.steps
        return ((done - start) / (end - start)).clamp(0, 1)

    def _training_total(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        """Return the total, and the losses [T] to learn from, averaged over ranks if the method learns."""
        total = self._annealed(self.combine(losses, kpis), losses)
        return total, self.losses_for_state(losses) if self._learns else losses

    @final
    def backward(
        self,
        losses: Losses,
        kpis: KPIs | None = None,
        *,
        shared: Iterable[nn.Parameter] | None = None,
        features: Tensor | Iterable[Tensor] | None = None,
        using: Callable[[Tensor], Any] = torch.Tensor.backward,
    ) -> None:
        if features is not None and not self.takes_features:
            refuse_features(type(self).__name__)
        using(self(losses, kpis, shared=shared))

    @property
    def weights(self) -> Mapping[str, Tensor]:
        with torch.no_grad():
            weights = self._annealed_weights(self.current_weights().detach())
            return dict(zip(self.tasks, weights.unbind(), strict=True))

    @abstractmethod
    def current_weights(self) -> Tensor:
        """Return the tasks' weights in the current state, before annealing.

        Called by `weights`, and by `combine` if the total is a weighted sum.

        Returns:
            [T], in the order of `tasks`, in memory that later steps do not change (clone a buffer).
        """

    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        """Compute the total by the method's equation, by default Σ w·L with `current_weights`.

        Called once per `forward`, before `learn`; must not change state.

        Args:
            losses: [T] with its graph, in the order of `tasks`; 0 where a task is absent, NaN or infinite where its loss is.
            kpis: those of this step, already passed to `update`; None in eval mode, or if none were given.

        Returns:
            The total, 0-d, with its graph.
        """
        return weighted_sum(losses, self.current_weights())

    def learn(self, losses: Tensor) -> None:
        """Update state from the losses of a training step. Called after `combine`, without gradients; no-op by default.

        Args:
            losses: [T] float32 without a graph, averaged over ranks; NaN where a task is absent, or where its loss is not
                finite or beyond 2⁶⁴, where squares overflow.
        """

    def learn_from_gradients(self, losses: Losses, values: Tensor, shared: Iterable[nn.Parameter] | None) -> None:
        """Update state from the gradient of each loss. Called after `learn`; no-op by default.

        A method that overrides it sets `needs = frozenset({"shared"})` and `compiles = False`.

        Args:
            losses: by task, as given to `forward`: 0-d tensors with their graph, which must be retained; absent tasks may
                be missing or 0.
            values: [T], as in `learn`.
            shared: as given to `forward`.
        """


def _two_shares(anneal: Any) -> tuple[float, float]:
    """Return the start and the end as numbers in [0, 1].

    >>> _two_shares([0.6, 1])
    (0.6, 1.0)
    """
    try:
        if isinstance(anneal, str) or not isinstance(anneal, Sequence):
            raise ValueError
        start, end = (number("anneal", share, least=0, most=1) for share in anneal)
        if start == end:
            raise ValueError
    except ValueError:
        raise InputError(
            "Expected `anneal` to be two different shares of training between 0 and 1, such as (0.6, 0.8); got "
            f"{short(anneal)}. In a spec, write anneal=0.6+0.8."
        ) from None
    return start, end
