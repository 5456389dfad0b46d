"""Warnings about a training loop that never gives a balancer what it learns from."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hardfirst.errors import warn_caller
from hardfirst.functional._scalar import has_values
from hardfirst.kpi import MovingKPI

if TYPE_CHECKING:
    from hardfirst.balancers._base import Balancer

STEPS = 1_000  # training steps without a KPI, or with one task at a time
STEPS_OF_AN_EPOCH = 20_000  # training steps without an end of an epoch, which may be long
EVALUATIONS = 500  # totals in eval mode that are back-propagated, without a training step between them
LAGGING = 0.3  # an `alpha` below it is for KPIs of batches


class StepWatch:
    """Counts a balancer's steps, as plain numbers outside its state, and warns once of each kind of mistake.

    Attributes:
        kpis_by_step: whether KPIs may be expected before the end of an epoch. False where validations give them: then the
            second end of an epoch without one is the time to warn.
    """

    __slots__ = ("epochs", "evaluations", "kpis_by_step", "most_tasks", "since_epoch", "steps", "warned")

    def __init__(self) -> None:
        self.steps = self.since_epoch = self.evaluations = self.epochs = self.most_tasks = 0
        self.kpis_by_step = True
        self.warned: set[str] = set()

    def step(self, balancer: "Balancer", tasks: int) -> None:
        """Count a total or a backward of a balancer that was given the losses of this many tasks."""
        if balancer.training:
            self.evaluations = 0
            self.steps += 1
            self.since_epoch += 1
            if tasks > self.most_tasks:  # noqa: PLR1730  # takes less time than `max`
                self.most_tasks = tasks
            if self.steps in (STEPS, STEPS_OF_AN_EPOCH):
                self._look_at_steps(balancer)
        elif self.evaluations >= EVALUATIONS and not balancer.is_paused and balancer.state_dict():
            self._warn(
                balancer,
                "eval",
                f"has been in eval mode in {EVALUATIONS} training steps one after another, and learns nothing in it. Call "
                "`train()` after validation; where the weights are to stand still, use `with balancer.paused():`.",
            )

    def follow(self, balancer: "Balancer", total: Tensor) -> None:
        """Count a total of eval mode if it is back-propagated, which validation does not do."""
        if total.requires_grad and has_values(total) and not balancer.is_paused and "eval" not in self.warned:
            total.register_hook(self._count_evaluation)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def _count_evaluation(self, _: Tensor) -> None:
        self.evaluations += 1

    def end_epoch(self, balancer: "Balancer") -> None:
        """Count the end of an epoch that had a training step."""
        if self.since_epoch:
            self.since_epoch = 0
            self.epochs += 1
            if self.epochs == 2:
                self._look_for_kpis(balancer, f"{self.epochs} epochs")
            if self.epochs == 3:
                self._look_for_lag(balancer)

    def _look_at_steps(self, balancer: "Balancer") -> None:
        if self.kpis_by_step:
            # of a validation after a long epoch nothing can be known yet
            note = " If the first validation is still to come, all is well."
            self._look_for_kpis(balancer, f"{self.steps} training steps", note)
        if self.steps == STEPS_OF_AN_EPOCH and "epochs" in balancer.needs and not self.epochs:
            self._warn(
                balancer,
                "epochs",
                f"counts epochs, and none has ended in {self.steps} training steps: call `end_epoch()` after each of them.",
            )
        if balancer.equal_alone and self.most_tasks == 1 < len(balancer.tasks):
            self._warn(
                balancer,
                "tasks",
                f"has had the loss of one task at a time in {self.steps} training steps. It compares the tasks of a batch, "
                "so that this is equal weights. Give the losses of several tasks in a step, or use a method that does not "
                "compare them, such as dtp or uncertainty.",
            )

    def _look_for_kpis(self, balancer: "Balancer", time: str, note: str = "") -> None:
        averages = [moving.average for moving in _moving_kpis(balancer)]
        if "kpis" in balancer.needs and averages and all(bool(average.isnan().all()) for average in averages):
            self._warn(
                balancer,
                "kpis",
                f"has had no KPI in {time}, so that its weights are those of the start. Give each step's with the losses, "
                f"`balancer(losses, kpis)`, or those of a validation to `balancer.update(kpis)`.{note}",
            )

    def _look_for_lag(self, balancer: "Balancer") -> None:
        for moving in _moving_kpis(balancer):
            if moving.average.isnan().all():  # the updates had no KPI in them
                continue
            updates = moving.observations
            if 0 < updates <= self.epochs + 1 and self.steps > 4 * updates and moving.alpha < LAGGING:
                self._warn(
                    balancer,
                    "alpha",
                    f"has had one KPI an epoch, and its `alpha` of {moving.alpha:g}, meant for a noisy KPI of each batch, "
                    f"averages about {1 / moving.alpha:.0f} of them: its weights lag behind by as many epochs. Make it with "
                    "alpha=0.75.",
                )

    def _warn(self, balancer: "Balancer", kind: str, what: str) -> None:
        if kind not in self.warned:
            self.warned.add(kind)
            warn_caller(f"{type(balancer).__name__} {what}")


def _moving_kpis(balancer: "Balancer") -> list[MovingKPI]:
    """The averages of KPIs in a balancer; none if they are fake tensors, which have no values."""
    moving = [module for module in balancer.modules() if isinstance(module, MovingKPI)]
    return [each for each in moving if type(each.average) is torch.Tensor]


def watched(end_epoch: Callable[..., None]) -> Callable[..., None]:
    """A method's `end_epoch` that its watch hears of."""

    @functools.wraps(end_epoch)
    def watched_end_epoch(self: "Balancer", *args: Any, **options: Any) -> None:
        self.watch.end_epoch(self)
        end_epoch(self, *args, **options)

    return watched_end_epoch
