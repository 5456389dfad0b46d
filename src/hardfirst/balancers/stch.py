from collections.abc import Sequence
from math import inf, nan

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._epoch_mean import EpochMean
from hardfirst.balancers._loss import Anneal
from hardfirst.balancers._nonlinear import NonlinearLossBalancer, Present
from hardfirst.balancers._ops import weighted_sum
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number, whole
from hardfirst.functional._loss_balancing import logits_of_logs


class STCH(NonlinearLossBalancer):
    r"""Smooth Tchebycheff scalarization: :math:`T\mu\log\sum_t (L_t/n_t)^{1/\mu}`, a smooth maximum of log losses.

    T is the number of tasks that are present, and :math:`n_t` the nadir: the task's mean loss in the last epoch of a warm-up
    on :math:`\sum_t \log L_t`. The task that has progressed least since then weighs most.

    When to use: Use when no task should fall behind, measured by its progress since the warm-up. A task that is stuck, or
    whose loss is irreducible, gets a large weight without benefit; a larger μ limits it.

    Cost: one backward pass per step; 4·T + 1 values of state.

    Args:
        tasks: distinct non-empty strings. Their losses must be at least 0; a negative loss gives a total of NaN.
        mu: the smoothing, above 0. Near 0 only the worst task counts; a large value weights all log losses equally.
        warmup_epochs: the number of epochs of the warm-up, at least 1.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
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
        Call `end_epoch` after each epoch; otherwise the warm-up never ends. The authors' code warms up for one epoch more
        than its setting says, adds 1e-20 inside the logarithm, and leaves the largest term out of the total's value (not of
        its gradient); this class does none of these. The paper does not treat missing labels: here a task that is absent
        from the last epoch of the warm-up keeps the mean of the latest epoch that had it. The nadir of a task that first
        appears later is the mean of its first epoch; until that epoch ends, it is the task's current loss. The total is not
        linear in the losses: micro-batches do not add up to one batch.

    References:
        Lin et al., Smooth Tchebycheff Scalarization for Multi-Objective Optimization, ICML 2024; its multi-task
        experiments, for the log losses, the warm-up and the nadir.
    """

    needs = frozenset({"epochs"})
    joint = True
    ranges = {"mu": Range(0.05, 5, log=True)}
    nadir: Tensor
    epochs: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        mu: float = 1.0,
        warmup_epochs: int = 4,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
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

    def slope(self, losses: Tensor) -> Tensor:
        return self._slope_and_value(losses)[0]

    def _slope_and_total(self, losses: Tensor, present: Present) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            slope, value = self._slope_and_value(present.losses())
        slope = slope.masked_fill(present.absent, 0)
        total = weighted_sum(losses, slope)
        # the value with the gradient of the sum; 0 without a label, as in all methods
        return slope, total + (value - total.detach()).masked_fill(present.none, 0)

    def _slope_and_value(self, losses: Tensor) -> tuple[Tensor, Tensor]:
        absent = losses == 0
        logs = losses.masked_fill(absent, 1).log()
        logits = logits_of_logs(logs, absent, self.nadir, self.mu)
        count, warming_up = losses.count_nonzero(), self._warming_up()
        slope = (logits.softmax(0) * count).masked_fill(warming_up, 1) / losses
        value = torch.where(warming_up, logs.sum(), logits.logsumexp(0) * self.mu * count)
        return slope, value

    def learn(self, losses: Tensor) -> None:
        self.epoch.add(losses)
