"""A run's progress, in numbers that a checkpoint can store."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from hardfirst.problems import Problem
from hardfirst.training._steps import StepNumbers


@dataclass
class EpochSums:
    """Sums over an epoch's steps by task.

    Checkpoints store the fields by name. `loss` and `kpi` are weighted by labelled examples, counted in `count`, and in
    `measured` for batches whose KPI was not NaN; `weight` is summed over `steps`.
    """

    loss: dict[str, float] = field(default_factory=dict)
    kpi: dict[str, float] = field(default_factory=dict)
    weight: dict[str, float] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)
    measured: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def check(self, tasks: Sequence[str]) -> None:
        """Raise `ValueError` if these cannot be the sums of some steps, for sums from a checkpoint."""
        for sums in fields(self):
            by_task = getattr(self, sums.name)
            counts = sums.name in ("count", "measured", "steps")
            _expect(sums.name, isinstance(by_task, dict) and by_task.keys() <= set(tasks))
            valid = [_is(int, value, 1, math.inf) if counts else _is(float, value) for value in by_task.values()]
            _expect(sums.name, all(valid))
        _expect("count", self.count.keys() == self.loss.keys() == self.weight.keys() == self.steps.keys())
        _expect("measured", self.measured.keys() == self.kpi.keys())

    def add(self, problem: Problem, numbers: StepNumbers) -> None:
        """Add one step. Steps must be added in order, since the rounding of the sums depends on it."""
        for task in problem.tasks:
            if task.name not in numbers.losses:
                continue
            name, examples = task.name, numbers.examples[task.name]
            loss = numbers.losses[name] / task.scale
            kpi = numbers.kpis.get(name, math.nan)
            if not math.isnan(kpi):
                self.kpi[name] = self.kpi.get(name, 0.0) + examples * kpi
                self.measured[name] = self.measured.get(name, 0) + examples
            self.loss[name] = self.loss.get(name, 0.0) + examples * loss
            self.weight[name] = self.weight.get(name, 0.0) + numbers.weights[name]
            self.count[name] = self.count.get(name, 0) + examples
            self.steps[name] = self.steps.get(name, 0) + 1

    def means(self, name: str) -> dict[str, float]:
        """Return the task's means for the record; NaN where no step had labels for it."""
        if name not in self.count:
            return {"loss": math.nan, "kpi": math.nan, "weight": math.nan}
        return {
            "loss": self.loss[name] / self.count[name],
            "kpi": self.kpi[name] / self.measured[name] if name in self.measured else math.nan,
            "weight": self.weight[name] / self.steps[name],
        }


@dataclass
class Position:
    """A run's progress: `epoch` finished epochs, and `step` steps of the next one. Checkpoints store the fields by name."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0  # of the run so far
    epoch_seconds: float = 0.0  # of the current epoch
    best_epoch: int = 0
    best_kpi: float = -math.inf
    sums: EpochSums = field(default_factory=EpochSums)

    @classmethod
    def restored(cls, state: Any, *, tasks: Sequence[str], epochs: int, steps: int) -> Self:
        """Restore the position from a checkpoint.

        Args:
            state: the result of `dataclasses.asdict`.
            tasks: the tasks of the problem.
            epochs: the number of epochs of the trial.
            steps: the number of steps of an epoch.

        Raises:
            ValueError: the state is not a position in such a run.
            TypeError: it has other fields.
        """
        position = cls(**{**state, "sums": EpochSums(**state["sums"])})
        position.sums.check(tasks)
        _expect("epoch", _is(int, position.epoch, 0, epochs))
        _expect("step", _is(int, position.step, 0, steps if position.epoch < epochs else 0))
        _expect("best_epoch", _is(int, position.best_epoch, 0, position.epoch))
        scored = _is(float, position.best_kpi, -0.001, 1.001)
        _expect("best_kpi", scored if position.best_epoch else position.best_kpi == -math.inf)
        for name in ("seconds", "epoch_seconds"):
            _expect(name, _is(float, getattr(position, name), 0, math.inf))
        return position


def _is(kind: type, value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Return whether the value is a finite number of this kind within the bounds."""
    return isinstance(value, int | float) and type(value) is kind and least <= value <= most and math.isfinite(value)


def _expect(name: str, valid: bool) -> None:
    if not valid:
        raise ValueError(f"its {name!r} is not that of a run with these settings")
