"""The reason why a run diverged."""

import math
from collections.abc import Mapping

from torch import Tensor

from hardfirst.training._batch import not_finite
from hardfirst.training._steps import StepNumbers


class Diverged(Exception):  # noqa: N818  # an outcome, not an error
    """A total was not finite; the message names the tasks whose loss was not finite."""


def divergence_reason(step: StepNumbers, targets: Mapping[str, Tensor], epoch: int) -> str:
    """Say which loss was not finite in a step of this epoch, and the likely cause in its target.

    Args:
        step: the step whose total was not finite.
        targets: the targets of its batch.
        epoch: counts from 0.
    """
    tasks = [task for task, loss in step.losses.items() if not math.isfinite(loss)]
    where = f"in epoch {epoch + 1}, step {step.step}"
    if not tasks:
        return f"the total was not finite {where}"
    causes = [f"; {cause}" for task in tasks if (cause := not_finite(task, targets.get(task)))]
    return f"the loss of {', '.join(tasks)} was not finite {where}{''.join(causes)}"
