"""What cannot be trained together, and why."""

from collections.abc import Sequence
from dataclasses import replace

from hardfirst.problems import Problem
from hardfirst.recipes import OptimizerSpec, Recipe, ScheduleSpec
from hardfirst.training._protocol import PUBLISHED
from hardfirst.training._trial import Trial

# Elementwise, and their step is proportional to the learning rate, so that one step serves trials with different rates.
_OPTIMIZERS = ("adam", "adamw", "sgd")
# The same curve for all trials, in proportion to each one's learning rate; or, as plateau, one for each trial.
_SCHEDULES = ("constant", "cosine", "onecycle", "plateau", "step")


class NotVectorizable(Exception):  # noqa: N818  # no error: the trials are then trained one by one
    """These trials cannot be trained together; nothing was written.

    Args:
        reason: one sentence.

    Example:
        >>> NotVectorizable("The trials have different networks.").reason
        'The trials have different networks.'
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_alike(trials: Sequence[Trial]) -> None:
    """Raise `NotVectorizable` unless the trials differ only in seed, learning rate and balancer.

    With equal weights they may also differ in the only task that they train.
    """
    first = trials[0]
    # Other methods have state by task. A loss is chosen for one task.
    alone = all(each.only is not None and each.loss is None and each.balancer.name == "equal" for each in trials)
    if first.protocol == PUBLISHED:
        raise NotVectorizable(f"Trials under the protocol {PUBLISHED} are trained one by one.")
    for trial in trials:
        only = first.only if alone else trial.only
        if replace(trial, seed=first.seed, learning_rate=first.learning_rate, balancer=first.balancer, only=only) != first:
            raise NotVectorizable("The trials differ in more than seed, learning rate and balancer.")
        if trial.balancer.file != first.balancer.file:  # an error in a user's file names that file
            raise NotVectorizable("The trials' balancers are from different files.")


def check_recipe(problem: Problem) -> None:
    """Raise `NotVectorizable` for a recipe whose steps are not those of a stacked network."""
    recipe = problem.recipe
    if reason := _unsuitable(recipe):
        raise NotVectorizable(f"The recipe of problem {problem.name!r} has {reason}.")


def _unsuitable(recipe: Recipe) -> str | None:
    if not isinstance(recipe.optimizer, str) or OptimizerSpec.parse(recipe.optimizer).name not in _OPTIMIZERS:
        return f"an optimizer other than {', '.join(_OPTIMIZERS)}"
    if not isinstance(recipe.schedule, str) or ScheduleSpec.parse(recipe.schedule).name not in _SCHEDULES:
        return f"a schedule other than {', '.join(_SCHEDULES)}"
    if recipe.precision != "32-true":
        return f"precision {recipe.precision}, and not 32-true"
    return None
