"""What an epoch's steps measured, kept on the device and read once at the epoch's end."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst.problems import Problem
from hardfirst.training.vectorized._rows import Rows


class History:
    """The steps of an epoch.

    Args:
        rows: the trials.
        tasks: the names of the tasks that have labels.
    """

    def __init__(self, rows: Rows, tasks: Sequence[str]) -> None:
        self.rows, self.tasks = rows, tasks
        self._totals: list[Tensor] = []  # [trials] for each step
        self._measured: list[tuple[Tensor, Tensor, Tensor]] = []  # losses, KPIs and weights: [trials, tasks]
        self._counts: list[Tensor] = []

    def add(self, totals: Tensor, losses: Tensor, kpis: Tensor, weights: Tensor, counts: Tensor) -> None:
        """Add a step of all trials.

        Args:
            totals: [trials].
            losses: [trials, tasks], scaled.
            kpis: likewise; NaN where there is none.
            weights: likewise.
            counts: the labelled examples, likewise.
        """
        self._totals.append(totals.detach())
        self._measured.append((losses.detach(), kpis.detach(), weights.detach()))
        self._counts.append(counts)

    def fatal(self) -> list[int | None]:
        """By trial, the first step whose total was not finite, counted from 0."""
        finite = torch.stack(self._totals).isfinite().cpu()  # [steps, trials]
        return [None if column.all() else int(column.long().argmin()) for column in finite.unbind(1)]

    def losses(self, step: int, row: int) -> dict[str, float]:
        """The losses of the tasks that a trial trains, in a step."""
        by_task = dict(zip(self.rows.problem.task_names, self._measured[step][0][row].tolist(), strict=True))
        return {name: by_task[name] for name in self.rows.problems[row].task_names}

    def means(self) -> list[dict[str, dict[str, float]]]:
        """By trial and the tasks that it trains, the means for the record, as `EpochSums.means` gives them."""
        counts = torch.stack(self._counts).double() * self.rows.trains  # [steps, trials, tasks]
        losses, kpis, weights = (torch.stack(values).cpu().double() for values in zip(*self._measured, strict=True))
        scales = torch.tensor([task.scale for task in self.rows.problem.tasks], dtype=torch.float64)
        measured = counts * ~kpis.isnan()
        sums = torch.stack(
            [
                (counts * losses / scales).sum(0) / counts.sum(0),
                (measured * kpis.nan_to_num()).sum(0) / measured.sum(0),
                weights.mean(0),
            ]
        ).tolist()
        return [self._by_task(problem, *(figure[row] for figure in sums)) for row, problem in enumerate(self.rows.problems)]

    def _by_task(self, problem: Problem, *figures: Sequence[float]) -> dict[str, dict[str, float]]:
        lines = {}
        for name, *values in zip(self.rows.problem.task_names, *figures, strict=True):
            if name in problem.task_names:
                known = values if name in self.tasks else [math.nan] * 3
                lines[name] = dict(zip(("loss", "kpi", "weight"), known, strict=True))
        return lines
