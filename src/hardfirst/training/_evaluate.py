"""Evaluation of a network on a split."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from hardfirst.problems import Problem, Task
from hardfirst.training import _doubts
from hardfirst.training._batch import Labelled, compute_kpi, compute_loss, compute_metrics, concatenate, select_labelled


class TaskResult(TypedDict):
    """A task's loss, KPI and metrics on a split: computed over all labelled examples at once, not averaged over batches.

    `examples` counts the labelled examples. An auxiliary task has no `kpi`.
    """

    loss: float
    kpi: NotRequired[float]
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
    return {task.name: _result(task, labelled.get(task.name), test=test) for task in problem.tasks}


def _result(task: Task, labelled: tuple[Tensor, Tensor] | None, *, test: bool) -> TaskResult:
    result = TaskResult(loss=math.nan, metrics={}, examples=0)
    if labelled is not None:
        loss, metrics = float(compute_loss(task, *labelled)), compute_metrics(task, *labelled, test=test)
        result = TaskResult(loss=loss, metrics=metrics, examples=len(labelled[1]))
    if task.kpi is not None:
        result["kpi"] = math.nan if labelled is None else float(compute_kpi(task, *labelled))
    return result
