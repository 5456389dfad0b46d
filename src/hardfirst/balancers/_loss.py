"""Base class of methods that combine the losses into one scalar."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from hardfirst.balancers._base import Balancer, KPIs, Losses
from hardfirst.balancers._ops import refuse_features, refuse_to_compile


class LossBalancer(Balancer):
    """Base class of methods that combine the losses into one scalar.

    A subclass implements `current_weights` and `combine`; `learn` or `learn_from_gradients` if it learns from losses;
    `update` if it uses KPIs; `end_epoch` if it counts epochs. `__init__` registers state with `add_state`. In training
    mode, `forward` calls `update` (if KPIs are given), `combine`, `learn` and `learn_from_gradients`, in this order; in eval
    mode, only `combine`.

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
    _learns_from_gradients: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # a method that does not learn skips the losses' mean over ranks
        cls._learns = cls.learn is not LossBalancer.learn
        cls._learns_from_gradients = cls.learn_from_gradients is not LossBalancer.learn_from_gradients

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
            total = self.combine(vector, None)
            if not compiling:
                self.watch.follow(self, total)
            return total
        total, values = self._training_step(vector, kpis)
        if self._learns_from_gradients:
            self.learn_from_gradients(losses, values, shared)
        return total

    def _training_step(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        """Run the part of a training step that needs no other gradients, for losses [T]; also under `torch.vmap`."""
        if kpis is not None:
            self.update(kpis)
        total, values = self._training_total(losses, kpis)
        if self._learns:
            with torch.no_grad():
                self.learn(values)
        return total, values

    def _training_total(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        """Return the total, and the losses [T] to learn from, averaged over ranks if the method learns."""
        total = self.combine(losses, kpis)
        return total, self.losses_for_state(losses) if self._learns or self._learns_from_gradients else losses

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
            return dict(zip(self.tasks, self.current_weights().detach().unbind(), strict=True))

    @abstractmethod
    def current_weights(self) -> Tensor:
        """Return the tasks' weights in the current state.

        Called by `weights`, and by `combine` if the total is a weighted sum.

        Returns:
            [T], in the order of `tasks`, in memory that later steps do not change (clone a buffer).
        """

    @abstractmethod
    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        """Compute the total by the method's equation. Called once per `forward`, before `learn`; must not change state.

        Args:
            losses: [T] with its graph, in the order of `tasks`; 0 where a task is absent, NaN or infinite where its loss is.
            kpis: those of this step, already passed to `update`; None in eval mode, or if none were given.

        Returns:
            The total, 0-d, with its graph.
        """

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
