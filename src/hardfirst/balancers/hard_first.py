from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, Literal

import torch
from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group
from hardfirst.balancers._base import KPIs
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._ops import refuse_without_steps
from hardfirst.balancers._search_space import Range
from hardfirst.errors import InputError, flag, number, warn_caller
from hardfirst.functional._scalar import has_values, host_memory
from hardfirst.kpi import MovingKPI
from hardfirst.records.names import NO_ANNEALING, NO_RESTART

_FIRST_STEPS = 20  # with equal shares, since a trend over fewer steps is noise
_HORIZON = 0.5  # the share of training over which a trend is extended
_LEAST_SHARE = 1e-5  # of a task without a gap
_LEAST_SPREAD = 1e-6  # of the times of KPIs, squared, in units of the search: several KPIs at one time have no trend


class HardFirst(LossBalancer):
    r"""Hard tasks first: weights :math:`w_t = (1 - u) \, T P_t / \sum_j P_j + u`, found by a short search.

    Training starts with equal weights. During this search, the method estimates for each task the gap that training can
    close: :math:`\min(1 - \bar\kappa_t, \, N/2 \cdot q_t b_t)`, where :math:`b_t` is the slope of the task's KPI per step
    and :math:`q_t` in [0, 1] says how certain it is that the KPI rises. A task with a low KPI that does not rise gets no
    extra weight, since it may be noise. :math:`P_t` is the time average of the tasks' shares of :math:`-(1 - x) \ln x`,
    x being 1 minus the gap. After the search, network and optimizer are put back to step 0 and train with the weights w,
    which change over to equal weights towards the end of training.

    When to use: Use when hard tasks that can still learn are crowded out by easy ones, and the easy tasks are relearned in
    the last steps with equal weights. It loses when easy tasks do not recover within these steps, for example with many
    tasks on a small network; when training is short, since the search costs 15% of the steps; and when a task's KPI rises
    only late, since the search then takes it for noise. `hardfirst compare` shows which case applies.

    Cost: one backward pass per step; 9·T + 1 values of state, and the network's initial weights until the restart.

    Args:
        tasks: distinct non-empty strings.
        search: the share of training for the search, in (0, 1).
        alpha: the weight of the new KPI in the average, in (0, 1].
        uniform: the share u of equal weights, in [0, 1].
        anneal: the change to equal weights, see `LossBalancer`; False for none.
        restart: whether network and optimizer are put back to step 0 after the search. The trainer and the mixins do it; a
            loop of your own must, see `restarted`.
        steps: the number of training steps of the whole training, search included, at least 1. The trainer and the mixins
            set it; a loop of your own must.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range. In a training step: `steps` is not known.

    Example:
        >>> import torch
        >>> balancer = HardFirst(["easy", "hard", "noise"], steps=1000)
        >>> for step in range(150):
        ...     kpis = {"easy": 0.9, "hard": 0.3 + 0.001 * step, "noise": 0.3}
        ...     total = balancer({task: torch.tensor(1.0) for task in kpis}, kpis)
        >>> balancer.restarted
        True
        >>> balancer.weights
        {'easy': tensor(0.2001), 'hard': tensor(2.5998), 'noise': tensor(0.2001)}

    Note:
        The method is from this library; it has no paper. The regression of the KPI is on training steps, so a KPI that is
        measured once per epoch has the same slope as one of every batch. It forgets with a time constant of the search's
        length, and needs three KPIs of a task. Until then, and in the first 20 steps, the task has the share of an equal
        weight; if the search is shorter than that, all weights stay equal. Shares of the first third of the search do not
        enter P. KPIs after the search change nothing.

        The trainer starts the learning-rate schedule again over the epochs that remain, and selects no epoch before the
        restart; the mixins leave the host's schedule and monitors as they are.
    """

    needs = frozenset({"kpis"})
    ranges = {"search": Range(0.05, 0.3), "uniform": Range(0, 0.9)}
    controls = {NO_RESTART: {"restart": False}, NO_ANNEALING: {"anneal": False}}
    sums: Tensor
    last: Tensor
    priority: Tensor

    @classmethod
    def example_options(cls, tasks: Sequence[str]) -> Mapping[str, Any]:
        return {"steps": 100_000}

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        search: float = 0.15,
        alpha: float = 0.1,
        uniform: float = 0.2,
        anneal: Anneal | Literal[False] = (0.6, 0.8),
        restart: bool = True,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=None if anneal is False else anneal, steps=steps, process_group=process_group)
        self.share = number("search", search, above=0, below=1)
        self.uniform = number("uniform", uniform, least=0, most=1)
        self.restart = flag("restart", restart)
        self._restart_known = not restart  # whether the loop has read that network and optimizer go back
        self.kpi = MovingKPI(self.tasks, alpha=alpha, process_group=process_group)
        # by task, discounted sums over its KPIs κ at times t, in units of the search: of 1, t, t², κ, tκ, κ²
        self.add_state("sums", [[0.0] * 6 for _ in self.tasks], task_axes=1)
        self.add_state("last", 0, dtype=torch.int64)  # the step of the latest KPI
        self.add_state("priority", 0.0)  # P
        if self.anneal is None:
            self.add_state("steps_done", [0], dtype=torch.int64)

    @classmethod
    def search(
        cls, tasks: Sequence[str], train: Callable[[LossBalancer, int], object], *, steps: int, **options: Any
    ) -> dict[str, float]:
        """Run the search alone, and return the weights that it finds, for `Fixed`.

        Use it where a training is a function: the network that the search trains is discarded, so no loop needs a restart.

        Args:
            tasks: distinct non-empty strings.
            train: builds a network and an optimizer, and trains with a balancer for a number of steps, which it is given:
                `train(balancer, steps)`. It gives the balancer the KPIs of each step.
            steps: the number of training steps of the training that follows, at least 1.
            options: other options of the class.

        Returns:
            By task, its weight.

        Raises:
            InputError: `train` took fewer steps than the search needs.

        Example:
            >>> import torch, hardfirst
            >>> def train(balancer, steps):
            ...     network = torch.nn.Linear(1, 2)
            ...     optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
            ...     for step in range(steps):
            ...         output = network(torch.ones(1))
            ...         losses = {"easy": output[0] ** 2, "hard": (output[1] - 9) ** 2}
            ...         kpis = {"easy": 0.9, "hard": min(0.3 + 0.001 * step, 1.0)}
            ...         balancer.backward(losses, kpis)
            ...         optimizer.step()
            ...         optimizer.zero_grad()
            ...     return network
            >>> tasks = ["easy", "hard"]
            >>> weights = HardFirst.search(tasks, train, steps=1000)
            >>> {task: round(weight, 2) for task, weight in weights.items()}
            {'easy': 0.2, 'hard': 1.8}
            >>> network = train(hardfirst.balancers.Fixed(tasks, weights, anneal=(0.6, 0.8), steps=1000), 1000)
        """
        balancer = cls(tasks, **{"anneal": False, "restart": False, **options}, steps=steps)
        needed = balancer._search_steps(steps)
        train(balancer, needed)
        if (done := int(balancer.steps_done)) < needed:
            raise InputError(
                f"The search needs {needed} training steps, and `train` took {done}. Call the balancer in each."
            )
        return {task: float(weight) for task, weight in balancer.weights.items()}

    @property
    def needs_steps(self) -> bool:
        return self.steps is None

    @property
    def restart_step(self) -> int | None:
        self._restart_known = True
        return self._search_steps(self.steps) if self.restart and self.steps is not None else None

    @property
    def restarted(self) -> bool:
        return int(self.steps_done) == self.restart_step

    def _search_steps(self, steps: int) -> int:
        return min(ceil(self.share * steps), steps - 1)

    def _searching(self, steps: int) -> Tensor:
        """Return whether this step belongs to the search, [1]; unlike `_search_steps`, also for options that are tensors."""
        searched = -(-self.share * steps // 1)  # rounded up here, since torch compares whole numbers to a float in float32
        return (self.steps_done < searched) & (self.steps_done < steps - 1)

    @torch.no_grad()
    def update(self, kpis: KPIs) -> None:
        if self.needs_steps:
            refuse_without_steps(type(self).__name__)
        steps: int = self.steps  # type: ignore[assignment]  # refused above
        if has_values(self.steps_done) and not self._restart_known:
            self._look_for_restart(self._search_steps(steps))
        count = host_memory(self.steps_done)
        if count is not None and count[0] >= self._search_steps(steps):
            self.kpi.update(kpis)  # takes less time than the rest, which would change nothing
            return
        moving, done, searching, window = self.kpi, self.steps_done, self._searching(steps), self.share * steps
        kpi = self.mean_over_ranks(moving.scaled(kpis).detach())
        moving.average.copy_(functional.moving_average(moving.average, kpi, alpha=moving.alpha))
        kpi = torch.where(searching, kpi, torch.nan)
        absent, discount = kpi.isnan(), (1 - 1 / window) ** (done - self.last).float()
        sums = self.sums * discount.unsqueeze(1) + _moments(done / window, kpi)
        self.sums.copy_(torch.where(absent.unsqueeze(1), self.sums, sums))
        self.last.copy_(torch.where(absent, self.last, done))
        gap = _closable_gap(self.sums, moving.average, _HORIZON / self.share)
        shares = _shares(gap.masked_fill(done < _FIRST_STEPS, torch.nan))
        # without a KPI nothing is learned: the trainer also updates at an epoch's end, where most KPIs are of batches
        self.priority.add_(torch.where(absent.all() | (3 * done < window), 0, shares))

    def _look_for_restart(self, searched: int) -> None:
        """Warn once if steps of this process have followed the search and nothing has read when to restart."""
        if self.watch.steps > searched:
            self._restart_known = True
            warn_caller(
                f"The search of HardFirst has ended after {searched} training steps, and the loop has not read `restarted`. "
                "Put network and optimizer back to step 0 when it is True, or create the method with `restart=False`."
            )

    def current_weights(self) -> Tensor:
        if self.steps is None:
            return torch.ones_like(self.priority)
        found = (1 - self.uniform) * _with_mean_1(self.priority) + self.uniform
        return torch.where(self._searching(self.steps), 1.0, found)


def _moments(time: Tensor, kpi: Tensor) -> Tensor:
    """Return what one KPI per task [T] at a time [1] adds to the sums [T, 6]."""
    time = time.expand_as(kpi)
    return torch.stack([torch.ones_like(kpi), time, time * time, kpi, time * kpi, kpi * kpi], 1)


def _closable_gap(sums: Tensor, average: Tensor, horizon: float) -> Tensor:
    """Return the gap [T] that a task's trend would close over the horizon; NaN for a task without a trend."""
    n = sums[:, 0]
    time, time_squared, kpi, product, kpi_squared = (sums[:, 1:] / n.unsqueeze(1)).unbind(1)  # weighted means
    spread = time_squared - time * time
    slope = (product - time * kpi) / spread
    residual = (kpi_squared - kpi * kpi - slope * slope * spread).clamp_min(1e-8)
    error = (residual / spread / (n - 2).clamp_min(1)).sqrt()
    certainty = (slope / (2 * error)).clamp(0, 1)
    gap = torch.minimum(1 - average, horizon * certainty * slope.clamp_min(0))
    return torch.where((n > 2) & (spread > _LEAST_SPREAD), gap, torch.nan)


def _shares(gap: Tensor) -> Tensor:
    """Return the tasks' shares [T] of -(1 - x) ln x, x = 1 - gap, with mean 1; 1 for a task whose gap is NaN."""
    gap = gap.clamp(1e-3, 1 - 1e-3)
    weight = _LEAST_SHARE - torch.special.xlog1py(gap, -gap)
    known = weight.isnan().logical_not()
    return torch.where(known, weight * known.sum() / weight.nansum(), 1.0)


def _with_mean_1(sums: Tensor) -> Tensor:
    """Scale [T] to a mean of 1; all ones if the sum is 0."""
    total = sums.sum()
    return torch.where(total > 0, sums * len(sums) / total, 1.0)
