"""From a network's outputs to each task's loss and KPI, with missing labels as an ordinary thing."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import IGNORE, Measure, Problem, Task

Labelled = Mapping[str, tuple[Tensor, Tensor]]
"""By task, output and target of the labelled examples; tasks without any are left out."""


@dataclass(frozen=True)
class Measurements:
    """What a batch gave, by task, for the tasks that have a label in it; `examples` counts those that are labelled."""

    examples: Mapping[str, int]
    losses: Mapping[str, Tensor]
    kpis: Mapping[str, Tensor]


def measure(problem: Problem, found: Labelled) -> Measurements:
    """The tasks' losses, scaled, and their KPIs where these mean something on a batch.

    Raises:
        InputError: a loss or KPI fails, or is not a 0-d tensor.
    """
    tasks = [task for task in problem.tasks if task.name in found]
    return Measurements(
        examples={task.name: len(found[task.name][1]) for task in tasks},
        losses={task.name: task.scale * compute_loss(task, *found[task.name]) for task in tasks},
        kpis={task.name: _call(task, "KPI", task.kpi, *found[task.name]) for task in tasks if task.kpi_from == "batch"},
    )


def select_labelled(problem: Problem, outputs: Any, targets: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Output and target of each task's labelled examples; tasks without any are left out.

    Raises:
        InputError: the network's output or the targets are not what the problem's tasks say.
    """
    if not isinstance(outputs, Mapping):
        raise InputError(
            f"Expected the network of {problem.name!r} to return a dict with an output for each task; "
            f"it returned {type(outputs).__name__}."
        )
    found = {}
    for task in problem.tasks:
        if task.name not in outputs:
            given = ", ".join(map(str, outputs)) or "none"
            raise InputError(f"Expected an output for task {task.name!r}; the network gives {given}.")
        if task.name in targets:
            output, target = _labelled_examples(task, outputs[task.name], targets[task.name])
            if len(target):
                found[task.name] = output, target
    return found


def compute_loss(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """The task's loss, unscaled, checked to be a floating-point number."""
    value = _call(task, "loss", task.loss, output, target)
    if not value.is_floating_point():
        raise InputError(f"Expected the loss of task {task.name!r} to be a floating-point tensor; got {value!r}.")
    return value


def compute_kpi(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """The task's KPI, checked to be a number in [0, 1] or NaN."""
    value = _call(task, "KPI", task.kpi, output, target)
    if not (math.isnan(number := float(value.real)) or -1e-6 <= number <= 1 + 1e-6):
        raise InputError(f"Expected the KPI of task {task.name!r} to be in [0, 1]; got {number:g}.")
    return value


def compute_metrics(task: Task, output: Tensor, target: Tensor, *, test: bool) -> dict[str, float]:
    """The task's further figures by name; those that are of the test split alone if it is that."""
    wanted = {name: metric for name, metric in task.metrics.items() if test or not metric.test_only}
    return {name: float(_call(task, name, metric.measure, output, target)) for name, metric in wanted.items()}


def concatenate(batches: Iterable[Labelled]) -> dict[str, tuple[Tensor, Tensor]]:
    """The labelled outputs and targets of many batches, as one tensor each."""
    collected: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for batch in batches:
        for task, pair in batch.items():
            collected.setdefault(task, []).append(pair)
    return {
        task: (torch.cat([output for output, _ in pairs]), torch.cat([target for _, target in pairs]))
        for task, pairs in collected.items()
    }


def label_mask(target: Tensor) -> Tensor:
    """Which entries of a target are labels."""
    return ~target.isnan() if target.is_floating_point() else target != IGNORE


def _labelled_examples(task: Task, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Leave out the examples that have no label at all; what is missing inside one (a pixel) is the loss's to skip."""
    for what, found in (("output", output), ("target", target)):
        if not isinstance(found, Tensor) or not found.dim():
            kind = "a number" if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"Expected the {what} of task {task.name!r} to be a tensor [batch, ...]; got {kind}.")
    if len(output) != len(target):
        raise InputError(
            f"Expected as many outputs as targets for task {task.name!r}; got {list(output.shape)} and {list(target.shape)}."
        )
    labels = label_mask(target)
    rows = labels.flatten(1).any(1) if target.dim() > 1 else labels
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
