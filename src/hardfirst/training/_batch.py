"""Each task's losses and KPIs from a network's outputs, where labels may be missing."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.functional import _labels
from hardfirst.problems import IGNORE, ConcatSplit, Measure, Problem, Split, Task, TensorTable

T = TypeVar("T")

Labelled = Mapping[str, tuple[Tensor, Tensor]]
"""Output and target of the labelled examples, by task; tasks without labels are left out."""

Rows = Mapping[str, Tensor | None]
"""The indices of a batch's labelled examples, by task, or None for all; tasks without labels are left out."""

_CHUNK = 1024  # examples of a table that are checked at once


class Batch(NamedTuple):
    """A training batch on the device, with the labelled rows, which were found before the transfer."""

    inputs: Any
    targets: Mapping[str, Tensor]
    rows: Rows


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
        kpis={
            task.name: _call(task, "KPI", task.kpi_of_batch, *batch[task.name])
            for task in tasks
            if task.kpi_of_batch is not None and task.kpi_from == "batch"
        },
    )


def complete_tasks(split: Split) -> frozenset[str]:
    """Return the tasks whose every example has a label. Only checks tables in memory, each once."""
    parts = ConcatSplit(split).parts
    # a subclass may change its items
    tables = [part.targets for part in parts if isinstance(part, TensorTable) and type(part) is TensorTable]
    if len(tables) < len(parts):
        return frozenset()
    complete = {task for table in tables for task in table}
    return frozenset(task for task in complete if all(map(_is_complete, (table[task] for table in tables if task in table))))


def _is_complete(target: Tensor) -> bool:
    return all(bool(has_label(chunk).all()) for chunk in torch.split(target, _CHUNK))


def labelled_rows(problem: Problem, targets: Mapping[str, Tensor], complete: Collection[str] = ()) -> Rows:
    """Find the labelled examples of a batch. Reads the targets, so they should still be on the CPU.

    Args:
        problem: the problem.
        targets: the targets of the batch. `select_labelled` raises the error for other objects.
        complete: the tasks that need no check, see `complete_tasks`.
    """
    rows: dict[str, Tensor | None] = {}
    for task in problem.task_names:
        if task not in targets:
            continue
        target = targets[task]
        if not isinstance(target, Tensor) or not target.dim():
            rows[task] = None
        elif len(target):
            labelled = None if task in complete else has_label(target)
            if labelled is None or bool(labelled.all()):
                rows[task] = None
            elif len(found := labelled.nonzero().squeeze(1)):
                rows[task] = found
    return rows


def has_label(target: Tensor) -> Tensor:
    """Return which examples have a label; the loss skips missing labels within an example, such as pixels."""
    mask = label_mask(target)
    return mask.flatten(1).any(1) if target.dim() > 1 else mask


