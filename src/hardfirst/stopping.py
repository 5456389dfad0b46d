"""Early stopping for single tasks, while the others keep training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hardfirst._task_state import Group, TaskState
from hardfirst.errors import check_kpi, number, whole


class TaskEarlyStopping(TaskState):
    """Early stopping by task: a task whose validation KPI has stopped rising no longer contributes to the loss.

    Its loss is multiplied by 0, which balancers treat as absent: it does not change their state or other tasks' weights.
    A stopped task stays stopped. Its KPI may still change, since the other tasks keep training the shared parameters.

    Args:
        tasks: distinct non-empty strings.
        patience: the number of validations without a rise after which a task stops; at least 1.
        min_delta: the smallest rise that counts, at least 0.
        process_group: the ranks over which KPIs are averaged; None for the default group, False for none.

    Attributes:
        best: [T] float32, each task's best KPI so far; NaN before the first.
        waited: [T] float32, the number of validations since then.

    Raises:
        InputError: a number is out of range; in use, if a name is unknown.

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
        self._stopped: tuple[str, ...] | None = None  # None: to be read from `waited`

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
        self._stopped = None

    def reset(self) -> None:
        super().reset()
        self._stopped = None

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._stopped = None

    @property
    def stopped(self) -> tuple[str, ...]:
        """The tasks that are no longer trained. Read once after each change, since reading waits for the device."""
        if self._stopped is None:
            waited = dict(zip(self.tasks, self.waited.tolist(), strict=True))
            self._stopped = tuple(task for task in self.tasks if waited[task] >= self.patience)
        return self._stopped

    def forward(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Replace the losses of stopped tasks by 0, which keep their graph, since DDP needs it.

        A loss that is not finite also loses its graph: 0·∞ would make the gradients NaN. The check waits for the device,
        once in each step after the first task has stopped.

        Args:
            losses: by task, 0-d tensors.

        Returns:
            The losses in the same order; those of tasks still in training are unchanged.
        """
        stopped = [task for task in losses if task in self.stopped]
        if not stopped:
            return dict(losses)
        finite = torch.stack([losses[task].detach().isfinite() for task in stopped]).tolist()
        silenced = {
            task: losses[task] * 0 if is_finite else torch.zeros_like(losses[task])
            for task, is_finite in zip(stopped, finite, strict=True)
        }
        return {**losses, **silenced}
