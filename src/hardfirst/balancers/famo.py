from collections.abc import Mapping, Sequence
from math import nan

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._adam import Adam
from hardfirst.balancers._base import Losses
from hardfirst.balancers._loss import Anneal
from hardfirst.balancers._nonlinear import NonlinearLossBalancer, Present
from hardfirst.balancers._ops import keep_latest, no_recompute
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number, per_task
from hardfirst.functional._loss_balancing import precise


class FAMO(NonlinearLossBalancer):
    r"""FAMO: :math:`\sum_t z_t \log D_t / \mathrm{sg}(\sum_t z_t / D_t)` with :math:`z = \mathrm{softmax}(\xi)`, ξ learned.

    :math:`D_t = L_t - L_{t,\min} + 10^{-8}` is the reducible part of the task's loss. The step is along a weighted mean of
    the tasks' gradients, :math:`w_t \propto z_t / D_t`. ξ then moves against :math:`J_z^\top (\log D^{old} - \log D^{new})`,
    so that a task whose log loss fell more than the others' gets a smaller share.

    When to use: Use when all losses should fall at the same relative rate. It costs as little as a plain sum. Losses
    must be able to approach their minimum: a task that is stuck above it gets more and more weight, which `min_losses`
    prevents.

    Cost: one backward pass per step; 7·T values of state.

    Args:
        tasks: distinct non-empty strings. Their losses must be above their minimum; a lower loss gives a total of NaN.
        lr: the learning rate of ξ, above 0. The paper uses 0.025.
        decay: the L2 coefficient on ξ, at least 0, which pulls the shares towards equal ones. The paper uses 0.001.
        min_losses: the lowest value that the loss can reach, for all tasks or by task.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range, or names an unknown task.

    Example:
        >>> import torch
        >>> balancer = FAMO(["a", "b"], lr=0.025)
        >>> balancer({"a": torch.tensor(1.0), "b": torch.tensor(4.0)})
        tensor(1.1090)
        >>> balancer.weights
        {'a': tensor(0.8000), 'b': tensor(0.2000)}
        >>> balancer({"a": torch.tensor(0.5), "b": torch.tensor(4.0)})  # a fell, so its share falls
        tensor(0.3081)
        >>> balancer.xi
        tensor([-0.0250,  0.0250])

    Note:
        To measure the fall of the losses, the paper evaluates them again after each step, on the same batch. Here the next
        batch's losses are used, without a second forward pass but with the noise between batches; they change ξ for the
        step after that one. `learn_after_step` works as in the paper. The weights sum to 1, as in the paper, not to T; the
        total may be negative. The authors' code also clips the gradient of the shared parameters; this class does not. The
        paper does not treat missing labels: here shares are among the tasks present, and a task's fall counts from the last
        batch that had it. The total is not linear in the losses: micro-batches do not add up to one batch.

        The default of `lr` was chosen by `python benchmarks/own_rates.py DIR famo` (three problems at two learning rates
        of the network each, ten seeds), and is not the paper's. Relative to equal weights, the mean over tasks differs by
        −1.9 points of KPI at 0.025, −1.4 at 0.1 and −5.0 at 0.5; the worst task by −4.8, −3.6 and −1.5. No rate is good
        on `digits`: its mean is 2.7 to 7.2 points below equal weights at all of them.

    References:
        Liu, Feng, Stone and Liu, FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023.
    """

    joint = True
    equal_alone = True
    ranges = {"lr": Range(1e-4, 0.5, log=True), "decay": Range(1e-4, 1e-2, log=True)}

    xi: Tensor
    last: Tensor
    least: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        lr: float = 0.1,
        decay: float = 1e-3,
        min_losses: float | Mapping[str, float] = 0.0,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.add_state("xi", 0.0)
        self.add_state("last", nan)
        least = per_task("min_losses", min_losses, self.tasks, default=0.0)
        self.has_minimum = any(least)
        self.add_state("least", least, persistent=False)
        self.adam = Adam(self.tasks, lr, weight_decay=number("decay", decay, least=0))

    def slope(self, losses: Tensor) -> Tensor:
        return self._slope_and_total(losses, Present(losses))[0]

    def _slope_and_total(self, losses: Tensor, present: Present) -> tuple[Tensor, Tensor]:
        absent = present.absent ^ present.none
        left = self._left(precise(losses) + present.none)
        if self.has_minimum:  # D is below 0 where a loss is 0
            left = left.masked_fill(absent & (losses == 0), 1)
        logs = left.log()
        with torch.no_grad():
            slope = (self.xi - logs).masked_fill(absent, -1e30).softmax(0)  # z / D over its sum
            factors = no_recompute(slope * left)
        total = factors.dot(logs)  # Σ z·log D over the sum of z / D
        if self.has_minimum:  # without a label the total is 0, as in all methods
            total = total - total.detach() * present.none
        return slope, total

    def learn(self, losses: Tensor) -> None:
        before, after = self._left(torch.stack([self.last, losses])).log().unbind()
        fall = before - after
        shares = self.xi.masked_fill(fall.isnan(), -1e30).softmax(0)
        falls = shares * fall
        # the Jacobian of softmax is diag(z) − z·zᵀ; NaN for a task without a fall
        self.adam.step(self.xi, torch.addcmul(falls, shares, falls.nansum(), value=-1))
        keep_latest(self.last, losses)

    @torch.no_grad()
    def learn_after_step(self, losses: Losses) -> None:
        """Learn from the losses of the same batch after the optimizer step, as in the paper, not from the next batch's.

        Does nothing in eval mode. Call it after every step, or never.

        Args:
            losses: by task, a 0-d tensor. Leave out a task without labels, or give 0.

        Raises:
            InputError: a name is unknown, or a loss is not a 0-d tensor.

        Example:
            >>> import torch
            >>> balancer = FAMO(["a", "b"], lr=0.025)
            >>> total = balancer({"a": torch.tensor(1.0), "b": torch.tensor(4.0)})
            >>> balancer.learn_after_step({"a": torch.tensor(0.5), "b": torch.tensor(4.0)})
            >>> balancer.xi
            tensor([-0.0250,  0.0250])
        """
        if self.training:
            self.learn(self.losses_for_state(self._stack_losses(losses)))
            self.last.fill_(nan)  # the next batch's losses are not comparable with this step's

    def _left(self, losses: Tensor) -> Tensor:
        """Compute D [T]."""
        return (losses - self.least if self.has_minimum else losses) + 1e-8
