from collections.abc import Sequence
from math import inf, nan
from types import MappingProxyType

import torch
from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs
from hardfirst.balancers._epoch_mean import EpochMean
from hardfirst.balancers._nonlinear import NonlinearLossBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number, whole


class STCH(NonlinearLossBalancer):
    r"""Smooth Tchebycheff scalarization: :math:`T\mu\log\sum_t (L_t/n_t)^{1/\mu}`, a smooth maximum of log losses.

    T is the number of tasks that are present, :math:`n_t` the nadir: the task's mean loss in the last epoch of a warm-up
    on :math:`\sum_t \log L_t`. The task that has progressed least since then weighs most.

    When to use: no task should fall behind, measured by its progress since the warm-up. A task that is stuck, or whose loss
    is irreducible, gets a large weight without any use; a larger μ limits it.

    Cost: one backward per step; 4·T + 1 numbers of state.

    Args:
        tasks: distinct non-empty strings. Their losses are at least 0; a negative loss gives a total of NaN.
        mu: the smoothing, above 0. Near 0 only the worst task counts; a large one weights all log losses equally.
        warmup_epochs: the epochs of the warm-up, at least 1.
        process_group: see `Balancer`.

    Raises:
        InputError: `mu` is not above 0, or `warmup_epochs` not a whole number of at least 1.

    Example:
        >>> import torch
        >>> balancer = STCH(["a", "b"], warmup_epochs=1)
        >>> balancer({"a": torch.tensor(2.0), "b": torch.tensor(4.0)})
        tensor(2.0794)
        >>> balancer.end_epoch()
        >>> balancer({"a": torch.tensor(1.0), "b": torch.tensor(3.0)})
        tensor(0.4463)
        >>> balancer.weights
        {'a': tensor(0.8000), 'b': tensor(0.4000)}

    Note:
        Call `end_epoch` after each epoch; without it the warm-up never ends. The authors' code warms up for one epoch more
        than its setting says, adds 1e-20 inside the logarithm, and leaves the largest term out of the total's value (not of
        its gradient); this does none of these. The paper does not treat missing labels: a task that is absent from the last
        epoch of the warm-up keeps the mean of the latest epoch that had it. One that first appears later gets the mean of
        its first epoch as its nadir; until that epoch ends, its current loss is its nadir. Not linear in the losses:
        micro-batches do not add up to one batch.

    References:
        Lin et al., Smooth Tchebycheff Scalarization for Multi-Objective Optimization, ICML 2024; its multi-task
        experiments, for the log losses, the warm-up and the nadir.
    """

    needs = frozenset({"epochs"})
    joint = True
    ranges = MappingProxyType({"mu": Range(0.05, 5, log=True)})
    nadir: Tensor
    epochs: Tensor

    def __init__(
        self, tasks: Sequence[str], *, mu: float = 1.0, warmup_epochs: int = 4, process_group: Group = None
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        self.mu = number("mu", mu, above=0, below=inf)
        self.warmup_epochs = whole("warmup_epochs", warmup_epochs, least=1)
        self.add_state("nadir", nan)
        self.add_state("epochs", [0], dtype=torch.int64)
        self.epoch = EpochMean(self.tasks)

    @torch.no_grad()
    def end_epoch(self) -> None:
        mean = self.epoch.close()
        is_nadir = ~mean.isnan() & (self._warming_up() | self.nadir.isnan())
        self.nadir.copy_(torch.where(is_nadir, mean, self.nadir))
        self.epochs.add_(1)

    def _warming_up(self) -> Tensor:
        return self.epochs[0] < self.warmup_epochs

    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        warm_up = functional.present_logs(losses).sum()
        return torch.where(self._warming_up(), warm_up, functional.stch(losses, self.nadir, self.mu))

    def slope(self, losses: Tensor) -> Tensor:
        shares = functional.stch_logits(losses, self.nadir, self.mu).softmax(0) * losses.count_nonzero()
        return shares.masked_fill(self._warming_up(), 1) / losses

    def learn(self, losses: Tensor) -> None:
        self.epoch.add(losses)
