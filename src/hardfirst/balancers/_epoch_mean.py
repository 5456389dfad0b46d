"""The mean of each task's loss over an epoch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import TaskState


class EpochMean(TaskState):
    """The mean of each task's loss over the steps of an epoch in which the task was present.

    Args:
        tasks: the tasks; each has its own count of steps.
    """

    total: Tensor
    count: Tensor

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__(tasks, process_group=False)
        self.add_state("total", 0.0)
        self.add_state("count", 0, dtype=torch.int64)

    @torch.no_grad()
    def add(self, losses: Tensor) -> None:
        """Add the losses [T] of a step, NaN where a task is absent."""
        self.total.add_(losses.nan_to_num(0))
        self.count.add_(losses == losses)  # noqa: PLR0124  # false for NaN

    @torch.no_grad()
    def close(self) -> Tensor:
        """Return the means [T], NaN for a task that was never present, and start the next epoch."""
        mean = self.total / self.count
        self.total.zero_()
        self.count.zero_()
        return mean
