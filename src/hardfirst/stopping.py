"""Early stopping for single tasks, while the others keep training."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group, TaskState
from hardfirst.errors import check_kpi, number, whole


class TaskEarlyStopping(TaskState):
    """Early stopping by task: a task whose validation KPI has stopped rising no longer contributes to the loss.

    Its loss is multiplied by 0, which balancers treat as absent: it enters no state, and no other task's weight changes.
    A stopped task stays stopped. Its KPI may still change, since the other tasks keep training the shared parameters.

    Args:
        tasks: distinct non-empty strings.
        patience: the number of validations without a rise after which a task stops; at least 1.
        min_delta: the smallest rise that counts, at least 0.
        process_group: the ranks that KPIs are averaged over; None for the default group, False for none.

    Attributes:
        best: [T] float32, each task's best KPI so far; NaN before the first.
        waited: [T] float32, the number of validations since then.

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
        self.add_state("best", math.nan)
        self.add_state("waited", 0.0)

    @torch.no_grad()
    def update(self, kpis: Mapping[str, Tensor | float]) -> None:
        """Record the KPIs of one validation; a task whose KPI is left out or NaN is not updated.

        Raises:
            InputError: a name is unknown, or a KPI is not in [0, 1].
        """
        vector = self.stack_by_task(kpis, "KPI").to(self.best)
        for task, kpi in zip(self.tasks, vector.tolist(), strict=True):
            check_kpi(task, kpi)
        new = self.mean_over_ranks(vector)
        rises = ~(new <= self.best + self.min_delta) & ~new.isnan()
        active = self.waited < self.patience
        self.waited.copy_(torch.where(new.isnan() | ~active, self.waited, torch.where(rises, 0.0, self.waited + 1)))
        self.best.copy_(torch.where(rises & active, new, self.best))

    @property
    def stopped(self) -> tuple[str, ...]:
        """The tasks that are no longer trained."""
        return tuple(task for task, waited in zip(self.tasks, self.waited.tolist(), strict=True) if waited >= self.patience)

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Replace the losses of stopped tasks by 0, which keep their graph, since DDP needs it.

        One that is not finite loses its graph as well: 0·∞ would make the gradients NaN.

        Args:
            losses: by task, 0-d tensors.

        Returns:
            The losses in the same order; those of tasks that train as they are.
        """
        stopped = self.stopped
        return {task: _silenced(loss) if task in stopped else loss for task, loss in losses.items()}


def _silenced(loss: Tensor) -> Tensor:
    return loss * 0 if bool(loss.isfinite()) else torch.zeros_like(loss)
