"""The exponential moving average of each task's KPI."""

import math
from collections.abc import Mapping, Sequence
from ctypes import Array
from numbers import Real
from typing import Any

from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group, TaskState
from hardfirst.errors import check_kpi, check_names, number, per_task
from hardfirst.functional._scalar import has_values, host_memory, moving_averages, on_host


class MovingKPI(TaskState):
    r"""The moving average of each task's KPI: :math:`\bar\kappa_t \leftarrow \alpha\kappa_t + (1-\alpha)\bar\kappa_t`.

    The first observation is the first average. A KPI that is left out or NaN does not change its average. With several
    ranks, the update uses the mean over the ranks that measured the KPI.

    Args:
        tasks: distinct non-empty strings.
        alpha: the weight of the new value, in (0, 1]: 0.1 for noisy KPIs of batches, 0.75 for KPIs once per epoch.
        potential: by task, the highest KPI that it can reach, in (0, 1]; κ is divided by it and clamped to 1 before it
            enters the average.
        process_group: the ranks to average over; None for the default group, False for none.

    Attributes:
        average: [T] float32, in the order of `tasks`; NaN where nothing has been measured.

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
        self._observations = [0]
        self.best = per_task("potential", potential, self.tasks, default=1.0, above=0, most=1) if potential else None
        if self.best:
            self.add_state("potential", self.best, persistent=False)
        # tasks whose KPI on a device has never been checked, with the number of updates that contained it
        self._unseen = dict.fromkeys(self.tasks, 0)

    def update(self, kpis: Mapping[str, Tensor | float]) -> None:
        """Record one observation of each KPI.

        Args:
            kpis: by task, a number in [0, 1] or a 0-d tensor. On a device, the range of a tensor is checked only when its
                task first has a KPI, since a check waits for the device; later values are clamped. If that value is NaN,
                the check is repeated at the 2nd, 4th, 8th, … update.

        Raises:
            InputError: a name is unknown, or a value is not in [0, 1].
        """
        memory = None if self.is_distributed() else self._memory()
        numbers = None if memory is None else self._scaled_numbers(kpis)
        if memory is None or numbers is None:
            new = self.mean_over_ranks(self.scaled(kpis).detach())
            self.average.copy_(functional.moving_average(self.average, new, alpha=self.alpha))
        else:
            self._observations[0] += 1
            memory[:] = moving_averages(memory[:], numbers, self.alpha)

    @property
    def observations(self) -> int:
        """The approximate number of updates in this process. Not part of the state."""
        # torch counts the writes of the other path, in which a step may be compiled
        return self._observations[0] + self.average._version

    def _memory(self) -> Array[Any] | None:
        """Return the memory of `average` as Python numbers, valid within one step; None if reading it is not free."""
        average = self._buffers["average"]  # faster than attribute access on an nn.Module
        return None if average is None else host_memory(average)

    def scaled(self, kpis: Mapping[str, Tensor | float]) -> Tensor:
        """Divide the KPIs by the potential, at most 1: [T] float32 with their graph, NaN where there is no KPI."""
        vector = self.stack_by_task(kpis, "KPI")
        for task, value in kpis.items():
            if not isinstance(value, Tensor) and value is not None:
                check_kpi(task, value)
        if has_values(vector):
            self._check_values(vector, kpis)
        vector = vector.to(self.average)
        return (vector if self.best is None else vector / self.potential).clamp(0, 1)

    def _scaled_numbers(self, kpis: Mapping[str, Tensor | float]) -> list[float] | None:
        """Compute `scaled` in Python numbers; None if these are not numbers and 0-d tensors in a plain dictionary."""
        if type(kpis) is not dict:
            return None
        numbers, absent = [], False
        for task in self.tasks:
            kpi = kpis.get(task)
            if isinstance(kpi, Tensor) and not kpi.dim():
                number: float = kpi.tolist()  # type: ignore[assignment]  # of a 0-d tensor; `item` dispatches
            elif type(kpi) is float or isinstance(kpi, Real):
                number = float(kpi)
            elif kpi is None:
                number, absent = math.nan, True
            else:
                return None
            if not 0.0 <= number <= 1.0:
                check_kpi(task, kpi if isinstance(kpi, int) else number)
                number = _clamp(number)
            numbers.append(number)
        if absent or len(kpis) != len(numbers):
            check_names("task", kpis, self.tasks)
        return numbers if self.best is None else [_clamp(kpi / best) for kpi, best in zip(numbers, self.best, strict=True)]

    def _looks_now(self, kpis: Mapping[str, Tensor | float]) -> bool:
        """Return whether to read KPIs on a device: in the 1st, 2nd, 4th, 8th, … update with a task not seen before.

        Otherwise a KPI that stays NaN would make every step wait for the device.
        """
        given = {task: count + 1 for task, count in self._unseen.items() if task in kpis}
        self._unseen |= given
        return any(count & (count - 1) == 0 for count in given.values())

    def _check_values(self, vector: Tensor, kpis: Mapping[str, Tensor | float]) -> None:
        """Check the range of values: all of them where reading is free, else those of tasks not seen before."""
        on_device = not on_host(vector)
        if on_device and not self._looks_now(kpis):
            return
        for task, value in zip(self.tasks, vector.tolist(), strict=True):
            if not on_device or task in self._unseen:
                check_kpi(task, value)
            if not math.isnan(value):
                self._unseen.pop(task, None)


def _clamp(share: float) -> float:
    return share if 0.0 <= share <= 1.0 or math.isnan(share) else float(share > 0)
