"""What a network reaches on a split."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from hardfirst.problems import Problem
from hardfirst.training._batch import gather, kpi, labelled, metrics


class Figures(TypedDict):
    """A task's figures on a split: over all labelled examples at once, not means of batches."""

    loss: float
    kpi: float
    metrics: dict[str, float]


@torch.no_grad()
def evaluate(
    problem: Problem, network: nn.Module, batches: Iterable[tuple[Any, Mapping[str, Tensor]]]
) -> dict[str, Figures]:
    """Each task's figures; NaN for a task that has no label in the split. The network is left in evaluation mode."""
    network.eval()
    found = gather(labelled(problem, network(inputs), targets) for inputs, targets in batches)
    nothing = Figures(loss=float("nan"), kpi=float("nan"), metrics={})
    return {
        task.name: Figures(
            loss=float(task.loss(*found[task.name])),
            kpi=float(kpi(task, *found[task.name])),
            metrics=metrics(task, *found[task.name]),
        )
        if task.name in found
        else nothing
        for task in problem.tasks
    }
