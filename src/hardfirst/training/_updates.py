"""From gradients to weights, as the recipe says: clipping, the optimizer, its schedule, and the average of the weights."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from hardfirst.recipes import Recipe
from hardfirst.training import _checkpoint
from hardfirst.training._average import WeightAverage

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class MicroBatch(NamedTuple):
    """A batch's part in an optimizer step of `count` batches; `first` and `last` are both true if there is one."""

    first: bool
    last: bool
    count: int


class Updates:
    """The optimizer of a run, and what belongs to it.

    Args:
        recipe: the problem's.
        fabric: of the run.
        module: the network, before Fabric wraps it.
        learning_rate: the optimizer's.
        batches: training batches in an epoch.
        epochs: of the run.

    Raises:
        InputError: an option is out of range, or a function of the recipe returns something else.
    """

    def __init__(
        self, recipe: Recipe, fabric: "Fabric", module: nn.Module, *, learning_rate: float, batches: int, epochs: int
    ) -> None:
        self.recipe, self.fabric, self.batches = recipe, fabric, batches
        optimizer = recipe.make_optimizer(module, learning_rate)
        self.network: Any
        self.optimizer: Optimizer
        self.network, self.optimizer = fabric.setup(module, optimizer)
        # torch's schedulers work on the optimizer itself, which Fabric's wrapper shares its state with
        self.schedule = recipe.make_schedule(optimizer, math.ceil(batches / recipe.accumulate), epochs)
        if self.schedule.scheduler is not None:
            _checkpoint.check_loadable(self.schedule.scheduler.state_dict(), "The state of the recipe's schedule")
        self.average = None if recipe.average is None else WeightAverage(module, recipe.average)
        self._last_rate: float | None = None

    def micro_batch(self, number: int) -> MicroBatch:
        """The part of an epoch's batch, counted from 0, in its optimizer step. The last step of an epoch may have fewer."""
        within, first = number % self.recipe.accumulate, number - number % self.recipe.accumulate
        count = min(self.recipe.accumulate, self.batches - first)
        return MicroBatch(within == 0, within == count - 1, count)

    def step(self) -> None:
        """Change the weights by their gradients."""
        if self.recipe.clip is not None:
            # a total that is not finite ends the run; so does the next one after gradients that are not
            self.fabric.clip_gradients(self.network, self.optimizer, max_norm=self.recipe.clip, error_if_nonfinite=False)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        if self.schedule.scheduler is not None and self.schedule.after == "step":
            self._last_rate = self._rate()
            self.schedule.scheduler.step()  # type: ignore[call-arg]  # one that follows a score has no `after="step"`

    def end_epoch(self, score: float) -> None:
        """Move the schedule on after an epoch with this score on the validation split; NaN does not count."""
        scheduler, after = self.schedule
        if scheduler is None or after == "step":
            return
        if after == "epoch":
            scheduler.step()  # type: ignore[call-arg]
        elif not math.isnan(score):
            scheduler.step(score)

    @property
    def learning_rate(self) -> float:
        """That of the last step."""
        return self._rate() if self._last_rate is None else self._last_rate

    def averaged(self) -> AbstractContextManager[None]:
        """The context in which the network has the weights to evaluate and keep."""
        return nullcontext() if self.average is None else self.average.applied()

    def state_dict(self) -> dict[str, Any]:
        """The state for a checkpoint, by what it is of."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self.schedule.scheduler is not None:
            state["schedule"] = {"scheduler": self.schedule.scheduler.state_dict(), "last_rate": self._last_rate}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if scale := self.fabric.strategy.precision.state_dict():  # of the losses in 16-mixed
            state["precision"] = scale
        return state

    def load_state_dict(self, state: Any) -> None:
        """Restore the state of a checkpoint.

        Raises:
            ValueError: it is that of other settings or of another network.
            TypeError: it is no such state.
            LookupError: a part is missing.
        """
        _checkpoint.check_optimizer(state["optimizer"], self.optimizer, moving=self._moving())
        self.optimizer.load_state_dict(state["optimizer"])
        if (scheduler := self.schedule.scheduler) is not None:
            saved, self._last_rate = state["schedule"]["scheduler"], state["schedule"]["last_rate"]
            if saved.keys() != scheduler.state_dict().keys():
                raise ValueError("its schedule is not that of this run")
            scheduler.load_state_dict(saved)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if "precision" in state:
            self.fabric.strategy.precision.load_state_dict(state["precision"])

    def _moving(self) -> frozenset[str]:
        """What the schedule changes in the optimizer's settings."""
        if self.schedule.scheduler is None:
            return frozenset()
        return frozenset({"lr"}) if isinstance(self.recipe.schedule, str) else frozenset({"lr", "momentum", "betas"})

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])
