"""The figures of trials on a split."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import Task
from hardfirst.training._batch import Labelled, select_labelled
from hardfirst.training._evaluate import Evaluation, TaskResult
from hardfirst.training.vectorized._measure import close
from hardfirst.training.vectorized._rows import Rows

Measured = Mapping[str, Sequence[Sequence[Tensor | None]]]
"""By task and trial, what each figure of the task computes of a batch."""


class Evaluations:
    """The figures of trials on a split, to which batches are added: those of single runs.

    Tasks with the same measures are measured together, for all trials at once, where that runs under `torch.func.vmap` and
    gives what it gives for one trial after the other; the first batch shows whether it does.

    Args:
        rows: the trials.
        device: the networks'.
        live: the rows of the trials to evaluate, at least one.
        runs: by tasks, whether they can be measured together, as far as an earlier evaluation has shown; it is added to.
        test: whether this is the test split.
        name: the split's, to warn of KPIs that say little on it; None for no warning.
    """

    def __init__(
        self, rows: Rows, device: torch.device, live: Sequence[int], runs: dict[Any, bool], *, test: bool, name: str | None
    ) -> None:
        self.rows, self.runs, self.test = rows, runs, test
        self.tasks = {task.name: task for task in rows.problem.tasks}
        # a warning is about the labels, which all trials of a task have in common
        firsts = {id(rows.problems[row]): row for row in reversed(live)}.values()
        self.by_row = {
            row: Evaluation(rows.problems[row], device, test=test, name=name if row in firsts else None) for row in live
        }
        self.by_task = {
            task: {row - rows.of(task).start: each.tasks[task] for row, each in self.by_row.items() if task in each.tasks}
            for task in self.tasks
        }
        """By task, the live trials that train it, by their place among all that do."""

    def add(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Add a batch, in the order of the batches.

        Args:
            outputs: by task [trials, batch, ...], of all trials.
            targets: by task [batch, ...].
        """
        by_example = {task: output[self.rows.of(task)].transpose(0, 1) for task, output in outputs.items()}
        selected = select_labelled(self.rows.problem, by_example, targets)
        labelled = {task: (out.transpose(0, 1), target) for task, (out, target) in selected.items() if self.by_task[task]}
        measured = self._measured(labelled)
        for name, (output, target) in labelled.items():
            for place, task in self.by_task[name].items():
                task.add(task.share(output[place], target, measured[name][place]))

    def results(self, row: int) -> dict[str, TaskResult]:
        """A trial's figures; none if it is not evaluated."""
        return self.by_row[row].results() if row in self.by_row else {}

    def _measured(self, labelled: Labelled) -> Measured:
        kinds: dict[Any, list[str]] = {}
        for name, pair in labelled.items():
            output, target = pair
            tensors = output.shape[1:], output.dtype, target.shape, target.dtype
            kinds.setdefault((_measures(self.tasks[name]), *tensors), []).append(name)
        measured: dict[str, Sequence[Sequence[Tensor | None]]] = {}
        for names in kinds.values():
            key = (*names, self.test)
            together = self._together(names, labelled) if self.runs.get(key, True) else None
            if key not in self.runs or together is None:
                singly = self._singly(names, labelled)
                self.runs[key] = together is not None and all(
                    _same(together[name][place], singly[name][place]) for name in names for place in self.by_task[name]
                )
                together = together if self.runs[key] else singly
            assert together is not None
            measured.update(together)
        return measured

    def _together(self, names: Sequence[str], labelled: Labelled) -> Measured | None:
        """What the figures of tasks of one kind compute, all at once; None if that does not run."""
        task = next(iter(self.by_task[names[0]].values()))
        outputs = torch.cat([labelled[name][0] for name in names])
        targets = labelled[names[0]][1]
        if len(names) > 1:
            counts = torch.tensor([len(labelled[name][0]) for name in names], device=targets.device)
            targets = torch.stack([labelled[name][1] for name in names]).repeat_interleave(counts, 0)
        measures: list[bool] = []

        def one(output: Tensor, target: Tensor) -> list[Tensor]:
            values = task.measured(output, target)
            measures[:] = [value is not None for value in values]
            return [value for value in values if value is not None]

        try:
            values = torch.vmap(one, in_dims=(0, 0 if len(names) > 1 else None), randomness="different")(outputs, targets)
        except (InputError, RuntimeError):  # of torch.func, which an `InputError` quotes, or of the user's code
            return None
        columns = iter(values)
        figures = [next(columns).unbind() if is_measured else [None] * len(outputs) for is_measured in measures]
        places = zip(*figures, strict=True)
        return {name: list(islice(places, len(labelled[name][0]))) for name in names}

    def _singly(self, names: Sequence[str], labelled: Labelled) -> Measured:
        """What the figures of tasks compute for one trial after the other; nothing for those that are not evaluated."""
        return {
            name: [
                self.by_task[name][place].measured(output, labelled[name][1]) if place in self.by_task[name] else []
                for place, output in enumerate(labelled[name][0])
            ]
            for name in names
        }


def _measures(task: Task) -> tuple[int, ...]:
    return (id(task.loss), id(task.kpi), *(id(metric.measure) for metric in task.metrics.values()))


def _same(together: Sequence[Tensor | None], singly: Sequence[Tensor | None]) -> bool:
    """Whether what was computed at once is what was computed for one trial."""
    pairs = zip(together, singly, strict=True)
    return all(one is other or (one is not None and other is not None and close(one, other)) for one, other in pairs)
