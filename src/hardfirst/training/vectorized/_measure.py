"""Losses and KPIs of a batch of each trial."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.problems import Problem
from hardfirst.training._batch import Measurements, measure, select_labelled
from hardfirst.training.vectorized._data import StackedBatch, row_of
from hardfirst.training.vectorized._refusal import NotVectorizable
from hardfirst.training.vectorized._stack import Stack

Columns = Mapping[str, Tensor]
"""By task, a value for each trial."""


class Measures:
    """The losses and KPIs of trials' batches.

    A task whose loss and KPI run under `torch.func.vmap`, with the values of a single run, is measured for all trials at
    once; others, which index by booleans for instance, for one trial after the other.

    Args:
        problem: the problem.
        tasks: the names of the tasks that have labels.
        stack: the trials' networks.
    """

    def __init__(self, problem: Problem, tasks: Sequence[str], stack: Stack) -> None:
        self.problem, self.tasks, self.stack = problem, tasks, stack
        self.together = list(tasks)
        self.singly: list[str] = []

    def measure(self, inputs: Any, targets: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The scaled losses and the KPIs: each [trials, tasks of the problem].

        The loss of a task without labels is 0, and a KPI is NaN that is not measured on batches.
        """
        losses, kpis, outputs = self.stack.run(self._measure_one, inputs, targets)
        for name in self.singly:
            measured = [self._measure_singly(name, *pair) for pair in zip(outputs[name], targets[name], strict=True)]
            losses[name] = torch.stack([each.losses[name] for each in measured])
            if measured[0].kpis:
                kpis[name] = torch.stack([each.kpis[name] for each in measured])
        return self._matrix(losses, 0.0), self._matrix(kpis, torch.nan)

    def _matrix(self, columns: Columns, absent: float) -> Tensor:
        """[trials, tasks] of the columns."""
        if len(columns) == len(self.problem.tasks):
            return torch.stack([columns[name] for name in self.problem.task_names], 1)
        rest = self.stack.weights.new_full((len(self.stack),), absent)
        return torch.stack([columns.get(name, rest) for name in self.problem.task_names], 1)

    def _measure_one(self, network: Any, inputs: Any, targets: Mapping[str, Tensor]) -> Any:
        outputs = network(inputs)
        measured = measure(self.problem, {name: (outputs[name], targets[name]) for name in self.together})
        return dict(measured.losses), dict(measured.kpis), {name: outputs[name] for name in self.singly}

    def _measure_singly(self, name: str, output: Tensor, target: Tensor) -> Measurements:
        others = dict.fromkeys(self.problem.task_names)
        return measure(self.problem, select_labelled(self.problem, others | {name: output}, {name: target}))

    @torch.no_grad()
    def choose(self, networks: Sequence[nn.Module], batch: StackedBatch, gaps: set[str]) -> None:
        """Find out which tasks can be measured together, by the networks' outputs for a batch each in evaluation mode.

        Args:
            networks: the single ones.
            batch: inputs and targets.
            gaps: the tasks that lack labels of some examples.

        Raises:
            NotVectorizable: the stack does not compute what the single networks do.
        """
        inputs, targets = batch
        self.stack.template.eval()
        try:
            outputs = self.stack.run(self._outputs, inputs)
        except Exception as error:  # of the network's code
            raise NotVectorizable(f"The network does not run under torch.func.vmap: {_line(error)}") from error
        for row, network in enumerate(networks):
            single = network.eval()(row_of(inputs, row))
            if not all(_close(outputs[name][row], single[name]) for name in self.tasks):
                raise NotVectorizable("The network computes something else under torch.func.vmap.")
        self.singly = [name for name in self.tasks if not self._runs(name, outputs[name], targets[name], name in gaps)]
        self.together = [name for name in self.tasks if name not in self.singly]

    def _outputs(self, network: Any, inputs: Any) -> dict[str, Tensor]:
        outputs = network(inputs)
        return {name: outputs[name] for name in self.tasks}

    def _runs(self, name: str, output: Tensor, target: Tensor, has_gaps: bool) -> bool:
        """Whether the task's loss and KPI give for all trials at once what they give for each one."""

        def one(output: Tensor, target: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
            measured = measure(self.problem, {name: (output, target)})
            return dict(measured.losses), dict(measured.kpis)

        singly = [self._measure_singly(name, *pair) for pair in zip(output, target, strict=True)]
        try:
            losses, kpis = torch.vmap(one, randomness="different")(output, target)
        except (InputError, RuntimeError):  # of torch.func, which an `InputError` may quote
            return False
        # Without a gap in the batch nothing is known of how the functions treat one.
        tried = not has_gaps or any(each.examples[name] < target.shape[1] for each in singly)
        same_losses = _close(losses[name], torch.stack([each.losses[name] for each in singly]))
        return tried and same_losses and (not kpis or _close(kpis[name], torch.stack([each.kpis[name] for each in singly])))


def _close(value: Tensor, expected: Tensor) -> bool:
    if value.shape != expected.shape:
        return False
    if not value.is_floating_point():
        return torch.equal(value, expected)
    tolerance = torch.finfo(value.dtype).eps ** 0.5
    return torch.allclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.150}"
