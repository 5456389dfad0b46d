from collections.abc import Mapping, Sequence
from math import exp, isnan
from types import MappingProxyType
from typing import Literal, Self

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs, LossBalancer, weighted_sum
from hardfirst.balancers._search_space import Range
from hardfirst.errors import InputError, flag, number, per_task
from hardfirst.functional import _scalar, log_focal_weight
from hardfirst.functional._scalar import on_host
from hardfirst.kpi import MovingKPI
from hardfirst.records.names import EASY, RAW


class DTP(LossBalancer):
    r"""Dynamic Task Prioritization: weights :math:`w_t \propto -(1-\bar\kappa_t)^{\gamma_t}\log\bar\kappa_t`.

    :math:`\bar\kappa_t` is an exponential moving average of the task's KPI (accuracy, share within a threshold, IoU …):
    a hard task, one whose KPI is low, weighs more. A task without a KPI so far weighs 1. Equal KPIs give equal weights.

    When to use: easy tasks crowd hard ones that would learn if given room. A task that is hard because its labels are
    noisy draws the same weight for nothing, which `uniform` and `potential` are there to limit; `hardfirst compare`
    tells which you have.

    Cost: one backward per step; T numbers of state.

    Args:
        tasks: distinct non-empty strings.
        gamma: the focusing parameter, at least 0, for all tasks or by task. The paper uses 1.
        alpha: the share of the new KPI in the average, in (0, 1]. The paper uses 0.75; a per-batch KPI is noisy, hence 0.1.
        normalize: scale the weights so that they sum to the number of measured tasks. Raw weights fall as the tasks get
            better, which is a hidden learning-rate decay.
        priority: "hard", or "easy" for the paper's control, in which :math:`1-\bar\kappa_t` takes the place of
            :math:`\bar\kappa_t`.
        potential: by task, the KPI that it can reach at best, in (0, 1], for instance that of a single-task network;
            κ is divided by it (at most 1), so that an irreducibly noisy task does not keep the highest weight for ever.
        floor: the average is kept in [floor, 1 − floor], in (0, .5).
        uniform: mixes with equal weights after normalising, w ← (1 − u)·w + u, in [0, 1]; 0 is the paper.
        differentiable: add the second term of the paper's Eq. (5), the gradient through KPIs that are differentiable and
            given to `forward`; the normaliser and the average's history count as constants, and each rank differentiates
            its own KPI.
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
        The paper has no normalisation (`normalize`), no `floor`, and `alpha` = 0.75. The first observation is the first
        average; the paper does not say. `DTP.paper` has none of these departures but the last.

    References:
        Guo, Haque, Huang, Yeung and Fei-Fei, Dynamic Task Prioritization for Multitask Learning, ECCV 2018.
    """

    needs = frozenset({"kpis"})
    ranges = MappingProxyType(
        {"gamma": Range(0.5, 4, log=True), "alpha": Range(0.01, 0.75, log=True), "uniform": Range(0, 0.9)}
    )
    controls = MappingProxyType(
        {
            EASY: MappingProxyType({"priority": "easy"}),
            RAW: MappingProxyType({"normalize": False, "uniform": None}),  # `uniform` needs normalised weights
        }
    )
    gamma: Tensor
    one: Tensor
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
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        if priority not in ("hard", "easy"):
            raise InputError(f"Expected `priority` to be 'hard' or 'easy'; got {priority!r}.")
        self.floor = number("floor", floor, above=0, below=0.5)
        self.uniform = number("uniform", uniform, least=0, most=1)
        if self.uniform and not normalize:
            raise InputError("`uniform` mixes normalised weights with 1; it needs `normalize=True`.")
        self.normalize, self.differentiable = flag("normalize", normalize), flag("differentiable", differentiable)
        self.easy = priority == "easy"
        self.gammas = per_task("gamma", gamma, self.tasks, default=1.0, least=0)
        self._hold("gamma", self.gammas, persistent=False)
        self._hold("one", 1.0, persistent=False)
        self.kpi = MovingKPI(self.tasks, alpha=alpha, potential=potential, process_group=process_group)
        if self.differentiable:
            self._hold("gain", self.kpi.alpha, persistent=False)  # d(average)/d(KPI) of the latest update

    @classmethod
    def paper(cls, tasks: Sequence[str]) -> Self:
        """The published method to the letter: α = .75, γ = 1, raw weights (Guo et al., Appendix B).

        >>> DTP.paper(["a", "b"]).normalize
        False
        """
        return cls(tasks, alpha=0.75, gamma=1.0, normalize=False, floor=1e-6)

    def update(self, kpis: KPIs) -> None:
        if self.differentiable:
            self.gain.copy_(torch.where(self.kpi.average.isnan(), 1.0, self.kpi.alpha))
        self.kpi.update(kpis)

    def _weights(self) -> Tensor:
        average = self.kpi.average
        if on_host(average):
            return torch.tensor(self._rule(average.tolist()), dtype=torch.float32)
        logs = self._log_weights(average)
        if not self.normalize:
            return logs.exp().nan_to_num(1.0)
        measured = ~logs.isnan()
        weights = logs.nan_to_num(-1e30).softmax(0) * measured.sum()
        return torch.where(measured, (1 - self.uniform) * weights + self.uniform, self.one)

    def _rule(self, averages: list[float]) -> list[float]:
        """`_weights` in Python numbers."""
        kpis = [1 - average for average in averages] if self.easy else averages
        logs = [_scalar.log_focal_weight(kpi, gamma, self.floor) for kpi, gamma in zip(kpis, self.gammas, strict=True)]
        if not isnan(sum(logs)):
            return self._scaled(logs)
        measured = iter(self._scaled([log for log in logs if not isnan(log)]))
        return [1.0 if isnan(log) else next(measured) for log in logs]

    def _scaled(self, logs: list[float]) -> list[float]:
        if not self.normalize or not logs:
            return [exp(log) for log in logs]
        highest, uniform = max(logs), self.uniform
        shares = [exp(log - highest) for log in logs]
        scale = (1 - uniform) * len(shares) / sum(shares)
        return [scale * share + uniform for share in shares]

    def _log_weights(self, average: Tensor) -> Tensor:
        """The logarithm of Eq. (4)'s weights [T]; NaN where unmeasured."""
        return log_focal_weight(1 - average if self.easy else average, self.gamma, floor=self.floor)

    def _total(self, losses: Tensor, kpis: KPIs | None) -> Tensor:
        total = weighted_sum(losses, self._weights())
        if self.differentiable and kpis is not None and torch.is_grad_enabled():
            total = total + self._second_term(losses.detach(), self.kpi.scaled(kpis))
        return total

    def _second_term(self, losses: Tensor, kpi: Tensor) -> Tensor:
        """Eq. (5)'s ∂FL(κ̄)·L: a term of value 0 that carries only the gradient through the KPIs."""
        if not kpi.requires_grad:
            raise InputError("`differentiable=True`, but no KPI has a gradient: give KPIs that are not detached.")
        change = torch.where(kpi.isnan(), 0, kpi - kpi.detach())
        logs = self._log_weights(self.kpi.average + self.gain * change)
        # dw = w·d(log w) with the normaliser held constant; the uniform share of w does not move
        moved = (self._weights() - self.uniform) * (logs - logs.detach()) * losses
        return torch.where(logs.isnan(), 0, moved).sum()
