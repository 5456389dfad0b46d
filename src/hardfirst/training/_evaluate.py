"""Evaluation of a network on a split."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from hardfirst.problems import Problem
from hardfirst.training import _doubts
from hardfirst.training._batch import Labelled, compute_kpi, compute_loss, compute_metrics, concatenate, select_labelled


class TaskResult(TypedDict):
    """A task's loss, KPI and metrics on a split: computed over all labelled examples at once, not averaged over batches.

    `examples` counts the labelled examples.
    """

    loss: float
    kpi: float
    metrics: dict[str, float]
    examples: int


@torch.no_grad()
def predict(problem: Problem, network: nn.Module, batches: Iterable[tuple[Any, Mapping[str, Tensor]]]) -> list[Labelled]:
    """Run the network on the batches; return outputs and targets by batch. Leaves the network in evaluation mode."""
    network.eval()
    return [select_labelled(problem, network(inputs), targets) for inputs, targets in batches]


@torch.no_grad()
def task_results(
    problem: Problem, batches: Sequence[Labelled], *, test: bool, name: str | None = None
) -> dict[str, TaskResult]:
    """Compute each task's figures; NaN for a task without labels in the split.

    Args:
        problem: the problem.
        batches: outputs and targets of the whole split.
        test: whether it is the test split.
        name: the split's, to warn of KPIs that say little on it; None for no warning.
    """
    labelled = concatenate(batches)
    if name is not None:
        _doubts.warn(problem, labelled, name)
    unlabelled = TaskResult(loss=float("nan"), kpi=float("nan"), metrics={}, examples=0)
    return {
        task.name: TaskResult(
            loss=float(compute_loss(task, *labelled[task.name])),
            kpi=float(compute_kpi(task, *labelled[task.name])),
            metrics=compute_metrics(task, *labelled[task.name], test=test),
            examples=len(labelled[task.name][1]),
        )
        if task.name in labelled
        else unlabelled
        for task in problem.tasks
    }
