"""Losses and KPIs of a batch of each trial."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.kpi import skipping
from hardfirst.kpi._accumulators import is_accumulator
from hardfirst.problems import Task
from hardfirst.training._batch import Measurements, measure, select_labelled
from hardfirst.training.vectorized._data import StackedBatch, row_of
from hardfirst.training.vectorized._refusal import NotVectorizable
from hardfirst.training.vectorized._rows import Rows
from hardfirst.training.vectorized._stack import Stack

Columns = Mapping[str, Tensor]
"""By task, a row for each trial."""


class Measures:
    """The losses and KPIs of trials' batches.

    A task whose loss and KPI run under `torch.func.vmap`, with the values of a single run, is measured for all trials at
    once, and so are tasks that have the same ones; others, which index by Booleans for instance, for one trial after the
    other. Where examples lack labels, a loss or KPI takes the form that skips them, if it has one: `hardfirst.kpi.skipping`.

    Args:
        rows: the trials.
        tasks: the names of the tasks that have labels.
        gaps: of these, the ones that lack labels of some examples.
        stack: the trials' networks.
    """

    def __init__(self, rows: Rows, tasks: Sequence[str], gaps: Collection[str], stack: Stack) -> None:
        problem = rows.problem
        self.rows, self.problem, self.gaps, self.stack = rows, problem, gaps, stack
        self._zero, self._nan = stack.weights.new_tensor(0.0), stack.weights.new_tensor(torch.nan)
        self._trained = rows.trains.to(stack.weights.device)
        self._whole = replace(
            problem, tasks=tuple(_skipping(task) if task.name in gaps else _fast(task) for task in problem.tasks)
        )
        self.tasks = [task for task in problem.tasks if task.name in tasks]
        self.together: list[list[Task]] = []  # tasks of one kind
        self.singly: list[Task] = []

    def measure(self, inputs: Any, targets: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The scaled losses and the KPIs: each [trials, tasks of the problem].

        The loss of a task is 0 where it has no labels or is not trained, and a KPI is NaN that is not measured on batches.
        """
        outputs = self._own(self.stack.run(self._outputs, inputs))
        targets = self._own(targets)
        losses: dict[str, Tensor] = {}
        kpis: dict[str, Tensor] = {}
        for tasks in self.together:
            measured = self._measure_together(tasks, outputs, targets)
            for by_task, values in zip((losses, kpis), measured, strict=True):
                by_task.update(zip((task.name for task in tasks), values, strict=False))  # there may be no KPI
        for task in self.singly:
            rows = self._measure_singly(task, outputs[task.name], targets[task.name])
            losses[task.name] = torch.stack([row.losses[task.name] for row in rows])
            if rows[0].kpis:
                kpis[task.name] = torch.stack([row.kpis[task.name] for row in rows])
        return self._matrix(losses, self._zero), self._matrix(kpis, self._nan)

    def _outputs(self, network: Any, inputs: Any) -> dict[str, Tensor]:
        outputs = network(inputs)
        return {task.name: outputs[task.name] for task in self.tasks}

    def _matrix(self, columns: Columns, absent: Tensor) -> Tensor:
        """A matrix [trials, tasks] of values by task, each for the trials that train it."""
        names = self.problem.task_names
        values = [columns[name] if name in columns else absent.expand(self.rows.count(name)) for name in names]
        if self.rows.mixed:  # one value for each trial
            return torch.where(self._trained, torch.cat(values)[:, None], absent)
        return torch.stack(values, 1)

    def _own(self, tensors: Columns) -> Columns:
        """Of tensors by task, the rows of the trials that train it."""
        return (
            {task.name: tensors[task.name][self.rows.of(task.name)] for task in self.tasks} if self.rows.mixed else tensors
        )

    def _measure_together(self, tasks: Sequence[Task], outputs: Columns, targets: Columns) -> list[Sequence[Tensor]]:
        """The losses of tasks of one kind, by task, and their KPIs, if they have some, for each trial that trains it."""
        first = tasks[0].name

        def one(output: Tensor, target: Tensor) -> list[list[Tensor]]:
            measured = measure(self._whole, {first: (output, target)})
            return [list(measured.losses.values()), list(measured.kpis.values())]

        rows = (_joined([values[task.name] for task in tasks]) for values in (outputs, targets))
        values = torch.vmap(one, randomness="different")(*rows)
        counts = [len(outputs[task.name]) for task in tasks]
        return [value[0].split_with_sizes(counts) if value else () for value in values]

    def _measure_singly(self, task: Task, outputs: Tensor, targets: Tensor) -> list[Measurements]:
        """Each trial's loss and KPI, as a single run measures them."""
        others = dict.fromkeys(self.problem.task_names)
        labelled = [
            select_labelled(self.problem, others | {task.name: output}, {task.name: target})
            for output, target in zip(outputs, targets, strict=True)
        ]
        return [measure(self.problem, batch) for batch in labelled]

    @torch.no_grad()
    def choose(self, networks: Sequence[nn.Module], batch: StackedBatch) -> None:
        """Find out which tasks can be measured together, by the networks' outputs for a batch each in evaluation mode.

        Args:
            networks: the single ones.
            batch: inputs and targets.

        Raises:
            NotVectorizable: the stack does not compute what the single networks do.
        """
        inputs = batch[0]
        self.stack.template.eval()
        try:
            outputs = self.stack.run(self._outputs, inputs)
        except Exception as error:  # of the network's code
            raise NotVectorizable(f"The network does not run under torch.func.vmap: {_line(error)}.") from error
        for row, network in enumerate(networks):
            single = network.eval()(row_of(inputs, row))
            if not all(close(outputs[task.name][row], single[task.name]) for task in self.tasks):
                raise NotVectorizable("The network computes something else under torch.func.vmap.")
        outputs, targets = self._own(outputs), self._own(batch[1])
        kinds: dict[Any, list[Task]] = {}
        for task in self.tasks:
            output, target = outputs[task.name], targets[task.name]
            if self._runs(task, output, target):
                tensors = output.shape[1:], output.dtype, target.shape[1:], target.dtype, task.name in self.gaps
                kinds.setdefault((id(task.loss), id(task.kpi), task.kpi_from, task.scale, *tensors), []).append(task)
            else:
                self.singly.append(task)
        self.together = list(kinds.values())

    def _runs(self, task: Task, outputs: Tensor, targets: Tensor) -> bool:
        """Whether the task's loss and KPI give for all trials at once what they give for each one."""
        name = task.name
        rows = self._measure_singly(task, outputs, targets)
        try:
            losses, kpis = self._measure_together([task], {name: outputs}, {name: targets})
        except (InputError, RuntimeError):  # of torch.func, which an `InputError` quotes
            return False
        # Without a gap in the batch nothing is known of how the functions treat one.
        tried = name not in self.gaps or any(row.examples[name] < targets.shape[1] for row in rows)
        same_losses = close(losses[0], torch.stack([row.losses[name] for row in rows]))
        return tried and same_losses and (not kpis or close(kpis[0], torch.stack([row.kpis[name] for row in rows])))


def close(value: Tensor, expected: Tensor) -> bool:
    """Whether two tensors have one shape, and the same values up to rounding."""
    if value.shape != expected.shape:
        return False
    if not value.is_floating_point():
        return torch.equal(value, expected)
    tolerance = torch.finfo(value.dtype).eps ** 0.5
    return torch.allclose(value, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _skipping(task: Task) -> Task:
    """The task with the forms of its loss and KPI that skip missing labels, as far as they have some."""
    kpi = task.kpi if is_accumulator(task.kpi) else skipping(task.kpi)
    return replace(task, loss=skipping(task.loss) or task.loss, kpi=task.kpi if kpi is None else kpi)


def _fast(task: Task) -> Task:
    """The task with another form of torch's cross-entropy, for which `torch.func.vmap` has Python's decomposition alone."""
    return replace(task, loss=_cross_entropy) if task.loss is F.cross_entropy else task


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """The mean over logits [batch, classes] and labels [batch], none of which is missing."""
    if output.dim() != 2 or target.is_floating_point():
        return F.cross_entropy(output, target)
    return (output.logsumexp(1) - output.gather(1, target[:, None])[:, 0]).mean()


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()):.150}".rstrip(".")
