from collections.abc import Sequence
from math import nan
from typing import Literal

import torch
from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group
from hardfirst.balancers._epoch_mean import EpochMean
from hardfirst.balancers._loss import Anneal
from hardfirst.balancers._nonlinear import NonlinearLossBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.errors import InputError, number


class SelfPaced(NonlinearLossBalancer):
    r"""Self-paced learning of tasks: weights :math:`1[L_t < \lambda]`, or :math:`\max(0, 1 - L_t / \lambda)`, λ growing.

    Tasks with a high loss wait until the others are learned. In the first epoch all weights are 1. λ then starts at the
    median of the tasks' mean losses in that epoch, and grows by a factor at the end of each epoch.

    When to use: Use as a baseline, or if a high loss means that a task is noisy or not yet learnable. The losses must be
    comparable, since all tasks share one λ. If λ does not pass the highest loss within the run, that task is not learned.

    Cost: one backward pass per step; 3·T + 1 values of state.

    Args:
        tasks: distinct non-empty strings. Their losses must be at least 0.
        kind: "hard" for weights of 0 or 1, "linear" for the second form, whose weights are below 1 unless λ is far above L.
        growth: the factor by which λ grows in an epoch, at least 1.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: `kind` is unknown, or `growth` below 1.

    Example:
        >>> import torch
        >>> balancer = SelfPaced(["a", "b"])
        >>> losses = {"a": torch.tensor(1.0), "b": torch.tensor(4.0)}
        >>> totals = []
        >>> for epoch in range(4):  # λ is 2.5, 3.75 and 5.625 after the first
        ...     totals.append(float(balancer(losses)))
        ...     balancer.end_epoch()
        >>> totals
        [5.0, 1.0, 1.0, 5.0]

    Note:
        Call `end_epoch` after each epoch; otherwise all weights stay 1. The paper paces examples (`functional.
        self_paced_weight`), and leaves the first λ and its growth to the user. Its selection alternates with training a
        model; here a task is selected by its loss in the current step, averaged over ranks. λ needs losses that are not
        divided by the number of micro-batches; micro-batches do not add up to one batch. The weights do not sum to T.

    References:
        Kumar, Packer and Koller, Self-Paced Learning for Latent Variable Models, NeurIPS 2010 (hard); Jiang et al., Easy
        Samples First: Self-paced Reranking for Zero-Example Multimedia Search, ACM Multimedia 2014 (linear).
    """

    needs = frozenset({"epochs"})
    ranges = {"growth": Range(1.05, 3, log=True)}
    threshold: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        kind: Literal["hard", "linear"] = "hard",
        growth: float = 1.5,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        if kind not in ("hard", "linear"):
            raise InputError(f"Expected `kind` to be 'hard' or 'linear'; got {kind!r}.")
        self.kind = kind
        self.growth = number("growth", growth, least=1)
        self.add_state("threshold", [nan])
        self.epoch = EpochMean(self.tasks)

    @torch.no_grad()
    def end_epoch(self) -> None:
        median = self.epoch.close().nanquantile(0.5)
        self.threshold.copy_(torch.where(self.threshold.isnan(), median, self.threshold * self.growth))

    def slope(self, losses: Tensor) -> Tensor:
        weights = functional.self_paced_weight(losses, self.threshold, self.kind)
        return torch.where(self.threshold.isnan(), 1, weights)

    def learn(self, losses: Tensor) -> None:
        self.epoch.add(losses)
