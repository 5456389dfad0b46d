"""What a network reaches on a split."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from hardfirst.problems import Problem
from hardfirst.training._batch import Labelled, gather, kpi, labelled, loss, metrics


class Figures(TypedDict):
    """A task's figures on a split: over all labelled examples at once, not means of batches."""

    loss: float
    kpi: float
    metrics: dict[str, float]


@torch.no_grad()
def predict(problem: Problem, network: nn.Module, batches: Iterable[tuple[Any, Mapping[str, Tensor]]]) -> list[Labelled]:
    """The network's outputs beside their targets, batch by batch. The network is left in evaluation mode."""
    network.eval()
    return [labelled(problem, network(inputs), targets) for inputs, targets in batches]


@torch.no_grad()
def figures(problem: Problem, batches: Sequence[Labelled], *, test: bool) -> dict[str, Figures]:
    """Each task's figures; NaN for a task that has no label in the split."""
    found = gather(batches)
    nothing = Figures(loss=float("nan"), kpi=float("nan"), metrics={})
    return {
        task.name: Figures(
            loss=float(loss(task, *found[task.name])),
            kpi=float(kpi(task, *found[task.name])),
            metrics=metrics(task, *found[task.name], test=test),
        )
        if task.name in found
        else nothing
        for task in problem.tasks
    }
