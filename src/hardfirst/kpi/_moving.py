"""The exponential moving average of each task's KPI."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group, TaskState
from hardfirst.errors import InputError, number, per_task
from hardfirst.functional._scalar import moving_average_on_host, on_host


class MovingKPI(TaskState):
    r"""The moving average of each task's KPI: :math:`\bar\kappa_t \leftarrow \alpha\kappa_t + (1-\alpha)\bar\kappa_t`.

    The first observation is the first average; a KPI that is left out or NaN does not change its average. Over several
    ranks, the mean over the ranks that measured the KPI enters.

    Args:
        tasks: distinct non-empty strings.
        alpha: the share of the new value, in (0, 1]: 0.1 for noisy KPIs of batches, 0.75 for KPIs that come once an epoch.
        potential: by task, the highest KPI that it can reach, in (0, 1]; κ is divided by it and clamped to 1 before it
            enters the average.
        process_group: the ranks to average over; None for the default group, False for none.

    Attributes:
        average: [T] float32, in the order of `tasks`; NaN where nothing was measured.

    Example:
        >>> moving = MovingKPI(["depth", "segment"], alpha=0.5)
        >>> moving.update({"depth": 0.2, "segment": 0.8})
        >>> moving.update({"depth": 0.4})
        >>> moving.average
        tensor([0.3000, 0.8000])

    References:
        Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018, Sec. 3.2.
    """

    average: Tensor
    potential: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        alpha: float = 0.1,
        potential: Mapping[str, float] | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        self.alpha = number("alpha", alpha, above=0, most=1)
        self.add_state("average", math.nan)
        self.best = per_task("potential", potential, self.tasks, default=1.0, above=0, most=1) if potential else None
        if self.best:
            self.add_state("potential", self.best, persistent=False)
        self._checked = False

    def update(self, kpis: Mapping[str, Tensor | float]) -> None:
        """Record one observation of each KPI.

        Args:
            kpis: by task, a number in [0, 1] or a 0-d tensor. The range of tensors is checked at the first update only,
                since a check waits for the device; later ones are clamped.

        Raises:
            InputError: a name is unknown, or a value is not in [0, 1].
        """
        if on_host(self.average) and not self.is_distributed():
            average = moving_average_on_host(self.average, self._checked_kpis(kpis), self.alpha, self.best)
        else:
            new = self.mean_over_ranks(self.scaled(kpis).detach())
            average = functional.moving_average(self.average, new, alpha=self.alpha)
        self.average.copy_(average)

    def scaled(self, kpis: Mapping[str, Tensor | float]) -> Tensor:
        """The KPIs as shares of the potential, at most 1: [T] float32 with their graph, NaN where there is no KPI."""
        vector = self._checked_kpis(kpis).to(self.average)
        return (vector / self.potential if self.best else vector).clamp(0, 1)

    def _checked_kpis(self, kpis: Mapping[str, Tensor | float]) -> Tensor:
        """The KPIs as a vector [T], checked to be in [0, 1]: numbers in every step, tensors at the first update."""
        vector = self.stack_by_task(kpis, "KPI")
        for task, value in kpis.items():
            if not isinstance(value, Tensor) and value is not None:
                _check_range(task, value)
        # a fake tensor has no values to check, and a compiled graph must not wait for them
        if not self._checked and type(vector) is Tensor and not torch.compiler.is_compiling():
            for task, value in zip(self.tasks, vector.tolist(), strict=True):
                _check_range(task, value)
            self._checked = True
        return vector


def _check_range(task: str, value: float) -> None:
    number = float(value)
    if not math.isnan(number) and not -1e-6 <= number <= 1 + 1e-6:
        raise InputError(f"Expected the KPI of task {task!r} to be in [0, 1]; got {value}. A percentage? Divide by 100.")