def select_labelled(
    problem: Problem, outputs: Any, targets: Mapping[str, Tensor], rows: Rows | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Select each task's labelled examples; tasks without labels are left out.

    Args:
        problem: the problem.
        outputs: the network's outputs.
        targets: the targets of the batch.
        rows: the result of `labelled_rows`; None finds the rows here, which waits for the device.

    Raises:
        InputError: the network's outputs or the targets do not match the problem's tasks.
    """
    if not isinstance(outputs, Mapping):
        raise InputError(
            f"Expected the network of {problem.name!r} to return a dict with an output for each task; "
            f"it returned {type(outputs).__name__}."
        )
    if rows is None:
        rows = labelled_rows(problem, targets)
    selected = {}
    for task in problem.tasks:
        if task.name not in outputs:
            names = ", ".join(map(str, outputs)) or "none"
            raise InputError(f"Expected an output for task {task.name!r}; the network returns {names}.")
        if task.name in targets:
            output, target = outputs[task.name], targets[task.name]
            _check_rows(task, output, target)
            if task.name in rows:
                index = rows[task.name]
                selected[task.name] = (output, target) if index is None else (output[index], target[index])
    return selected


def compute_loss(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Compute the task's unscaled loss, and check that it is a floating-point number."""
    value = _call(task, "loss", task.loss, output, target)
    if not value.is_floating_point():
        raise InputError(f"Expected the loss of task {task.name!r} to be a floating-point tensor; got {value!r}.")
    return value


def compute_kpi(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Compute the task's KPI on a batch, and check that it is in [0, 1] or NaN; NaN for an auxiliary task."""
    if task.kpi_of_batch is None:
        return torch.tensor(math.nan)
    return check_kpi(task, _call(task, "KPI", task.kpi_of_batch, output, target))


def check_kpi(task: Task, value: Tensor) -> Tensor:
    """Return a KPI's value, after checking that it is in [0, 1] or NaN."""
    if not (math.isnan(number := float(value.real)) or -1e-6 <= number <= 1 + 1e-6):
        raise InputError(f"Expected the KPI of task {task.name!r} to be in [0, 1]; got {number:g}.")
    return value


def concatenate(task: str, pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Concatenate a task's outputs and targets of many batches to one tensor each.

    Each batch is padded to the longest: outputs with 0, and targets with the missing label.

    Raises:
        InputError: the batches cannot be padded.
    """
    outputs, targets = zip(*pairs, strict=True)
    missing = math.nan if targets[0].is_floating_point() else IGNORE
    try:
        if _ragged(targets) and bool(label_mask(targets[0].new_full((1,), missing))):
            raise ValueError(f"{targets[0].dtype} has no missing label")
        return torch.cat(_padded(outputs, 0)), torch.cat(_padded(targets, missing))
    except (RuntimeError, ValueError) as error:
        shapes = [" and ".join(dict.fromkeys(str(["…", *each.shape[1:]]) for each in all_)) for all_ in (outputs, targets)]
        raise InputError(
            f"The batches of task {task!r} cannot be joined for evaluation: outputs {shapes[0]:.200}, targets "
            f"{shapes[1]:.200}. Batches of different lengths are padded if all have the same number of dimensions, and if "
            f"the targets' type has a missing label, NaN or {IGNORE}; their type is {targets[0].dtype}."
        ) from error


def _ragged(tensors: tuple[Tensor, ...]) -> bool:
    return len({tensor.shape[1:] for tensor in tensors}) > 1


def _padded(tensors: tuple[Tensor, ...], value: float) -> list[Tensor]:
    """Pad the tensors to the size of the largest in each dimension after the first."""
    if not _ragged(tensors):
        return list(tensors)
    sizes = [max(size) for size in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    return [_pad(tensor, sizes, value) for tensor in tensors]


def _pad(tensor: Tensor, sizes: list[int], value: float) -> Tensor:
    padded = tensor.new_full((len(tensor), *sizes), value)
    padded[tuple(map(slice, tensor.shape))] = tensor
    return padded


def label_count(target: Tensor) -> int:
    """Count the labels of a target, for example pixels, since losses are means over labels."""
    return int(label_mask(target).sum())


def label_mask(target: Tensor) -> Tensor:
    """Return a Boolean mask of the entries of a target that are labels."""
    return _labels.label_mask(target, None if target.is_floating_point() else IGNORE)


def _check_rows(task: Task, output: Tensor, target: Tensor) -> None:
    """Check that output and target are tensors with the same number of examples."""
    for what, value in (("output", output), ("target", target)):
        if not isinstance(value, Tensor) or not value.dim():
            kind = "a number" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"Expected the {what} of task {task.name!r} to be a tensor [batch, ...]; got {kind}.")
    if len(output) != len(target):
        raise InputError(
            f"Expected as many outputs as targets for task {task.name!r}; got {list(output.shape)} and {list(target.shape)}."
        )


def _call(task: Task, what: str, function: Measure, output: Tensor, target: Tensor) -> Tensor:
    return scalar(task, what, attribute(task, what, function, output=output, target=target))


def attribute(task: Task, what: str, function: Callable[..., T], **tensors: Tensor) -> T:
    """Call a user's function on the tensors, in this order; an error in it names task, function and shapes."""
    try:
        return function(*tensors.values())
    except Exception as error:
        shapes = " and ".join(f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in tensors.items())
        where = f" on {shapes}" if shapes else ""
        raise InputError(f"The {what} of task {task.name!r} failed{where}: {type(error).__name__}: {error}") from error


def scalar(task: Task, what: str, value: object) -> Tensor:
    """Return the value, after checking that it is a 0-d tensor."""
    if not isinstance(value, Tensor):
        raise InputError(f"Expected the {what} of task {task.name!r} to be a 0-d tensor; got {value!r:.80}.")
    if value.dim():
        raise InputError(
            f"Expected the {what} of task {task.name!r} to be a 0-d tensor; got shape {list(value.shape)}. Reduce it first, "
            "for example with .mean()."
        )
    return value
