"""The base class of methods whose total is not linear in the losses."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs
from hardfirst.balancers._loss import LossBalancer


class NonlinearLossBalancer(LossBalancer):
    """A method whose total is a function of the current losses, rather than a sum weighted by state.

    `weights` are ∂total/∂loss in the latest training step in which the task was present; 1 before the first.

    A subclass implements `combine` and `slope`, its derivative; `learn` if it learns from losses. In a training step over
    several ranks, `combine` gets losses whose values are the means over ranks and whose graphs are this rank's. All ranks
    then have the same total and weights, and their averaged gradient is that of the full batch.

    Args:
        tasks: distinct non-empty strings.
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
    weight: Tensor

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.add_state("weight", 1.0)

    @final
    def current_weights(self) -> Tensor:
        return self.weight.clone()

    def _training_total(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        values = self.losses_for_state(losses)
        if self.is_distributed():
            # a value from all ranks with this rank's graph. NaN − NaN and ∞ − ∞ are NaN, so that a loss that is not finite
            # on this rank alone still reaches the total
            losses = torch.where(values.isnan(), losses, values + (losses - losses.detach()))
        total = self.combine(losses, kpis)
        with torch.no_grad():
            self.weight.copy_(torch.where(values.isnan(), self.weight, self.slope(values.nan_to_num(0))))
        return total, values

    @abstractmethod
    def slope(self, losses: Tensor) -> Tensor:
        """The derivative of `combine`. Called after it in a training step, without gradients.

        Args:
            losses: [T] float32, all finite; 0 where a task is absent.

        Returns:
            ∂total/∂loss [T]; the entries of absent tasks are ignored.
        """
