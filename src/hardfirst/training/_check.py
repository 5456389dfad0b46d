"""Checks on a problem and its first batch before training starts, so that mistakes give one clear error at once."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, unknown
from hardfirst.problems import IGNORE, Problem, Splits, explained
from hardfirst.training._batch import compute_kpi, measure, select_labelled
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._sampling import epoch_order, load

_DATA_SEED = 0


@torch.no_grad()
def check(problem: Problem, network: nn.Module, inputs: Any, targets: Mapping[str, Tensor]) -> None:
    """Check names, shapes, label ranges, losses and KPIs on one batch, without changing network or random state.

    Raises:
        InputError: something does not fit.
    """
    if not isinstance(targets, Mapping):
        raise InputError(
            f"Expected batches `(inputs, {{task: target}})` in the data of {problem.name!r}; got "
            f"{type(targets).__name__} for the targets."
        )
    _check_names(problem, targets)
    training = network.training
    network.eval()
    with forked_randomness():
        batch = select_labelled(problem, _outputs(problem, network, inputs), targets)
        for name, (output, target) in batch.items():
            _check_classes(name, output, target)
            _check_shape(name, output, target)
            for task in (task for task in problem.tasks if task.name == name):
                compute_kpi(task, output, target)
        measure(problem, batch)
    network.train(training)


def _outputs(problem: Problem, network: nn.Module, inputs: Any) -> Any:
    try:
        return network(inputs)
    except Exception as error:
        raise InputError(
            f"The network of {problem.name!r} failed on a batch of inputs {_shape(inputs)}: {type(error).__name__}: {error}"
        ) from error


def _shape(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return f"{list(inputs.shape)} {inputs.dtype}"
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {_shape(value)}" for name, value in inputs.items())
    return type(inputs).__name__


def _check_names(problem: Problem, targets: Mapping[str, Tensor]) -> None:
    """A batch may lack a task's target, and may have a target for no task; both at once is probably a typo."""
    missing = [task for task in problem.task_names if task not in targets]
    for target in targets:
        if missing and target not in problem.task_names:
            raise unknown("task among the targets:", target, missing)
    if len(missing) == len(problem.task_names) and not targets:
        raise InputError(f"Expected items `(inputs, {{task: target}})` in the data of {problem.name!r}; there is no target.")


def _check_classes(name: str, output: Tensor, target: Tensor) -> None:
    """Check that the classes in a target [batch, ...] fit an output of logits [batch, classes, ...]."""
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool or output.dim() != target.dim() + 1:
        return
    labels = target[target != IGNORE]
    low, high, classes = int(labels.min()), int(labels.max()), output.shape[1]
    if low < 0 or high >= classes:
        raise InputError(
            f"Expected the classes of task {name!r} to be 0 to {classes - 1}, as its output has {classes}, or {IGNORE} "
            f"where there is no label; got {low if low < 0 else high}."
        )


def _check_shape(name: str, output: Tensor, target: Tensor) -> None:
    """Check that output and target agree: a loss would broadcast [batch, 1] and [batch] to [batch, batch]."""
    same_values = output.shape != target.shape and output.squeeze().shape == target.squeeze().shape
    if target.is_floating_point() and same_values and len(target) > 1:
        raise InputError(
            f"Expected output and target of task {name!r} to have one shape; got {list(output.shape)} and "
            f"{list(target.shape)}, which a loss would broadcast against each other."
        )


def check_problem(problem: Problem, name: str) -> None:
    """Build the problem's network, load its data, and check one batch.

    Args:
        problem: the problem.
        name: the name or path that it was loaded by; for a Python file, errors in its code are shown with their line.

    Raises:
        InputError: the parts do not fit together, a package is missing, or the problem's own code fails.
    """

    def check_first_batch() -> None:
        with forked_randomness():
            network = build_network(problem)
            split = load_splits(problem).train
            batch = next(load(split, epoch_order(problem, split, seed=0, epoch=0)))
            check(problem, network, *batch)

    explained(name, check_first_batch)


def build_network(problem: Problem) -> nn.Module:
    """Build the problem's network.

    Raises:
        InputError: it is not a module, or has no parameters.
    """
    network = problem.network()
    if not isinstance(network, nn.Module):
        raise InputError(
            f"`network` of problem {problem.name!r} should return a torch.nn.Module; it returned {type(network).__name__}."
        )
    if not any(True for _ in network.parameters()):
        raise InputError(f"The network of problem {problem.name!r} has no parameters to train.")
    return network


def load_splits(problem: Problem, *, test: bool = True) -> Splits:
    """Load the problem's data; with `test=False` the test split may be missing.

    All random numbers that it draws without a generator of its own are the same every time, whatever the run's seed.

    Raises:
        InputError: it is not `Splits` of data sets, or a split is empty.
    """
    with forked_randomness(_DATA_SEED):
        splits = problem.data()
    if not isinstance(splits, Splits):
        raise InputError(
            f"`data` of problem {problem.name!r} should return Splits(train, validation, test); it returned "
            f"{type(splits).__name__}."
        )
    for what in ("train", "validation", "test") if test else ("train", "validation"):
        split = getattr(splits, what)
        parts = list(split.values()) if isinstance(split, Mapping) else [split]
        for part in parts:
            if isinstance(part, Tensor | str | type) or not all(hasattr(part, name) for name in ("__len__", "__getitem__")):
                raise InputError(
                    f"Expected `{what}` of the data of {problem.name!r} to be a data set with a length, or several by name; "
                    f"got {type(part).__name__}."
                )
        if not parts or not all(map(len, parts)):
            raise InputError(f"Expected `{what}` of the data of {problem.name!r} to have examples; got none.")
    return splits
