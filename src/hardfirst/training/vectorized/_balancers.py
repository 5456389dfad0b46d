"""The balancers of trials."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst.balancers import LossBalancer, task_weights


class EachBalancer:
    """Balancers of one method, called one after the other.

    Args:
        balancers: of the trials, for the same tasks.
    """

    def __init__(self, balancers: Sequence[LossBalancer]) -> None:
        self.balancers = balancers
        self.tasks = balancers[0].tasks

    def step(self, losses: Tensor, kpis: Tensor) -> tuple[Tensor, Tensor]:
        """Take a training step.

        Args:
            losses: [balancers, tasks] with their graph.
            kpis: [balancers, tasks].

        Returns:
            The totals [balancers] with their graph, and the effective weights [balancers, tasks].
        """
        totals, weights = [], []
        for balancer, row, kpi in zip(self.balancers, losses.unbind(), kpis.unbind(), strict=True):
            by_task = dict(zip(self.tasks, row.unbind(), strict=True))
            totals.append(balancer(by_task, dict(zip(self.tasks, kpi.unbind(), strict=True))))
            weights.append(torch.stack(list(task_weights(totals[-1], by_task).values())))
        return torch.stack(totals), torch.stack(weights).detach()

    def update(self, kpis: Tensor) -> None:
        """Record an observation of each KPI: [balancers, tasks], NaN where there is none."""
        for balancer, kpi in zip(self.balancers, kpis.unbind(), strict=True):
            balancer.update(dict(zip(self.tasks, kpi.unbind(), strict=True)))

    def end_epoch(self) -> None:
        """Mark the end of an epoch."""
        for balancer in self.balancers:
            balancer.end_epoch()
