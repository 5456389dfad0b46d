from collections.abc import Iterable, Sequence
from math import nan

import torch
from torch import Tensor, nn

from hardfirst import functional
from hardfirst._task_state import Group, plain
from hardfirst.balancers._adam import Adam
from hardfirst.balancers._autograd import flat, gradients_of, no_dependence_error, require_trainable
from hardfirst.balancers._base import Losses
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number

_FLOOR = 1e-3


class GradNorm(LossBalancer):
    r"""GradNorm: learned weights that bring each task's gradient norm to :math:`\bar G \, (r_t / \bar r)^\alpha`.

    :math:`G_t = \lVert\nabla_W w_t L_t\rVert` is the norm of the weighted loss's gradient at the parameters W that the
    tasks share, :math:`r_t = L_t / L_t(0)` is the task's loss relative to its first one, and bars are means over the
    tasks. w takes a step down :math:`\sum_t |G_t - \mathrm{sg}(\bar G \, (r_t / \bar r)^\alpha)|` and is then rescaled to
    its previous sum.

    When to use: Use when one task's gradients dominate, or tasks should learn at similar rates. The initial losses must
    be a meaningful reference: :math:`L_t(0)` is that of a single batch. It costs more than methods that use only
    losses.

    Cost: one backward pass per step, and one from each loss to `shared` alone. The T gradients of `shared` are computed one
    by one, and each is averaged over ranks, so give it the last shared layer, not a whole trunk. 6·T values of state.

    Args:
        tasks: distinct non-empty strings. Their losses must be above 0.
        alpha: how strongly a task that learns slowly is favoured, at least 0. The paper uses 1.5, and 0.12 for tasks that
            are much alike; 0 aims at equal gradient norms.
        lr: the learning rate of w, above 0. The paper uses 0.025.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range. In a training step: `shared` is missing, sharded, or does not affect the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> loss = layer(torch.ones(4, 2)).square().mean()
        >>> balancer = GradNorm(["a", "b"], lr=0.025)
        >>> losses = {"a": loss, "b": 10 * loss}
        >>> balancer(losses, shared=layer.parameters()).backward()
        >>> balancer.weights
        {'a': tensor(1.0250), 'b': tensor(0.9750)}

    Note:
        The step on w is Adam's, as in the paper, so `lr` is the size of a step regardless of the unit of the loss. The first
        batch's losses are :math:`L_t(0)`; if they depend strongly on the initialization, the paper advises the theoretical
        value. A weight is at least 0.001. The paper does not treat missing labels: here tasks that are absent, or do not
        depend on `shared`, keep their weight and are left out of the means; the others are rescaled to their previous sum.
        Parameters that FSDP has sharded raise an error, since no rank has the whole gradient. The balancer cannot be
        compiled; the network can.

        The default of `lr` was chosen by `python benchmarks/own_rates.py DIR gradnorm` (three problems at two learning
        rates of the network each, ten seeds), and is not the paper's. Relative to equal weights, the mean over tasks differs
        by −0.2 points of KPI at 0.001, −0.9 at 0.005 and −1.0 at 0.025; the worst task by +1.8, +4.7 and +5.1. If the worst
        task counts more than the mean, use 0.025: on `digits` the worst task is then 13 to 14 points above that of equal
        weights.

    References:
        Chen, Badrinarayanan, Lee and Rabinovich, GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep
        Multitask Networks, ICML 2018.
    """

    needs = frozenset({"shared"})
    ranges = {"alpha": Range(0.1, 3, log=True), "lr": Range(1e-4, 0.1, log=True)}
    compiles = False
    equal_alone = True
    takes_features = False
    weight: Tensor
    first: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        alpha: float = 1.5,
        lr: float = 1e-3,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.alpha = number("alpha", alpha, least=0)
        self.add_state("weight", 1.0)
        self.add_state("first", nan)
        self.adam = Adam(self.tasks, lr)

    def current_weights(self) -> Tensor:
        return self.weight.clone()

    def learn_from_gradients(self, losses: Losses, values: Tensor, shared: Iterable[nn.Parameter] | None) -> None:
        self.learn_from_norms(values, self._norms(losses, require_trainable(shared, "GradNorm")))

    @torch.no_grad()
    def learn_from_norms(self, values: Tensor, norms: Tensor) -> None:
        """Update the weights, for a caller that has computed the norms.

        Args:
            values: [T], the losses, as in `learn`.
            norms: [T] float32, the norm of each loss's gradient for the shared parameters; NaN where a task is absent.
        """
        self.first.copy_(torch.where(self.first.isnan(), values, self.first))
        weighted = self.weight * norms
        target = functional.gradnorm_target(weighted, values / self.first, self.alpha)
        self._step((weighted - target).sign() * norms)

    def _step(self, gradient: Tensor) -> None:
        """Update the weights whose gradient is not NaN, and restore their sum."""
        before, present = self.weight.clone(), ~gradient.isnan()
        self.adam.step(self.weight, gradient)
        after = torch.where(present, self.weight.clamp_min(_FLOOR), 0)
        scale = torch.where(present, before, 0).sum() / after.sum()
        self.weight.copy_(torch.where(present, after * scale, before))

    def _norms(self, losses: Losses, shared: list[nn.Parameter]) -> Tensor:
        """Compute the norm [T] of each loss's gradient, averaged over ranks first; NaN if no rank has the task."""
        norms, reached = [], False
        size = sum(parameter.numel() for parameter in shared)
        for task in self.tasks:  # absent ones as well: every rank must make the same collective calls
            gradient = _gradient(plain(losses[task]), shared) if task in losses else None
            reached = reached or gradient is not None
            if gradient is None:
                gradient = torch.full((size,), nan, device=shared[0].device)
            norms.append(self.mean_over_ranks(gradient).norm())
        if not reached and any(bool(loss != 0) for loss in losses.values()):
            raise no_dependence_error()
        stacked = torch.stack(norms)
        return torch.where(stacked.isfinite(), stacked, nan)


def _gradient(loss: Tensor, shared: list[nn.Parameter]) -> Tensor | None:
    """Compute the gradient of a loss as a float32 vector; NaN if the loss may not enter state, None if independent."""
    if not loss.requires_grad:
        return None
    parts = gradients_of(loss, shared)
    if all(part is None for part in parts):
        return None
    return torch.where((loss.detach() != 0) & loss.detach().isfinite(), flat(parts, shared), nan)
