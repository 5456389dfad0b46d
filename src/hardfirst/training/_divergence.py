"""Why a run diverged."""

from collections.abc import Mapping

from torch import Tensor

from hardfirst.training._batch import Measurements, not_finite
from hardfirst.training._position import Position


class Diverged(Exception):  # noqa: N818  # an outcome, not an error
    """A total was not finite; the message names the tasks whose loss was not."""


def divergence_reason(measured: Measurements, targets: Mapping[str, Tensor], position: Position) -> str:
    """Which loss was not finite in the step at this position, and what in its target may be why."""
    tasks = [task for task, loss in measured.losses.items() if not loss.isfinite()]
    where = f"in epoch {position.epoch + 1}, step {position.step + 1}"
    if not tasks:
        return f"the total was not finite {where}"
    causes = [f"; {cause}" for task in tasks if (cause := not_finite(task, targets.get(task)))]
    return f"the loss of {', '.join(tasks)} was not finite {where}{''.join(causes)}"
