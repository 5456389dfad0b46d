"""What a network reaches on a split."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from hardfirst.problems import Problem
from hardfirst.training._batch import Labelled, compute_kpi, compute_loss, compute_metrics, concatenate, select_labelled


class TaskResult(TypedDict):
    """A task's figures on a split: over all labelled examples at once, not means of batches."""

    loss: float
    kpi: float
    metrics: dict[str, float]


@torch.no_grad()
def predict(problem: Problem, network: nn.Module, batches: Iterable[tuple[Any, Mapping[str, Tensor]]]) -> list[Labelled]:
    """The network's outputs beside their targets, batch by batch. The network is left in evaluation mode."""
    network.eval()
    return [select_labelled(problem, network(inputs), targets) for inputs, targets in batches]


@torch.no_grad()
def task_results(problem: Problem, batches: Sequence[Labelled], *, test: bool) -> dict[str, TaskResult]:
    """Each task's figures; NaN for a task that has no label in the split."""
    found = concatenate(batches)
    nothing = TaskResult(loss=float("nan"), kpi=float("nan"), metrics={})
    return {
        task.name: TaskResult(
            loss=float(compute_loss(task, *found[task.name])),
            kpi=float(compute_kpi(task, *found[task.name])),
            metrics=compute_metrics(task, *found[task.name], test=test),
        )
        if task.name in found
        else nothing
        for task in problem.tasks
    }
