"""Losses and KPIs of each task from a network's outputs, where labels may be missing."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.functional import _labels
from hardfirst.problems import IGNORE, Measure, Problem, Task

Labelled = Mapping[str, tuple[Tensor, Tensor]]
"""By task, output and target of its labelled examples; tasks without labels are left out."""


@dataclass(frozen=True)
class Measurements:
    """A batch's measurements by task, for the tasks that have labels in it; `examples` counts the labelled examples."""

    examples: Mapping[str, int]
    losses: Mapping[str, Tensor]
    kpis: Mapping[str, Tensor]


def measure(problem: Problem, batch: Labelled) -> Measurements:
    """Compute the tasks' losses, scaled, and the KPIs of the tasks whose KPI is defined on a batch.

    Raises:
        InputError: a loss or KPI fails, or is not a 0-d tensor.
    """
    tasks = [task for task in problem.tasks if task.name in batch]
    return Measurements(
        examples={task.name: len(batch[task.name][1]) for task in tasks},
        losses={task.name: task.scale * compute_loss(task, *batch[task.name]) for task in tasks},
        kpis={task.name: _call(task, "KPI", task.kpi, *batch[task.name]) for task in tasks if task.kpi_from == "batch"},
    )


def select_labelled(problem: Problem, outputs: Any, targets: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Select each task's labelled examples; tasks without labels are left out.

    Raises:
        InputError: the network's outputs or the targets do not fit the problem's tasks.
    """
    if not isinstance(outputs, Mapping):
        raise InputError(
            f"Expected the network of {problem.name!r} to return a dict with an output for each task; "
            f"it returned {type(outputs).__name__}."
        )
    selected = {}
    for task in problem.tasks:
        if task.name not in outputs:
            names = ", ".join(map(str, outputs)) or "none"
            raise InputError(f"Expected an output for task {task.name!r}; the network gives {names}.")
        if task.name in targets:
            output, target = _labelled_examples(task, outputs[task.name], targets[task.name])
            if len(target):
                selected[task.name] = output, target
    return selected


def compute_loss(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Compute the task's loss, unscaled, and check that it is a floating-point number."""
    value = _call(task, "loss", task.loss, output, target)
    if not value.is_floating_point():
        raise InputError(f"Expected the loss of task {task.name!r} to be a floating-point tensor; got {value!r}.")
    return value


def compute_kpi(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Compute the task's KPI, and check that it is in [0, 1] or NaN."""
    value = _call(task, "KPI", task.kpi, output, target)
    if not (math.isnan(number := float(value.real)) or -1e-6 <= number <= 1 + 1e-6):
        raise InputError(f"Expected the KPI of task {task.name!r} to be in [0, 1]; got {number:g}.")
    return value


def compute_metrics(task: Task, output: Tensor, target: Tensor, *, test: bool) -> dict[str, float]:
    """Compute the task's further metrics by name; those for the test split only if this is the test split."""
    metrics = {name: metric for name, metric in task.metrics.items() if test or not metric.test_only}
    return {name: float(_call(task, name, metric.measure, output, target)) for name, metric in metrics.items()}


def concatenate(batches: Iterable[Labelled]) -> dict[str, tuple[Tensor, Tensor]]:
    """Concatenate the outputs and targets of many batches to one tensor each."""
    collected: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for batch in batches:
        for task, pair in batch.items():
            collected.setdefault(task, []).append(pair)
    return {
        task: (torch.cat([output for output, _ in pairs]), torch.cat([target for _, target in pairs]))
        for task, pairs in collected.items()
    }


def label_mask(target: Tensor) -> Tensor:
    """Boolean mask of the entries of a target that are labels."""
    return _labels.label_mask(target, None if target.is_floating_point() else IGNORE)


def _labelled_examples(task: Task, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out examples without any label; the loss skips labels that are missing within an example, such as pixels."""
    for what, value in (("output", output), ("target", target)):
        if not isinstance(value, Tensor) or not value.dim():
            kind = "a number" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"Expected the {what} of task {task.name!r} to be a tensor [batch, ...]; got {kind}.")
    if len(output) != len(target):
        raise InputError(
            f"Expected as many outputs as targets for task {task.name!r}; got {list(output.shape)} and {list(target.shape)}."
        )
    mask = label_mask(target)
    rows = mask.flatten(1).any(1) if target.dim() > 1 else mask
    return (output, target) if bool(rows.all()) else (output[rows], target[rows])


def _call(task: Task, what: str, function: Measure, output: Tensor, target: Tensor) -> Tensor:
    try:
        value = function(output, target)
    except Exception as error:
        shapes = f"output {list(output.shape)} {output.dtype} and target {list(target.shape)} {target.dtype}"
        raise InputError(f"The {what} of task {task.name!r} failed on {shapes}: {type(error).__name__}: {error}") from error
    if not isinstance(value, Tensor):
        raise InputError(f"Expected the {what} of task {task.name!r} to be a 0-d tensor; got {value!r:.80}.")
    if value.dim():
        raise InputError(
            f"Expected the {what} of task {task.name!r} to be a 0-d tensor; got shape {list(value.shape)}. Reduce it first, "
            "for instance with .mean()."
        )
    return value
