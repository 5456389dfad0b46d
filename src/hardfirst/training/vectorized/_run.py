"""A trial of a group: its record, and its best epoch."""

import math
from collections.abc import Mapping
from typing import Any

from hardfirst import records
from hardfirst.problems import Problem
from hardfirst.training._evaluate import TaskResult
from hardfirst.training._lines import epoch_lines
from hardfirst.training._trial import Trial


class Run:
    """A trial's record and progress.

    Args:
        trial: the settings.
        problem: the problem.
        writer: of the record.
        restart: the epoch in which the network went back to step 0, and the steps before it; no earlier epoch can be the
            best. Epoch 0 for never.
    """

    def __init__(self, trial: Trial, problem: Problem, writer: records.Writer, restart: tuple[int, int | None]) -> None:
        self.trial, self.problem, self.writer = trial, problem, writer
        self.restart_epoch, self.restart_step = restart
        self.best_epoch, self.best_kpi = 0, -math.inf
        self.ended = False

    def epoch(
        self,
        epoch: int,
        steps: Mapping[str, Any],
        results: Mapping[str, TaskResult],
        *,
        seconds: float,
        learning_rate: float,
    ) -> float:
        """Write an epoch's line and return its score on the validation split; NaN for a trial that has ended.

        Args:
            epoch: counts from 1.
            steps: by task, the means over the epoch's steps.
            results: of the validation.
            seconds: of the steps.
            learning_rate: of the last one.
        """
        if self.ended:
            return math.nan
        lines = epoch_lines(self.problem, steps, results)
        restarted = self.restart_step if epoch == self.restart_epoch else None
        self.writer.epoch(epoch, seconds=seconds, learning_rate=learning_rate, tasks=lines, restarted=restarted)
        score = records.score({task: results[task] for task in self.problem.measured}, self.trial.criterion)
        if score > self.best_kpi and epoch >= self.restart_epoch:
            self.best_kpi, self.best_epoch = score, epoch
        return score

    def end(self, outcome: str, reason: str | None = None, *, seconds: float, memory: int | None) -> None:
        """Write the last line."""
        self.writer.end(outcome, reason=reason, seconds=seconds, memory=memory)
        self.ended = True
