"""The reason why a run diverged."""

import math
from collections.abc import Mapping

from torch import Tensor

from hardfirst.training._batch import label_mask


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
    causes = [f"; {cause}" for task in tasks if (cause := _cause(task, targets.get(task)))]
    return f"the loss of {', '.join(tasks)} was not finite {where}{''.join(causes)}"


def _cause(task: str, target: Tensor | None) -> str | None:
    """Say what in a task's target makes its loss infinite or NaN; None if nothing does."""
    if target is None or not target.is_floating_point():
        return None
    if bool(target.isinf().any()):
        return f"the target of {task} has infinite values"
    labels = label_mask(target).flatten(1) if target.dim() > 1 else label_mask(target)[:, None]
    if bool((labels.any(1) & ~labels.all(1)).any()):
        return f"the target of {task} is NaN in parts of examples, such as pixels, which the task's loss must skip"
    return None
