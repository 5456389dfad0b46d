"""The learning-rate schedules that a recipe can name: functions of the optimizer, the run's length and their options."""

import math
from typing import Literal, NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from hardfirst.errors import number, whole


class Schedule(NamedTuple):
    """A scheduler, and when to step it.

    Args:
        scheduler: a torch scheduler; None for a constant learning rate.
        after: "step" or "epoch"; or "validation", which passes it the validation score of each epoch.

    Example:
        >>> from torch.optim.lr_scheduler import ExponentialLR
        >>> from hardfirst.recipes import Recipe
        >>> def falling(optimizer, steps, epochs):
        ...     return Schedule(ExponentialLR(optimizer, 0.9), after="step")
        >>> recipe = Recipe(schedule=falling)
    """

    scheduler: LRScheduler | ReduceLROnPlateau | None
    after: Literal["step", "epoch", "validation"] = "epoch"


def constant(optimizer: Optimizer, steps: int, epochs: int) -> Schedule:
    """Keep the learning rate constant.

    Args:
        optimizer: the optimizer.
        steps: the number of optimizer steps in an epoch.
        epochs: the number of epochs of the run.

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> recipe = Recipe("sgd", "constant")
        >>> optimizer = recipe.make_optimizer(nn.Linear(2, 1), learning_rate=1.0)
        >>> scheduler, after = recipe.make_schedule(optimizer, steps=10, epochs=10)
        >>> scheduler is None
        True
    """
    return Schedule(None)


def step(optimizer: Optimizer, steps: int, epochs: int, *, every: int, factor: float = 0.5) -> Schedule:
    """Multiply the learning rate by a factor every few epochs.

    Args:
        optimizer: the optimizer.
        steps: the number of optimizer steps in an epoch.
        epochs: the number of epochs of the run.
        every: the number of epochs between two reductions, at least 1.
        factor: the factor of each reduction, in (0, 1].

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> recipe = Recipe("sgd", "step:every=1,factor=0.5")
        >>> optimizer = recipe.make_optimizer(nn.Linear(2, 1), learning_rate=1.0)
        >>> scheduler, after = recipe.make_schedule(optimizer, steps=10, epochs=10)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> after, optimizer.param_groups[0]["lr"]
        ('epoch', 0.5)
    """
    return Schedule(
        StepLR(optimizer, whole("every", every, least=1), number("factor", factor, above=0, most=1)), after="epoch"
    )


def cosine(optimizer: Optimizer, steps: int, epochs: int, *, warmup: float = 0.0, least: float = 0.0) -> Schedule:
    """Lower the learning rate by half a cosine, after a linear warm-up (Loshchilov and Hutter, ICLR 2017, no restarts).

    Args:
        optimizer: the optimizer.
        steps: the number of optimizer steps in an epoch.
        epochs: the number of epochs of the run.
        warmup: the share of all steps in which the rate rises from 0, in [0, 1).
        least: the final rate, relative to the highest, in [0, 1].

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> recipe = Recipe("sgd", "cosine:warmup=0.05")
        >>> optimizer = recipe.make_optimizer(nn.Linear(2, 1), learning_rate=1.0)
        >>> scheduler, after = recipe.make_schedule(optimizer, steps=10, epochs=10)
        >>> after, optimizer.param_groups[0]["lr"]  # 20% of the warm-up
        ('step', 0.2)
    """
    total = steps * epochs
    rising = round(number("warmup", warmup, least=0, below=1) * total)
    least = number("least", least, least=0, most=1)

    def factor(done: int) -> float:
        if done < rising:
            return (done + 1) / rising
        share = (done - rising) / max(total - rising, 1)
        return least + (1 - least) * (1 + math.cos(math.pi * min(share, 1.0))) / 2

    return Schedule(LambdaLR(optimizer, factor), after="step")


def onecycle(
    optimizer: Optimizer, steps: int, epochs: int, *, warmup: float = 0.3, start: float = 0.04, end: float = 4e-6
) -> Schedule:
    """Raise and lower the learning rate, each by half a cosine (Smith and Topin, 2019). Momentum stays constant.

    Args:
        optimizer: the optimizer.
        steps: the number of optimizer steps in an epoch.
        epochs: the number of epochs of the run.
        warmup: the share of all steps in which the rate rises, in (0, 1).
        start: the initial rate, relative to the highest, in (0, 1].
        end: the final rate, relative to the highest, in (0, 1].

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> recipe = Recipe("sgd", "onecycle:start=0.1")
        >>> optimizer = recipe.make_optimizer(nn.Linear(2, 1), learning_rate=1.0)
        >>> scheduler, after = recipe.make_schedule(optimizer, steps=10, epochs=10)
        >>> after, round(optimizer.param_groups[0]["lr"], 3)
        ('step', 0.1)
    """
    start, end = number("start", start, above=0, most=1), number("end", end, above=0, most=1)
    scheduler = OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=max(steps * epochs, 2),
        pct_start=number("warmup", warmup, above=0, below=1),
        cycle_momentum=False,
        div_factor=1 / start,
        final_div_factor=start / end,
    )
    return Schedule(scheduler, after="step")


def plateau(
    optimizer: Optimizer, steps: int, epochs: int, *, factor: float = 0.5, patience: int = 5, least: float = 0.0
) -> Schedule:
    """Multiply the learning rate by a factor when the validation score has not improved for some epochs.

    Args:
        optimizer: the optimizer.
        steps: the number of optimizer steps in an epoch.
        epochs: the number of epochs of the run.
        factor: the factor of each reduction, in (0, 1).
        patience: the number of epochs without improvement to wait for, at least 0.
        least: the lowest rate, at least 0.

    Example:
        >>> from torch import nn
        >>> from hardfirst.recipes import Recipe
        >>> recipe = Recipe("sgd", "plateau:patience=0")
        >>> optimizer = recipe.make_optimizer(nn.Linear(2, 1), learning_rate=1.0)
        >>> scheduler, after = recipe.make_schedule(optimizer, steps=10, epochs=10)
        >>> for score in (0.5, 0.4):
        ...     scheduler.step(score)
        >>> after, optimizer.param_groups[0]["lr"]
        ('validation', 0.5)
    """
    scheduler = ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=number("factor", factor, above=0, below=1),
        patience=whole("patience", patience, least=0),
        min_lr=number("least", least, least=0),
    )
    return Schedule(scheduler, after="validation")
