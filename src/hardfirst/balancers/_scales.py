"""Base class of methods that learn the logarithm of each loss's scale."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._adam import Adam
from hardfirst.balancers._base import KPIs
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._ops import weighted_sum
from hardfirst.functional._loss_balancing import precise

_LEAST = 2.0**-149  # the least positive number of float32


class LearnedScales(LossBalancer):
    r"""A total :math:`\sum_t f e^{k s_t} L_t - k f s_t` over the tasks that are present, with s learned by Adam.

    A subclass sets f and k, and implements `current_weights`, :math:`f e^{k s}`.

    Args:
        tasks: distinct non-empty strings.
        lr: the learning rate of s, above 0.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.
    """

    _factor: ClassVar[float]
    _sign: ClassVar[int]
    s: Tensor
    offset: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        lr: float = 1e-3,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.add_state("s", 0.0)
        self.add_state("offset", -self._sign * self._factor, persistent=False)  # of ∂total/∂s
        self.adam = Adam(self.tasks, lr, bound=80)

    @abstractmethod
    def current_weights(self) -> Tensor: ...

    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        return self._total(losses, self.current_weights())

    def _training_total(self, losses: Tensor, kpis: KPIs | None) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            weights = self.current_weights()
        total = self._annealed(self._total(losses, weights), losses)
        values = self.losses_for_state(losses)
        # here rather than in `learn`, which would compute the weights again
        self.adam.step(self.s, torch.addcmul(self.offset, values, weights, value=self._sign))
        return total, values

    def _total(self, losses: Tensor, weights: Tensor) -> Tensor:
        values = precise(losses.detach())
        # 0/0 is NaN. A loss that is not finite reaches the total through the first term
        present = torch.addcdiv(self.s, values, values, value=_LEAST).nansum()
        return weighted_sum(losses, weights).add(present, alpha=-self._sign * self._factor)
