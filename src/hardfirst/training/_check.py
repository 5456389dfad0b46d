"""A look at one batch before training starts, so that what does not fit is said at once and in a sentence."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, unknown
from hardfirst.problems import IGNORE, Problem, Splits, explained
from hardfirst.training._batch import compute_kpi, measure, select_labelled
from hardfirst.training._sampling import epoch_order, load


@torch.no_grad()
def check(problem: Problem, network: nn.Module, inputs: Any, targets: Mapping[str, Tensor]) -> None:
    """Check names, shapes, label ranges, losses and KPIs on one batch; changes neither the network nor the random state.

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
    with torch.random.fork_rng():
        found = select_labelled(problem, _outputs(problem, network, inputs), targets)
        for name, (output, target) in found.items():
            _check_classes(name, output, target)
            _check_shape(name, output, target)
            for task in (task for task in problem.tasks if task.name == name):
                compute_kpi(task, output, target)
        measure(problem, found)
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
    """A task may lack its target in a batch, and a target may be of no task; but both at once is a slip of the pen."""
    missing = [task for task in problem.task_names if task not in targets]
    for target in targets:
        if missing and target not in problem.task_names:
            raise unknown("task among the targets:", target, missing)
    if len(missing) == len(problem.task_names) and not targets:
        raise InputError(f"Expected items `(inputs, {{task: target}})` in the data of {problem.name!r}; there is no target.")


def _check_classes(name: str, output: Tensor, target: Tensor) -> None:
    """Classes [batch, ...] beside logits [batch, classes, ...] have to be below their number."""
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool or output.dim() != target.dim() + 1:
        return
    known = target[target != IGNORE]
    low, high, classes = int(known.min()), int(known.max()), output.shape[1]
    if low < 0 or high >= classes:
        raise InputError(
            f"Expected the classes of task {name!r} to be 0 to {classes - 1}, as its output has {classes}, or {IGNORE} "
            f"where there is no label; got {low if low < 0 else high}."
        )


def _check_shape(name: str, output: Tensor, target: Tensor) -> None:
    """[batch, 1] beside [batch] would be broadcast to [batch, batch] by a loss."""
    alike = output.shape != target.shape and output.squeeze().shape == target.squeeze().shape
    if target.is_floating_point() and alike and len(target) > 1:
        raise InputError(
            f"Expected output and target of task {name!r} to have one shape; got {list(output.shape)} and "
            f"{list(target.shape)}, which a loss would spread over each other."
        )


def check_problem(problem: Problem, name: str) -> None:
    """Make the problem's network, load its data, and `check` a batch of it.

    Args:
        problem: the problem.
        name: what it was loaded by; errors of a Python file's code are shown with its line.

    Raises:
        InputError: something does not fit, a package is missing, or the problem's own code fails.
    """

    def look() -> None:
        with torch.random.fork_rng():
            network = build_network(problem)
            split = load_splits(problem).train
            first = next(load(split, epoch_order(problem, split, seed=0, epoch=0)))
            check(problem, network, *first)

    explained(name, look)


def build_network(problem: Problem) -> nn.Module:
    """The problem's network.

    Raises:
        InputError: it is none, or has nothing to train.
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
    """The problem's data; a run that never reads the test split may go without.

    Raises:
        InputError: it is no three splits, or one is empty.
    """
    found = problem.data()
    if not isinstance(found, Splits):
        raise InputError(
            f"`data` of problem {problem.name!r} should return Splits(train, validation, test); it returned "
            f"{type(found).__name__}."
        )
    for what in ("train", "validation", "test") if test else ("train", "validation"):
        split = getattr(found, what)
        parts = list(split.values()) if isinstance(split, Mapping) else [split]
        for part in parts:
            if isinstance(part, Tensor | str | type) or not all(hasattr(part, name) for name in ("__len__", "__getitem__")):
                raise InputError(
                    f"Expected `{what}` of the data of {problem.name!r} to be a data set with a length, or several by name; "
                    f"got {type(part).__name__}."
                )
        if not parts or not all(map(len, parts)):
            raise InputError(f"Expected `{what}` of the data of {problem.name!r} to have examples; got none.")
    return found
