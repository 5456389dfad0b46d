"""From gradients to weights, by the recipe: clipping, the optimizer, its schedule, and the average of the weights."""

import copy
import math
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from hardfirst.balancers import Balancer
from hardfirst.errors import InputError
from hardfirst.recipes import Recipe
from hardfirst.training import _checkpoint
from hardfirst.training._average import WeightAverage
from hardfirst.training._precision import fabric_precision, make_scaler

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Part(NamedTuple):
    """A batch's part in an optimizer step of `batches` batches, of which it may be the first, the last or both."""

    first: bool
    last: bool
    batches: int


def optimizer_steps(recipe: Recipe, batches: int) -> int:
    """Return the number of optimizer steps in an epoch of this many batches."""
    return math.ceil(batches / recipe.accumulate)


def restart_epoch(balancer: Balancer, steps: int) -> int:
    """Return the epoch, counted from 1, in which network and optimizer go back to step 0; 0 for never.

    Args:
        balancer: the method; it knows the number of steps of the run.
        steps: the number of optimizer steps in an epoch.
    """
    return 0 if balancer.restart_step is None else balancer.restart_step // steps + 1


class Updates:
    """The optimizer of a run, with its schedule, gradient scaling, clipping and weight average.

    Args:
        recipe: the problem's recipe.
        fabric: the Fabric of the run.
        module: the network, before Fabric wraps it.
        learning_rate: the learning rate of the optimizer.
        batches: the number of training batches in an epoch.
        epochs: the number of epochs of the run.

    Raises:
        InputError: an option is out of range, or a function of the recipe returns something else.
    """

    def __init__(
        self, recipe: Recipe, fabric: "Fabric", module: nn.Module, *, learning_rate: float, batches: int, epochs: int
    ) -> None:
        self.recipe, self.batches, self._device = recipe, batches, fabric.device
        self.scaler = make_scaler(recipe.precision, fabric.device)
        self._optimizer = optimizer = recipe.make_optimizer(module, learning_rate)
        self.network: Any
        self.optimizer: Optimizer
        self.network, self.optimizer = _set_up(fabric, module, optimizer, recipe.precision)
        self._at_step_0 = copy.deepcopy(self.optimizer.state_dict())
        self.steps_in_epoch = optimizer_steps(recipe, batches)
        # torch's schedulers work on the optimizer itself, which shares its state with Fabric's wrapper
        self.schedule = recipe.make_schedule(optimizer, self.steps_in_epoch, epochs)
        if self.schedule.scheduler is not None:
            _checkpoint.check_loadable(self.schedule.scheduler.state_dict(), "The state of the recipe's schedule")
        self.average = None if recipe.average is None else WeightAverage(module, recipe.average)
        self._last_rate: float | None = None
        self.steps = self.steps_in_epoch * epochs
        """The number of optimizer steps of the run."""

    def steps_before(self, epoch: int, batches: int) -> int:
        """Return the number of optimizer steps in this many epochs and batches of the next one."""
        return epoch * self.steps_in_epoch + optimizer_steps(self.recipe, batches)

    def part(self, number: int) -> Part:
        """Return the part of an epoch's batch, counted from 0, in its optimizer step. The last step may have fewer."""
        within, first = number % self.recipe.accumulate, number - number % self.recipe.accumulate
        count = min(self.recipe.accumulate, self.batches - first)
        return Part(within == 0, within == count - 1, count)

    def scaled(self, total: Tensor, part: Part) -> Tensor:
        """Return the scalar to run backward on for a batch's total: its share of the step, scaled for float16."""
        share = total if part.batches == 1 else total / part.batches
        return share if self.scaler is None else self.scaler.scale(share)

    def step(self) -> None:
        """Change the weights by their gradients.

        Raises:
            InputError: there are sparse gradients, and the recipe does not support them.
        """
        try:
            self._step()
        except RuntimeError as error:
            parameters = self.network.named_parameters()
            sparse = [name for name, each in parameters if each.grad is not None and each.grad.is_sparse]
            if not sparse:
                raise
            refuses = "the optimizer" if self.recipe.clip is None else "`clip`"
            raise InputError(
                f"The gradient of {', '.join(sparse):.200} is sparse, which {refuses} does not support. Make the embedding "
                "dense, sparse=False; or return torch.optim.SparseAdam, Adagrad or SGD, which support it, from a "
                "function, Problem(recipe=Recipe(optimizer=…)), without `clip`."
            ) from error

    def _step(self) -> None:
        if self.recipe.clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self._optimizer)
            # gradients that are not finite make weights that are not, and the next total then ends the run
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self._optimizer)
            self.scaler.update()
        if self.average is not None:
            self.average.update()
        if self.schedule.scheduler is not None and self.schedule.after == "step":
            self._last_rate = self._rate()
            self.schedule.scheduler.step()

    def restart(self, done: int) -> None:
        """Start again at step 0, with a schedule over the epochs that remain; a part of an epoch counts as a whole one.

        Args:
            done: the number of optimizer steps of the run so far.
        """
        self.optimizer.zero_grad()
        self.optimizer.load_state_dict(self._at_step_0)
        remaining = math.ceil((self.steps - done) / self.steps_in_epoch)
        self.schedule = self.recipe.make_schedule(self._optimizer, self.steps_in_epoch, remaining)
        self._last_rate = None
        self.scaler = make_scaler(self.recipe.precision, self._device)
        if self.average is not None:
            self.average.count = 0

    def end_epoch(self, score: float) -> None:
        """Step the schedule after an epoch with this score on the validation split; a NaN score is ignored."""
        scheduler, after = self.schedule
        if scheduler is None or after == "step":
            return
        if after == "epoch":
            scheduler.step()
        elif not math.isnan(score):
            scheduler.step(score)  # type: ignore[arg-type]  # one that follows a score

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return self._rate() if self._last_rate is None else self._last_rate

    def averaged(self) -> AbstractContextManager[None]:
        """Return the context in which the network has the weights to evaluate and keep."""
        return nullcontext() if self.average is None else self.average.applied()

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint, by part."""
        state: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self.schedule.scheduler is not None:
            state["schedule"] = {"scheduler": self.schedule.scheduler.state_dict(), "last_rate": self._last_rate}
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state: Any) -> None:
        """Restore the state of a checkpoint.

        Raises:
            ValueError: the state belongs to other settings or to another network.
            TypeError: it is not such a state.
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
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])

    def _moving(self) -> frozenset[str]:
        """Return the optimizer settings that the schedule changes."""
        if self.schedule.scheduler is None:
            return frozenset()
        return frozenset({"lr"}) if isinstance(self.recipe.schedule, str) else frozenset({"lr", "momentum", "betas"})

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])


def _set_up(fabric: "Fabric", module: nn.Module, optimizer: Optimizer, precision: str) -> tuple[Any, Any]:
    """Set up network and optimizer on the device. On a single one in 32 bits, Fabric's wrappers would only cost time."""
    if fabric.world_size == 1 and fabric_precision(precision) == "32-true":
        return module.to(fabric.device), optimizer
    return fabric.setup(module, optimizer)  # type: ignore[no-any-return]  # what it returns depends on how many it gets
