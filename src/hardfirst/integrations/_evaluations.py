"""Several evaluations of one batch's loss, for optimizers with a closure."""

import copy
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from hardfirst.balancers import Balancer


class Evaluations:
    """Distinguishes the first evaluation of a batch's loss from repeated ones, and keeps what these need.

    LBFGS evaluates the loss of a batch about 20 times. A balancer learns in the first evaluation only. The others use a copy
    of the balancer from before it and the KPIs of the first, so that all evaluate the same function of the parameters.
    """

    def __init__(self) -> None:
        self._batch: Hashable = None
        self._ended = False
        self._calls = 0
        self._before: list[tuple[Balancer, Mapping[str, Any] | None]] = []

    def begin(self, batch: Hashable) -> bool:
        """Return whether the batch's loss has been evaluated before. Called for each total of the batch.

        Args:
            batch: differs from that of the previous batch; None to ignore repeated evaluations.
        """
        if batch != self._batch:
            self._batch, self._ended, self._calls, self._before = batch, False, 0, []
        return self._ended

    def end(self) -> None:
        """Mark the end of an evaluation."""
        self._ended, self._calls = self._batch is not None, 0

    def keep(self, balancer: Balancer, kpis: Mapping[str, Any] | None) -> None:
        """Keep a copy of the balancer from before a total of the first evaluation."""
        kpis = None if kpis is None else {task: torch.as_tensor(kpi).detach() for task, kpi in kpis.items()}
        self._before.append((_copy(balancer), kpis))

    def earlier(self, balancer: Balancer, kpis: Mapping[str, Any] | None) -> tuple[Balancer, Mapping[str, Any] | None]:
        """Return a balancer and KPIs for the next total of a repeated evaluation.

        Args:
            balancer: copied in its current state if no copy was kept.
            kpis: those of this evaluation; they give the KPIs their gradients.
        """
        kept = self._calls < len(self._before)
        before, first = self._before[self._calls] if kept else (balancer, None)
        self._calls += 1
        return _copy(before), first if first is None or kpis is None else _with_gradients_of(kpis, first)


def _copy(balancer: Balancer) -> Balancer:
    """Copy a balancer in the same mode, even if it is paused."""
    return copy.deepcopy(balancer).train(balancer.training)


def _with_gradients_of(kpis: Mapping[str, Any], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the values with the graphs of the KPIs that have one."""
    graphs = {task: kpi - kpi.detach() for task, kpi in kpis.items() if isinstance(kpi, Tensor) and kpi.requires_grad}
    return {task: value + graphs[task] if task in graphs else value for task, value in values.items()}
