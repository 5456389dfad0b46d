"""Base class of methods whose total is not linear in the losses."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._ops import keep_latest, weighted_sum
from hardfirst.functional._loss_balancing import precise


class NonlinearLossBalancer(LossBalancer):
    """Base class of methods whose total is a function of the current losses, rather than a sum weighted by state.

    `weights` are ∂total/∂loss in the latest training step in which the task was present; 1 before its first.

    A subclass implements `slope`, the derivative of the total; `combine` unless the total is Σ slope·L, as it is for means
    of any kind and for weights that are constant in backward; `learn` if it learns from losses. In a training step over
    several ranks, the losses' values are the means over ranks and their graphs are this rank's. All ranks then compute the
    same total and weights, and their averaged gradient equals that of the full batch.

    Args:
        tasks: distinct non-empty strings.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Example:
        >>> import torch
        >>> class Squares(NonlinearLossBalancer):
        ...     def combine(self, losses, kpis):
        ...         return losses.square().sum()
        ...     def slope(self, losses):
        ...         return 2 * losses
        >>> balancer = Squares(["a", "b"])
        >>> balancer({"a": torch.tensor(1.0), "b": torch.tensor(3.0)})
        tensor(10.)
        >>> balancer.weights
        {'a': tensor(2.), 'b': tensor(6.)}
    """

    linear = False
    _is_weighted_sum: ClassVar[bool] = True
    weight: Tensor

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._is_weighted_sum = cls.combine is NonlinearLossBalancer.combine

    def __init__(
        self, tasks: Sequence[str], *, anneal: Anneal = None, steps: int | None = None, process_group: Group = None
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.add_state("weight", 1.0)

    @final
    def current_weights(self) -> Tensor:
        return self.weight.clone()  # annealed: those of the latest step

    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        return self._slope_and_total(losses, Present(losses))[1]

    def _training_total(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        values = current = losses.detach()
        if self._learns or self.is_distributed():
            values = self.losses_for_state(losses)
        if self.is_distributed():
            # a value from all ranks with this rank's graph. NaN − NaN and ∞ − ∞ are NaN, so that a loss that is not finite
            # on this rank alone still reaches the total
            current = torch.where(values.isnan(), current, values)
            losses = current + (losses - losses.detach())
        present = Present(current)
        slope, total = self._slope_and_total(losses, present)
        if not self._is_weighted_sum:
            total = self.combine(losses, kpis)
        keep_latest(self.weight, self._annealed_weights(slope).masked_fill(present.absent, torch.nan))
        return self._annealed(total, losses), values

    @property
    def weights(self) -> Mapping[str, Tensor]:
        return dict(zip(self.tasks, self.weight.clone().unbind(), strict=True))

    def _slope_and_total(self, losses: Tensor, present: "Present") -> tuple[Tensor, Tensor]:
        """Return `slope`, and Σ slope·L with its graph. Override it if the total has another value with shared terms.

        Args:
            losses: as in `combine`.
            present: the losses that are present.
        """
        values = present.losses()
        with torch.no_grad():
            # the factor 0 of a loss that is not finite makes the total NaN
            slope = self.slope(values).masked_fill(values == 0, 0)
        return slope, weighted_sum(losses, slope)

    @abstractmethod
    def slope(self, losses: Tensor) -> Tensor:
        """Compute the derivative of the total. Called once per training step, after `update` and before `learn`, without
        gradients.

        Args:
            losses: [T] float32 or better, all finite; 0 where a task is absent.

        Returns:
            ∂total/∂loss [T]; entries of absent tasks are ignored.
        """


class Present:
    """The losses of a step that are present.

    Attributes:
        absent: [T], whether a loss is 0 or not finite.
        none: 0-d, whether all are absent.
    """

    def __init__(self, losses: Tensor) -> None:
        self._finite = precise(losses.detach()).nan_to_num(0, 0, 0)
        self.absent = self._finite == 0
        self.none = self.absent.all()

    def losses(self) -> Tensor:
        """Return the losses [T] in float32 or better, without a graph; 0 where a task is absent.

        If all are absent, each is 1, so that signed losses that are 0 by chance keep the gradients of equal losses.
        """
        return self._finite + self.none
