"""Warnings about a training loop that never gives a balancer the input it learns from."""

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
STEPS_OF_AN_EPOCH = 20_000  # training steps without the end of an epoch, since epochs may be long
EVALUATIONS = 500  # consecutive totals that are back-propagated in eval mode
LAGGING = 0.3  # a smaller `alpha` is meant for KPIs of batches


class StepWatch:
    """Counts a balancer's steps, outside its state, and warns once about each kind of mistake.

    Attributes:
        kpis_by_step: whether KPIs may be expected before the end of an epoch. False if validations give them: the warning
            then comes at the second end of an epoch without a KPI.
    """

    __slots__ = ("epochs", "evaluations", "kpis_by_step", "most_tasks", "since_epoch", "steps", "warned")

    def __init__(self) -> None:
        self.steps = self.since_epoch = self.evaluations = self.epochs = self.most_tasks = 0
        self.kpis_by_step = True
        self.warned: set[str] = set()

    def step(self, balancer: "Balancer", tasks: int) -> None:
        """Count a total or a backward of a balancer, given the losses of this many tasks."""
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
                f"has been in eval mode for {EVALUATIONS} training steps in a row, so it learns nothing. Call "
                "`train()` after validation. To keep the weights constant on purpose, use `with balancer.paused():`.",
            )

    def follow(self, balancer: "Balancer", total: Tensor) -> None:
        """Count a total in eval mode if it is back-propagated, which validation does not do."""
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
            # during a long first epoch it is too early to tell whether validation will give KPIs
            note = " Ignore this warning if the first validation is still to come."
            self._look_for_kpis(balancer, f"{self.steps} training steps", note)
        if self.steps == STEPS_OF_AN_EPOCH and "epochs" in balancer.needs and not self.epochs:
            self._warn(
                balancer,
                "epochs",
                f"counts epochs, and none has ended in {self.steps} training steps. Call `end_epoch()` after each epoch.",
            )
        if balancer.equal_alone and self.most_tasks == 1 < len(balancer.tasks):
            self._warn(
                balancer,
                "tasks",
                f"has had the loss of only one task at a time for {self.steps} training steps. It compares the tasks of a "
                "batch, so its weights are equal. Give the losses of several tasks in a step, or use a method that does not "
                "compare them, such as dtp or uncertainty.",
            )

    def _look_for_kpis(self, balancer: "Balancer", time: str, note: str = "") -> None:
        averages = [moving.average for moving in _moving_kpis(balancer)]
        if "kpis" in balancer.needs and averages and all(bool(average.isnan().all()) for average in averages):
            self._warn(
                balancer,
                "kpis",
                f"has had no KPI in {time}, so it still has its initial weights. Give each step's KPIs with the losses, "
                f"`balancer(losses, kpis)`, or those of a validation to `balancer.update(kpis)`.{note}",
            )

    def _look_for_lag(self, balancer: "Balancer") -> None:
        for moving in _moving_kpis(balancer):
            if moving.average.isnan().all():  # the updates contained no KPI
                continue
            updates = moving.observations
            if 0 < updates <= self.epochs + 1 and self.steps > 4 * updates and moving.alpha < LAGGING:
                self._warn(
                    balancer,
                    "alpha",
                    f"has had one KPI per epoch. Its `alpha` of {moving.alpha:g} is meant for a noisy KPI per batch and "
                    f"averages over about {1 / moving.alpha:.0f} KPIs, so its weights lag by that many epochs. Create it "
                    "with alpha=0.75.",
                )

    def _warn(self, balancer: "Balancer", kind: str, what: str) -> None:
        if kind not in self.warned:
            self.warned.add(kind)
            warn_caller(f"{type(balancer).__name__} {what}")


def _moving_kpis(balancer: "Balancer") -> list[MovingKPI]:
    """Return the balancer's moving averages of KPIs; none if they are fake tensors, which have no values."""
    moving = [module for module in balancer.modules() if isinstance(module, MovingKPI)]
    return [each for each in moving if type(each.average) is torch.Tensor]


def watched(end_epoch: Callable[..., None]) -> Callable[..., None]:
    """Wrap a method's `end_epoch` so that its watch counts the call."""

    @functools.wraps(end_epoch)
    def watched_end_epoch(self: "Balancer", *args: Any, **options: Any) -> None:
        self.watch.end_epoch(self)
        end_epoch(self, *args, **options)

    return watched_end_epoch
