from collections.abc import Mapping, Sequence

from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs
from hardfirst.balancers._loss import Anneal
from hardfirst.balancers._nonlinear import NonlinearLossBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number, per_task
from hardfirst.kpi import MovingKPI


class Achievement(NonlinearLossBalancer):
    r"""Achievement-based training: :math:`\prod_t L_t^{w_t}`, :math:`w = \mathrm{softmax}((1 - a_t)^\gamma)`.

    :math:`a_t = \bar\kappa_t / (P_t (1 + m))`, at most 1, is the achievement of the task: :math:`\bar\kappa_t` is a moving
    average of its KPI, and :math:`P_t` its potential, the KPI of a network trained on this task alone. The task furthest
    from its potential has the largest exponent in a geometric mean, which does not depend on the sizes of the losses.

    When to use: Use when you know each task's single-task KPI and the losses have different sizes. A difficult task
    that has reached its potential gets no extra weight. The weights are mild: none is above e times another.

    Cost: one backward pass per step; 2·T values of state.

    Args:
        tasks: distinct non-empty strings. Their losses must be at least 0; a negative loss gives a total of NaN.
        potential: by task, the KPI it reaches when trained alone, in (0, 1]; default: 1 per task.
        margin: how far above its potential a task still gets extra weight, relative to it, at least 0. The authors use 0.05.
        gamma: the focusing parameter, at least 0. The authors use 2.
        alpha: the weight of the new KPI in the average, in (0, 1]; see `DTP`.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range, or names an unknown task.

    Example:
        >>> import torch
        >>> balancer = Achievement(["depth", "segment"], potential={"depth": 0.95})
        >>> balancer({"depth": torch.tensor(0.5), "segment": torch.tensor(2.0)}, kpis={"depth": 0.9, "segment": 0.3})
        tensor(1.1853)
        >>> balancer.weights
        {'depth': tensor(0.8946), 'segment': tensor(0.3690)}

    Note:
        `weights` are the effective weights in the latest step, :math:`w_t \prod L^w / L_t`; `functional.achievement` of
        `kpi.average` gives the exponents alone. The base of the power is clamped to 0: above the margin, an even γ would
        raise the weight again, and a fractional γ would make it NaN. KPIs may come from every batch; the paper's come from
        validation. Before its first KPI, a task has the exponent 1/T. The exponents of the tasks present are scaled to sum
        to 1, so a batch with labels of one task trains on that task's own loss. The total is not linear in the losses:
        micro-batches do not add up to one batch.

    References:
        Yun and Cho, Achievement-Based Training Progress Balancing for Multi-Task Learning, ICCV 2023.
    """

    needs = frozenset({"kpis"})
    single_task_options = frozenset({"potential"})
    joint = True
    equal_alone = True
    ranges = {"gamma": Range(0.5, 4, log=True), "margin": Range(0, 0.2), "alpha": Range(0.01, 0.75, log=True)}
    potential: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        potential: Mapping[str, float] | None = None,
        margin: float = 0.05,
        gamma: float = 2.0,
        alpha: float = 0.1,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.margin = number("margin", margin, least=0)
        self.gamma = number("gamma", gamma, least=0)
        best = per_task("potential", potential or {}, self.tasks, default=1.0, above=0, most=1)
        self.add_state("potential", best, persistent=False)
        # MovingKPI does not get the potential: it would clamp KPIs to it, and the margin lies above it
        self.kpi = MovingKPI(self.tasks, alpha=alpha, process_group=process_group)

    def update(self, kpis: KPIs) -> None:
        self.kpi.update(kpis)

    def slope(self, losses: Tensor) -> Tensor:
        exponents = functional.achievement(self.kpi.average, self.potential, self.margin, self.gamma)
        exponents = exponents.masked_fill(losses == 0, 0)
        exponents = exponents / exponents.sum().clamp_min(1e-30)
        # x·log L, 0 at x = 0
        total = exponents.xlogy(losses).sum().exp()
        return exponents * total / losses
