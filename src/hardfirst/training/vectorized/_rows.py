"""The rows of a stack: which trial trains which tasks."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from hardfirst.balancers import Balancer
from hardfirst.problems import Problem
from hardfirst.training._trial import Trial


class Rows:
    """Trials, each of which trains all tasks of a problem, or one task alone.

    The network of a single-task run has the heads of all tasks. Such runs can therefore share a stack, where each row has
    the loss of its task alone.

    Args:
        trials: those of a task follow one another.
        loaded: their problem with all its tasks.
    """

    def __init__(self, trials: Sequence[Trial], loaded: Problem) -> None:
        only = list(dict.fromkeys(trial.only for trial in trials))
        self.trials, self.mixed = trials, len(only) > 1
        variants = {task: replace(trials[0], only=task).of(loaded) for task in only}
        self.variants = list(variants.values())
        self.problems = [variants[trial.only] for trial in trials]
        """Each trial's problem."""
        self.problem = self.variants[0]
        """The problem with all tasks that a trial trains."""
        self._slices = dict.fromkeys(self.problem.task_names, slice(0, len(trials)))
        if self.mixed:
            whole = replace(trials[0], only=None).of(loaded)
            self.problem = replace(whole, tasks=tuple(task for variant in self.variants for task in variant.tasks))
            starts = [next(row for row, trial in enumerate(trials) if trial.only == task) for task in only]
            ends = [*starts[1:], len(trials)]
            self._slices = {str(task): slice(start, end) for task, start, end in zip(only, starts, ends, strict=True)}

    def __len__(self) -> int:
        return len(self.trials)

    def of(self, task: str) -> slice:
        """The trials that train a task."""
        return self._slices[task]

    def count(self, task: str) -> int:
        """How many trials train a task."""
        return self._slices[task].stop - self._slices[task].start

    @cached_property
    def trains(self) -> Tensor:
        """Whether a trial trains a task: [trials, tasks]."""
        trained = torch.zeros(len(self), len(self.problem.tasks), dtype=torch.bool)
        for column, name in enumerate(self.problem.task_names):
            trained[self.of(name), column] = True
        return trained


def in_order(trials: Sequence[Trial], loaded: Problem) -> list[int]:
    """The positions of trials in the order that `Rows` needs; those of a method with a restart are the last of a task."""
    names = [None, *loaded.task_names]
    restarts = [trial.balancer.method.restart_step is not Balancer.restart_step for trial in trials]
    return sorted(range(len(trials)), key=lambda position: (names.index(trials[position].only), restarts[position]))
