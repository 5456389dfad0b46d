"""Stop training a task that no longer gets better, while the others go on."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group, TaskState, check_number
from hardfirst.errors import number, whole


class TaskEarlyStopping(TaskState):
    """Early stopping task by task: a task whose validation KPI has not risen for some time is left out of the loss.

    Its loss is multiplied by 0, which balancers take for "absent": it enters no state, and no other task's weight changes.
    A stopped task stays stopped. Its figures may still move, since the others go on to train what is shared.

    Args:
        tasks: distinct non-empty strings.
        patience: so many validations without a rise stop a task; at least 1.
        min_delta: what counts as a rise, above 0.
        process_group: the ranks that KPIs are averaged over; None for the default group, False for none.

    Attributes:
        best: [T] float32, each task's best KPI so far; NaN before the first.
        waited: [T] float32, how many validations there have been since.

    Raises:
        InputError: a number is out of its range; in use, if a name is unknown.

    Example:
        >>> stopping = TaskEarlyStopping(["digit", "bright"], patience=2)
        >>> for kpi in (0.90, 0.90, 0.89):
        ...     stopping.update({"digit": kpi - 0.3 + stopping.waited[1] / 10, "bright": kpi})
        >>> stopping.stopped
        ('bright',)
        >>> losses = {"digit": torch.tensor(1.5), "bright": torch.tensor(0.2)}
        >>> stopping(losses)
        {'digit': tensor(1.5000), 'bright': tensor(0.)}
    """

    best: Tensor
    waited: Tensor

    def __init__(
        self, tasks: Sequence[str], *, patience: int = 5, min_delta: float = 0.0, process_group: Group = None
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        self.patience = whole("patience", patience, least=1)
        self.min_delta = number("min_delta", min_delta, least=0)
        self._hold("best", math.nan)
        self._hold("waited", 0.0)

    @torch.no_grad()
    def update(self, kpis: Mapping[str, Tensor | float]) -> None:
        """Take in one validation; a KPI that is left out or NaN leaves its task as it was."""
        new = self._mean_over_ranks(self._vector(kpis, "KPI", absent=math.nan, check=check_number).to(self.best))
        rises = ~(new <= self.best + self.min_delta) & ~new.isnan()
        going = self.waited < self.patience
        self.waited.copy_(torch.where(new.isnan() | ~going, self.waited, torch.where(rises, 0.0, self.waited + 1)))
        self.best.copy_(torch.where(rises & going, new, self.best))

    @property
    def stopped(self) -> tuple[str, ...]:
        """The tasks that are no longer trained."""
        return tuple(task for task, waited in zip(self.tasks, self.waited.tolist(), strict=True) if waited >= self.patience)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses, those of stopped tasks times 0: they keep their graph, which DDP wants."""
        going = dict(zip(self.tasks, (self.waited < self.patience).unbind(), strict=True))
        return {task: torch.where(going[task], loss, loss * 0) for task, loss in losses.items()}
