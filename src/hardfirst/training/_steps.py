"""Measurements of steps. They stay on the device and are read for many steps at once, so that no step waits for it."""

from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from hardfirst.training._batch import Measurements

_MOST_WAITING = 64  # a run that has diverged ends at most this many steps later


class StepNumbers(NamedTuple):
    """The numbers of a step, for the tasks that have labels in it.

    Args:
        step: counts from 1 in its epoch.
        total: the total of the balancer.
        examples: the number of labelled examples, by task.
        losses: the scaled losses, by task.
        kpis: the KPIs of the batch, for the tasks that have one.
        weights: the effective weights, by task.
    """

    step: int
    total: float
    examples: Mapping[str, int]
    losses: Mapping[str, float]
    kpis: Mapping[str, float]
    weights: Mapping[str, float]


class StepLog:
    """Steps whose numbers are still on the device."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Measurements, Tensor]] = []

    @property
    def is_full(self) -> bool:
        """Return whether it is time to read."""
        return len(self._waiting) >= _MOST_WAITING

    @torch.no_grad()
    def add(self, step: int, total: Tensor, measured: Measurements, weights: Mapping[str, Tensor]) -> None:
        """Add a step, in one operation.

        Args:
            step: counts from 1 in its epoch.
            total: the balancer's total.
            measured: the measurements given to the balancer.
            weights: by task, at least those that have a loss; any others are ignored.
        """
        device = total.device
        kpis = [kpi if kpi.device == device else kpi.to(device) for kpi in measured.kpis.values()]
        numbers = torch.stack([total, *measured.losses.values(), *kpis, *[weights[task] for task in measured.losses]])
        # without the losses, whose graphs would stay in memory
        names = Measurements(measured.examples, dict.fromkeys(measured.losses), dict.fromkeys(measured.kpis))  # type: ignore[arg-type]
        self._waiting.append((step, names, numbers))

    def read(self) -> list[StepNumbers]:
        """Return the waiting steps in order, and start over. Waits for the device once."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        numbers = iter(torch.cat([values for *_, values in waiting]).tolist())

        def by_task(tasks: Mapping[str, object]) -> dict[str, float]:
            return dict(zip(tasks, islice(numbers, len(tasks)), strict=True))

        return [
            StepNumbers(
                step, next(numbers), names.examples, by_task(names.losses), by_task(names.kpis), by_task(names.losses)
            )
            for step, names, _ in waiting
        ]
