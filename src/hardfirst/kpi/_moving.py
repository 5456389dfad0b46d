"""How well each task has been doing of late."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group, TaskState, check_number
from hardfirst.errors import InputError, number, per_task
from hardfirst.functional import _scalar
from hardfirst.functional._scalar import on_host


class MovingKPI(TaskState):
    r"""The moving average of each task's KPI: :math:`\bar\kappa_t \leftarrow \alpha\kappa_t + (1-\alpha)\bar\kappa_t`.

    The first observation is the first average; a KPI that is left out or NaN leaves its average as it was. Over several
    ranks the mean of the ranks that measured it enters.

    Args:
        tasks: distinct non-empty strings.
        alpha: the share of the new value, in (0, 1].
        potential: by task, the KPI that it can reach at best, in (0, 1]; κ is divided by it, at most 1, before it enters.
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
        self._hold("average", math.nan)
        self.best = potential and per_task("potential", potential, self.tasks, default=1.0, above=0, most=1)
        if self.best:
            self._hold("potential", self.best, persistent=False)
        self._checked = False

    def update(self, kpis: Mapping[str, Tensor | float]) -> None:
        """Take in one observation of each KPI.

        Args:
            kpis: by task, a number in [0, 1] or a 0-d tensor. The range of tensors is checked at the first update only,
                since a check waits for the device; later ones are clamped.

        Raises:
            InputError: a name is unknown, or a value is not in [0, 1].
        """
        average = self.average
        if on_host(average) and not self._shared_by_ranks():
            pairs = zip(average.tolist(), self._numbers(kpis), strict=True)
            moved = [_scalar.moving_average(value, new, self.alpha) for value, new in pairs]
            average.copy_(torch.tensor(moved, dtype=torch.float32))
        else:
            new = self._mean_over_ranks(self.scaled(kpis).detach())
            average.copy_(functional.moving_average(average, new, alpha=self.alpha))

    def scaled(self, kpis: Mapping[str, Tensor | float]) -> Tensor:
        """The KPIs as a vector [T], as a share of the potential, with their graph; NaN where there is none."""
        vector = self._vector(kpis, "KPI", absent=math.nan, check=_check_number).to(self.average)
        # a fake tensor has no values to check, and a compiled graph must not wait for them
        if not torch.compiler.is_compiling() and not self._checked and type(vector) is Tensor:
            self._check_range(vector.tolist())
        return (vector / self.potential if self.best else vector).clamp(0, 1)

    def _numbers(self, kpis: Mapping[str, Tensor | float]) -> list[float]:
        """`scaled` in Python numbers."""
        values: list[float] = self._vector(kpis, "KPI", absent=math.nan, check=_check_number).tolist()
        if not self._checked:
            self._check_range(values)
        if self.best:
            values = [value / best for value, best in zip(values, self.best, strict=True)]
        return [value if 0.0 <= value <= 1.0 or math.isnan(value) else float(value > 0) for value in values]

    def _check_range(self, values: list[float]) -> None:
        for task, value in zip(self.tasks, values, strict=True):
            if not _in_range(value):
                raise _out_of_range(task, value)
        self._checked = True


def _check_number(task: str, value: object) -> None:
    check_number(task, value)
    if isinstance(value, Real) and not _in_range(float(value)):
        raise _out_of_range(task, value)


def _in_range(value: float) -> bool:
    return math.isnan(value) or -1e-6 <= value <= 1 + 1e-6


def _out_of_range(task: str, value: object) -> InputError:
    return InputError(f"Expected the KPI of task {task!r} to be in [0, 1]; got {value}. A percentage? Divide by 100.")
