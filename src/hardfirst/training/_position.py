"""A run's progress, in numbers that a checkpoint can hold."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from hardfirst.problems import Problem
from hardfirst.training._batch import Measurements


@dataclass
class EpochSums:
    """Sums over an epoch's steps by task.

    Checkpoints hold the fields by name. `loss` and `kpi` are weighted by labelled examples, which `count` counts, and
    `measured` those of batches whose KPI was not NaN; `weight` is summed over `steps`.
    """

    loss: dict[str, float] = field(default_factory=dict)
    kpi: dict[str, float] = field(default_factory=dict)
    weight: dict[str, float] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)
    measured: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def add(self, problem: Problem, measured: Measurements, weights: Mapping[str, Tensor]) -> None:
        """Add one step."""
        for task in problem.tasks:
            if task.name not in measured.losses:
                continue
            name, examples = task.name, measured.examples[task.name]
            loss = float(measured.losses[name].detach()) / task.scale
            kpi = float(measured.kpis[name].detach()) if name in measured.kpis else math.nan
            if not math.isnan(kpi):
                self.kpi[name] = self.kpi.get(name, 0.0) + examples * kpi
                self.measured[name] = self.measured.get(name, 0) + examples
            self.loss[name] = self.loss.get(name, 0.0) + examples * loss
            self.weight[name] = self.weight.get(name, 0.0) + float(weights[name])
            self.count[name] = self.count.get(name, 0) + examples
            self.steps[name] = self.steps.get(name, 0) + 1

    def means(self, name: str) -> dict[str, float]:
        """The task's means for the record; NaN where no step had labels for it."""
        if name not in self.count:
            return {"loss": math.nan, "kpi": math.nan, "weight": math.nan}
        return {
            "loss": self.loss[name] / self.count[name],
            "kpi": self.kpi[name] / self.measured[name] if name in self.measured else math.nan,
            "weight": self.weight[name] / self.steps[name],
        }


@dataclass
class Position:
    """A run's progress: `epoch` finished epochs, and `step` steps of the next one. Checkpoints hold the fields by name."""

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0  # of the run so far
    epoch_seconds: float = 0.0  # of the current epoch
    best_epoch: int = 0
    best_kpi: float = -math.inf
    sums: EpochSums = field(default_factory=EpochSums)
