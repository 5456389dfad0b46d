"""Base class of gradient methods with a preference for each task."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.errors import InputError, mapping, per_task


class PreferenceBalancer(GramianBalancer):
    """Base class of methods in which the user may prefer some tasks.

    Args:
        tasks: distinct non-empty strings.
        preference: one number per task, at least 0; default: 1 per task.
        process_group: see `Balancer`.

    Raises:
        InputError: a preference is below 0, all are 0, or one names an unknown task.
    """

    def __init__(
        self, tasks: Sequence[str], *, preference: Mapping[str, float] | None = None, process_group: Group = None
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        if preference is not None:
            mapping("preference", preference, f"{{{self.tasks[0]!r}: 2.0}}")
        self.preference = per_task("preference", preference or {}, self.tasks, default=1.0, least=0)
        if not any(self.preference):
            raise InputError("Expected a `preference` above 0 for at least one task; got 0 for all.")

    def _preferred(self, present: Tensor) -> Tensor:
        """Return the preferences [k] of the tasks at these positions, float64; all 1 if they are all 0."""
        chosen = torch.tensor(self.preference, dtype=torch.float64)[present]
        return chosen if chosen.any() else torch.ones_like(chosen)
