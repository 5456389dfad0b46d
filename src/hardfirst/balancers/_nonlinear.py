"""What the methods share whose weights are a function of the losses of the very step."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs, LossBalancer


class CurrentLossBalancer(LossBalancer):
    """A method whose total is a function of the present losses, but not a weighted sum of them by weights from state.

    In a training step over several ranks, each loss takes the value of its mean over the ranks and keeps its own graph,
    so that the ranks have one total, one set of weights, and together the update of the full batch. `weights` are what
    the tasks counted in the latest training step in which they were present, ∂total/∂loss; 1 before the first.

    A method implements `_equation` and `_slope`, and `_observe` if it learns from losses.
    """

    linear = False
    weight: Tensor

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self._hold("weight", 1.0)

    @final
    def _weights(self) -> Tensor:
        return self.weight.clone()

    @final
    def _total(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        if not self.training:
            return self._equation(losses)
        measured = self._measured(losses)
        if self._shared_by_ranks():
            # NaN − NaN and ∞ − ∞ are NaN: a loss that is broken on this rank alone reaches the total as well
            losses = torch.where(measured.isnan(), losses, measured + (losses - losses.detach()))
        total = self._equation(losses)
        with torch.no_grad():
            self.weight.copy_(torch.where(measured.isnan(), self.weight, self._slope(measured.nan_to_num(0))))
            self._observe(measured)
        return total

    @abstractmethod
    def _equation(self, losses: Tensor) -> Tensor:
        """The total, 0-d: losses [T], 0 where a task is absent."""

    @abstractmethod
    def _slope(self, losses: Tensor) -> Tensor:
        """∂total/∂loss [T] at the losses [T], all finite, 0 where a task is absent; what stands there is not used."""

    def _observe(self, losses: Tensor) -> None:
        """Take in the losses [T] of a training step, NaN where a task is absent, after the total was formed."""
