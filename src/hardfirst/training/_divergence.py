"""The reason why a run diverged."""

import math
from collections.abc import Mapping

from torch import Tensor

from hardfirst.training._batch import not_finite


class Diverged(Exception):  # noqa: N818  # an outcome, not an error
    """A total was not finite; the message names the tasks whose loss was not finite."""


def divergence_reason(epoch: int, step: int, losses: Mapping[str, float], targets: Mapping[str, Tensor]) -> str:
    """Say which loss was not finite in a step, and the likely cause in its target.

    Args:
        epoch: counts from 0.
        step: counts from 1.
        losses: those of the step whose total was not finite.
        targets: the targets of its batch.
    """
    tasks = [task for task, loss in losses.items() if not math.isfinite(loss)]
    where = f"in epoch {epoch + 1}, step {step}"
    if not tasks:
        return f"the total was not finite {where}"
    causes = [f"; {cause}" for task in tasks if (cause := not_finite(task, targets.get(task)))]
    return f"the loss of {', '.join(tasks)} was not finite {where}{''.join(causes)}"
