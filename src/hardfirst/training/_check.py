"""Checks of a problem and its first batch before training starts, so that a mistake gives one clear error at once."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, unknown
from hardfirst.problems import IGNORE, Problem, Splits, explained
from hardfirst.training import _doubts
from hardfirst.training._batch import compute_kpi, label_mask, measure, select_labelled
from hardfirst.training._loading import load
from hardfirst.training._network import build_network, must_join, run_network
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._sampling import epoch_order, evaluation_order

_DATA_SEED = 0


@torch.no_grad()
def check(problem: Problem, network: nn.Module, inputs: Any, targets: Mapping[str, Tensor]) -> None:
    """Check names, shapes, label ranges, losses and KPIs on one batch, without changing network or random state.

    Raises:
        InputError: something does not match.
    """
    _check_names(problem, targets)
    training = network.training
    network.eval()
    with forked_randomness():
        batch = select_labelled(problem, run_network(problem, network, inputs), targets)
        for name, (output, target) in batch.items():
            _check_classes(name, output, target)
            _check_shape(name, output, target)
            for task in (task for task in problem.tasks if task.name == name):
                compute_kpi(task, output, target)
        measure(problem, batch)
    network.train(training)


def _check_names(problem: Problem, targets: Mapping[str, Tensor]) -> None:
    """Check the names. A batch may lack a task's target, or have a target for no task; both at once is probably a typo."""
    _check_mapping(problem, targets)
    missing = [task for task in problem.task_names if task not in targets]
    for target in targets:
        if missing and target not in problem.task_names:
            raise unknown("task among the targets:", target, missing)
    if len(missing) == len(problem.task_names) and not targets:
        raise InputError(f"Expected items `(inputs, {{task: target}})` in the data of {problem.name!r}; there is no target.")


def _check_mapping(problem: Problem, targets: object) -> None:
    if not isinstance(targets, Mapping):
        raise InputError(
            f"Expected batches `(inputs, {{task: target}})` in the data of {problem.name!r}; got "
            f"{type(targets).__name__} for the targets."
        )


def _check_classes(name: str, output: Tensor, target: Tensor) -> None:
    """Check that the classes in a target [batch, ...] match an output of logits [batch, classes, ...]."""
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool or output.dim() != target.dim() + 1:
        return
    labels = target[label_mask(target)]
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
            f"Expected output and target of task {name!r} to have the same shape; got {list(output.shape)} and "
            f"{list(target.shape)}, which a loss would broadcast against each other."
        )


def check_problem(problem: Problem, name: str) -> None:
    """Build the problem's network, load its data, and check one batch.

    Args:
        problem: the problem.
        name: the name or path that it was loaded by; for a Python file, errors in its code include the line.

    Raises:
        InputError: the parts do not match, a package is missing, or the problem's own code fails.
    """

    def check_first_batch() -> None:
        with forked_randomness():
            network = build_network(problem)
            splits = load_splits(problem)
            batch = next(load(splits.train, epoch_order(problem, splits.train, seed=0, epoch=0), draw=(0, 0)))
            check(problem, network, *batch)
            check_labels(problem, splits)
            must_join(problem, splits.train)
            outputs = run_network(problem, network.eval(), batch[0])
            _doubts.warn_in_memory(problem, splits, outputs)

    explained(name, check_first_batch)


def check_labels(problem: Problem, splits: Splits) -> None:
    """Check that there is a label to select an epoch by; reads the validation split up to the first label.

    Raises:
        InputError: there is no label.
    """
    with forked_randomness():
        for _, targets in load(splits.validation, evaluation_order(splits.validation, problem.batch_size)):
            _check_mapping(problem, targets)
            found = [target for task in problem.measured if isinstance(target := targets.get(task), Tensor)]
            if any(bool(label_mask(target).any()) for target in found):
                return
    raise InputError(
        f"No task of problem {problem.name!r} has a label in the validation split ({', '.join(problem.measured):.200}), "
        "by which the best epoch is selected. Add labels, or leave out tasks without labels."
    )


def nothing_to_train(problem: Problem) -> InputError:
    """Return the error that no batch of an epoch had a label."""
    return InputError(
        f"No task of problem {problem.name!r} has a label in the training split ({', '.join(problem.task_names):.200}), so "
        "nothing is trained. Add labels."
    )


def nothing_to_select(problem: Problem) -> InputError:
    """Return the error that no epoch has a score."""
    return InputError(
        f"No KPI of problem {problem.name!r} on the validation split was defined in any epoch, so none can be selected: a "
        "KPI was NaN wherever its task has labels. Give the tasks KPIs that are defined for every output."
    )


def load_splits(problem: Problem, *, test: bool = True) -> Splits:
    """Load the problem's data; with `test=False` the test split may be missing.

    Random numbers that it draws without its own generator are the same every time, regardless of the run's seed.

    Raises:
        InputError: the data is not `Splits` of data sets, or a split is empty.
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
