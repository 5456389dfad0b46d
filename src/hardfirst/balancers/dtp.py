from collections.abc import Mapping, Sequence
from typing import Literal, Self

import torch
from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._ops import weighted_sum
from hardfirst.balancers._search_space import Range
from hardfirst.errors import InputError, flag, number, per_task
from hardfirst.functional._scalar import focal_weights_on_host, has_graph
from hardfirst.kpi import MovingKPI
from hardfirst.records.names import EASY, RAW


class DTP(LossBalancer):
    r"""Dynamic Task Prioritization: weights :math:`w_t \propto -(1-\bar\kappa_t)^{\gamma_t}\log\bar\kappa_t`.

    :math:`\bar\kappa_t` is an exponential moving average of the task's KPI (accuracy, share within a threshold, IoU …). A
    hard task, one with a low KPI, weighs more. A task without a KPI so far weighs 1. Equal KPIs give equal weights.

    When to use: Use when easy tasks starve hard ones that could still learn. A task that is hard because its labels are
    noisy also gets a large weight, without benefit; `uniform` and `potential` limit it. Easy tasks pay most late in
    training, where `anneal=(0.6, 0.8)` with `uniform=0.2` returns to equal weights. `hardfirst search` shows what applies.

    Cost: one backward pass per step; T values of state.

    Args:
        tasks: distinct non-empty strings.
        gamma: the focusing parameter, at least 0, for all tasks or by task. The paper uses 1.
        alpha: the weight of the new KPI in the average, in (0, 1]. The paper uses 0.75; the default of 0.1 is for noisy
            per-batch KPIs. If KPIs come once per epoch, use 0.75: at 0.1 the weights lag by ten epochs.
        normalize: whether to scale the weights so that they sum to the number of measured tasks. Raw weights fall as tasks
            improve, which is a hidden learning-rate decay.
        priority: "hard", or "easy" for the paper's control, which uses :math:`1-\bar\kappa_t` in place of
            :math:`\bar\kappa_t`.
        potential: by task, the highest KPI that it can reach, in (0, 1], for example that of a single-task network. κ is
            divided by it and clamped to 1, so that an irreducibly noisy task does not keep the largest weight.
        floor: clamps the average to [floor, 1 − floor]; in (0, 0.5).
        uniform: the share u of equal weights after normalization, w ← (1 − u)·w + u, in [0, 1]; 0 in the paper.
        differentiable: whether to add the second term of the paper's Eq. (5), the gradient through differentiable KPIs given
            to `forward`. The normalizer and the average's history are constants, and each rank differentiates its own KPI.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range, or names an unknown task.

    Example:
        >>> import torch
        >>> balancer = DTP(["depth", "segment"])
        >>> losses = {"depth": torch.tensor(0.5), "segment": torch.tensor(0.7)}
        >>> balancer(losses, kpis={"depth": 0.9, "segment": 0.6})
        tensor(1.3804)
        >>> balancer.weights
        {'depth': tensor(0.0981), 'segment': tensor(1.9019)}

    Note:
        The paper has no normalization (`normalize`) and no `floor`, and uses `alpha` = 0.75. The first observation is the
        first average, which the paper does not specify; of these departures, `DTP.paper` has only this one.

    References:
        Guo, Haque, Huang, Yeung and Fei-Fei, Dynamic Task Prioritization for Multitask Learning, ECCV 2018.
    """

    needs = frozenset({"kpis"})
    single_task_options = frozenset({"potential"})
    ranges = {"gamma": Range(0.5, 4, log=True), "alpha": Range(0.01, 0.75, log=True), "uniform": Range(0, 0.9)}
    controls = {
        EASY: {"priority": "easy"},
        RAW: {"normalize": False, "uniform": None},  # `uniform` needs normalised weights
    }
    gamma: Tensor
    gain: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        gamma: float | Mapping[str, float] = 1.0,
        alpha: float = 0.1,
        normalize: bool = True,
        priority: Literal["hard", "easy"] = "hard",
        potential: Mapping[str, float] | None = None,
        floor: float = 1e-3,
        uniform: float = 0.0,
        differentiable: bool = False,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        if priority not in ("hard", "easy"):
            raise InputError(f"Expected `priority` to be 'hard' or 'easy'; got {priority!r}.")
        self.floor = number("floor", floor, above=0, below=0.5)
        self.uniform = number("uniform", uniform, least=0, most=1)
        if self.uniform and not normalize:
            raise InputError("`uniform` mixes normalized weights with 1, so it requires `normalize=True`.")
        self.normalize, self.differentiable = flag("normalize", normalize), flag("differentiable", differentiable)
        self.easy_first = priority == "easy"
        self.gammas = per_task("gamma", gamma, self.tasks, default=1.0, least=0)
        self.add_state("gamma", self.gammas, persistent=False)
        self.kpi = MovingKPI(self.tasks, alpha=alpha, potential=potential, process_group=process_group)
        if self.differentiable:
            self.add_state("gain", self.kpi.alpha, persistent=False)  # d(average)/d(KPI) of the latest update

    @classmethod
    def paper(cls, tasks: Sequence[str]) -> Self:
        """Construct the method as published: α = 0.75, γ = 1, raw weights (Guo et al., Appendix B).

        >>> DTP.paper(["a", "b"]).normalize
        False
        """
        return cls(tasks, alpha=0.75, gamma=1.0, normalize=False, floor=1e-6)

    def update(self, kpis: KPIs) -> None:
        if self.differentiable:
            self.gain.copy_(torch.where(self.kpi.average.isnan(), 1.0, self.kpi.alpha))
        self.kpi.update(kpis)

    def current_weights(self) -> Tensor:
        numbers, normalize, easy_first = self.kpi._memory(), self.normalize, self.easy_first
        floor, uniform = self.floor, self.uniform
        if numbers is None:
            average, weigh = self.kpi.average, functional.focal_weights
            return weigh(average, self.gamma, floor=floor, normalize=normalize, uniform=uniform, easy_first=easy_first)
        weigh_numbers, gammas = focal_weights_on_host, self.gammas
        return weigh_numbers(numbers[:], gammas, floor=floor, normalize=normalize, uniform=uniform, easy_first=easy_first)

    def combine(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        total = weighted_sum(losses, self.current_weights())
        if self.differentiable and kpis is not None and torch.is_grad_enabled():
            total = total + self._second_term(losses.detach(), self.kpi.scaled(kpis))
        return total

    def _second_term(self, losses: Tensor, kpi: Tensor) -> Tensor:
        """Compute Eq. (5)'s ∂FL(κ̄)·L: a term of value 0 that carries only the gradient through the KPIs."""
        if not has_graph(kpi):
            raise InputError("`differentiable=True`, but no KPI has a gradient. Give KPIs that are not detached.")
        change = torch.where(kpi.isnan(), 0, kpi - kpi.detach())
        average = self.kpi.average + self.gain * change
        logs = functional.log_focal_weight(1 - average if self.easy_first else average, self.gamma, floor=self.floor)
        # dw = w·d(log w) with the normalizer held constant; the uniform share of w is constant as well
        terms = (self.current_weights() - self.uniform) * (logs - logs.detach()) * losses
        return torch.where(logs.isnan(), 0, terms).sum()
