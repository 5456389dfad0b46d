"""A training recipe: how the network's parameters are updated, except for the balancer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from inspect import signature
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hardfirst._spec import SpecBase, has_range
from hardfirst.errors import InputError, check_names, flag, number, whole
from hardfirst.recipes._names import OPTIMIZERS, PRECISIONS, SCHEDULES
from hardfirst.recipes.schedules import Schedule

MakeOptimizer = Callable[[nn.Module, float], Optimizer]
MakeSchedule = Callable[[Optimizer, int, int], "Schedule | LRScheduler | ReduceLROnPlateau"]


@dataclass(frozen=True)
class OptimizerSpec(SpecBase):
    """An optimizer written as text: a name in `OPTIMIZERS`, and options.

    Example:
        >>> str(OptimizerSpec.parse("sgd:nesterov=true,momentum=0.9"))
        'sgd:momentum=0.9,nesterov=true'
    """

    kind = "optimizer"
    registry = OPTIMIZERS
    from_caller: ClassVar[tuple[str, ...]] = ("parameters", "learning_rate")

    def build(self, network: nn.Module, learning_rate: float) -> Optimizer:
        """Build the optimizer of the network's parameters; frozen ones stay frozen until they are thawed.

        Raises:
            InputError: an option is unknown, or torch rejects its value.
        """
        optimizer: Optimizer = _call(self, list(network.parameters()), learning_rate)
        return optimizer


@dataclass(frozen=True)
class ScheduleSpec(SpecBase):
    """A learning-rate schedule written as text: a name in `SCHEDULES`, and options.

    Example:
        >>> str(ScheduleSpec.parse("cosine:warmup=0.05"))
        'cosine:warmup=0.05'
    """

    kind = "schedule"
    registry = SCHEDULES
    from_caller: ClassVar[tuple[str, ...]] = ("optimizer", "steps", "epochs")

    def build(self, optimizer: Optimizer, steps: int, epochs: int) -> Schedule:
        """Build the schedule.

        Args:
            optimizer: a torch optimizer.
            steps: the number of optimizer steps in an epoch.
            epochs: the number of epochs of the run.

        Raises:
            InputError: an option is unknown, missing or out of range.
        """
        schedule: Schedule = _call(self, optimizer, steps, epochs)
        return schedule


def _call(spec: OptimizerSpec | ScheduleSpec, *given: object) -> Any:
    """Call the function that a spec names.

    Raises:
        InputError: an option is missing, or its value is rejected.
    """
    maker, arguments = spec.maker(), spec.arguments()
    options = [p for p in signature(maker).parameters.values() if p.name not in spec.from_caller]
    if missing := [option.name for option in options if option.default is option.empty and option.name not in arguments]:
        example = ",".join(f"{name}=…" for name in missing)
        raise InputError(
            f"The {spec.kind} {spec.name!r} needs the options {', '.join(missing)}; write {spec.name}:{example}."
        )
    try:
        return maker(*given, **arguments)
    except InputError as error:
        raise InputError(f"The {spec.kind} {str(spec)!r}: {error}") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"The {spec.kind} {str(spec)!r} does not accept these options: {error}.") from None


@dataclass(frozen=True)
class Recipe:
    """How a network's parameters are updated. The default is Adam at a constant learning rate, in float32.

    Args:
        optimizer: a spec such as "adamw:weight_decay=1e-4", with a name in `OPTIMIZERS`; or a function of the network and
            the learning rate, for parameter groups.
        schedule: a spec such as "cosine:warmup=0.05", with a name in `SCHEDULES`; or a function of the optimizer, the number
            of its steps in an epoch, and the number of epochs, which returns a torch scheduler, called after each epoch, or
            a `Schedule`.
        clip: the largest norm of the gradient of all parameters, above 0; None for no clipping.
        accumulate: the number of batches per optimizer step, at least 1. A method that learns from losses or KPIs learns
            once per step.
        precision: as in Lightning Fabric: "32-true", "bf16-mixed", "16-mixed", …
        average: the decay of an exponential moving average of the weights, in (0, 1), which replaces the weights in
            evaluation and in the result; None for no averaging.
        loaders: the number of processes that load batches; 0 loads in the training process.
        drop_last: whether to skip the last batch of an epoch if it is smaller.

    Raises:
        InputError: a value is out of range, or a name or an option is unknown.

    Example:
        >>> recipe = Recipe("sgd:momentum=0.9,nesterov=true", "cosine:warmup=0.05", clip=1.0)
        >>> recipe.settings()
        {'optimizer': 'sgd:momentum=0.9,nesterov=true', 'schedule': 'cosine:warmup=0.05', 'clip': 1.0}
        >>> Recipe().settings()
        {}
    """

    optimizer: str | MakeOptimizer = "adam"
    schedule: str | MakeSchedule = "constant"
    clip: float | None = None
    accumulate: int = 1
    precision: str = "32-true"
    average: float | None = None
    loaders: int = 0
    drop_last: bool = False

    def __post_init__(self) -> None:
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if has_range(value):
                raise InputError(
                    f"`{name}` contains a range, {value}, which needs --tune: the tuning of a study draws from it. Give a "
                    "number instead."
                )
        for name, spec in (("optimizer", OptimizerSpec), ("schedule", ScheduleSpec)):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, str(spec.parse(value)))
            elif not callable(value):
                raise InputError(
                    f"Expected `{name}` to be a spec such as {next(iter(spec.registry))}, or a function; got {value!r}."
                )
        self._try_specs()
        if self.clip is not None:
            number("clip", self.clip, above=0)
        whole("accumulate", self.accumulate, least=1)
        check_names("precision", [self.precision], PRECISIONS)
        if self.average is not None:
            number("average", self.average, above=0, below=1)
        whole("loaders", self.loaders, least=0)
        flag("drop_last", self.drop_last)

    def _try_specs(self) -> None:
        """Build what the specs name once, so that a value out of range fails here and not when the run starts."""
        network = nn.ParameterList([nn.Parameter(torch.zeros(1))])  # draws no random numbers
        optimizer: Optimizer = SGD(network, lr=1.0)
        if isinstance(self.optimizer, str):
            optimizer = self.make_optimizer(network, 1.0)
        if isinstance(self.schedule, str):
            self.make_schedule(optimizer, 10, 10)

    def settings(self) -> dict[str, Any]:
        """Return the values that differ from the default, for keys and records; a function is given by name."""
        changed = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}
        return {name: _function_name(value) if callable(value) else value for name, value in changed.items()}

    def replace(self, changes: Mapping[str, Any]) -> "Recipe":
        """Return the recipe with other values for these fields.

        Raises:
            InputError: there is no such field, or a value is out of range.
        """
        names = [field.name for field in fields(self)]
        check_names("part of a recipe:", changes, names)
        return Recipe(**{name: getattr(self, name) for name in names} | dict(changes))

    def make_optimizer(self, network: nn.Module, learning_rate: float) -> Optimizer:
        """Build the optimizer of a network.

        Raises:
            InputError: torch rejects an option, or the function does not return an optimizer.
        """
        if isinstance(self.optimizer, str):
            return OptimizerSpec.read(self.optimizer).build(network, learning_rate)
        optimizer = self.optimizer(network, learning_rate)
        if not isinstance(optimizer, Optimizer):
            raise InputError(
                f"Expected the recipe's `optimizer` to return a torch optimizer; got {type(optimizer).__name__}."
            )
        return optimizer

    def make_schedule(self, optimizer: Optimizer, steps: int, epochs: int) -> Schedule:
        """Build the learning-rate schedule of an optimizer.

        Args:
            optimizer: from `make_optimizer`.
            steps: the number of optimizer steps in an epoch.
            epochs: the number of epochs of the run.

        Raises:
            InputError: an option is out of range, or the function does not return a scheduler.
        """
        if isinstance(self.schedule, str):
            return ScheduleSpec.read(self.schedule).build(optimizer, steps, epochs)
        schedule = self.schedule(optimizer, steps, epochs)
        if isinstance(schedule, ReduceLROnPlateau):
            return Schedule(schedule, after="validation")
        if isinstance(schedule, LRScheduler):
            return Schedule(schedule, after="epoch")
        if not isinstance(schedule, Schedule):
            raise InputError(f"Expected the recipe's `schedule` to return a torch scheduler; got {type(schedule).__name__}.")
        return schedule


def _function_name(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
