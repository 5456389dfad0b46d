"""The figures of trials on a split."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import Problem, Task
from hardfirst.training._batch import Labelled, select_labelled
from hardfirst.training._evaluate import Evaluation, TaskResult
from hardfirst.training.vectorized._close import close

Measured = Mapping[str, Sequence[Sequence[Tensor | None]]]
"""By task and trial, what each figure of the task computes of a batch."""


class Evaluations:
    """The figures of trials on a split, to which batches are added: those of single runs.

    Tasks with the same measures are measured together, for all trials at once, where that runs under `torch.func.vmap` and
    gives what it gives for one trial after the other; the first batch shows whether it does.

    Args:
        problem: the problem.
        device: the networks'.
        rows: of the trials to evaluate, at least one.
        runs: by tasks, whether they can be measured together, as far as an earlier evaluation has shown; it is added to.
        test: whether this is the test split.
        name: the split's, to warn of KPIs that say little on it; None for no warning.
    """

    def __init__(
        self,
        problem: Problem,
        device: torch.device,
        rows: Sequence[int],
        runs: dict[Any, bool],
        *,
        test: bool,
        name: str | None,
    ) -> None:
        self.problem, self.runs, self.test = problem, runs, test
        self.tasks = {task.name: task for task in problem.tasks}
        # a warning is about the labels, which all trials have in common
        self.by_row = {row: Evaluation(problem, device, test=test, name=name if row == rows[0] else None) for row in rows}

    def add(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Add a batch, in the order of the batches.

        Args:
            outputs: by task [trials, batch, ...], of all trials.
            targets: by task [batch, ...].
        """
        by_example = {task: output.transpose(0, 1) for task, output in outputs.items()}
        selected = select_labelled(self.problem, by_example, targets)
        labelled = {task: (output.transpose(0, 1), target) for task, (output, target) in selected.items()}
        measured = self._measured(labelled)
        for row, evaluation in self.by_row.items():
            evaluation.add(
                {
                    name: evaluation.tasks[name].share(output[row], target, measured[name][row])
                    for name, (output, target) in labelled.items()
                }
            )

    def results(self, row: int) -> dict[str, TaskResult]:
        """A trial's figures; none if it is not evaluated."""
        return self.by_row[row].results() if row in self.by_row else {}

    def _measured(self, labelled: Labelled) -> Measured:
        kinds: dict[Any, list[str]] = {}
        for name, pair in labelled.items():
            kinds.setdefault((_measures(self.tasks[name]), *((each.shape, each.dtype) for each in pair)), []).append(name)
        measured: dict[str, Sequence[Sequence[Tensor | None]]] = {}
        for names in kinds.values():
            key = (*names, self.test)
            together = self._together(names, labelled) if self.runs.get(key, True) else None
            if key not in self.runs or together is None:
                singly = self._singly(names, labelled)
                self.runs[key] = together is not None and all(
                    _same(together[name][row], singly[name][row]) for name in names for row in self.by_row
                )
                together = together if self.runs[key] else singly
            assert together is not None
            measured.update(together)
        return measured

    def _together(self, names: Sequence[str], labelled: Labelled) -> Measured | None:
        """What the figures of tasks of one kind compute, all at once; None if that does not run."""
        task = next(iter(self.by_row.values())).tasks[names[0]]
        outputs = torch.cat([labelled[name][0] for name in names])
        trials = len(outputs) // len(names)
        targets = labelled[names[0]][1]
        if len(names) > 1:
            targets = torch.stack([labelled[name][1] for name in names]).repeat_interleave(trials, 0)
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
        rows = list(zip(*figures, strict=True))
        return {name: rows[number * trials : (number + 1) * trials] for number, name in enumerate(names)}

    def _singly(self, names: Sequence[str], labelled: Labelled) -> Measured:
        """What the figures of tasks compute for one trial after the other; nothing for those that are not evaluated."""
        return {
            name: [
                self.by_row[row].tasks[name].measured(output, labelled[name][1]) if row in self.by_row else []
                for row, output in enumerate(labelled[name][0])
            ]
            for name in names
        }


def _measures(task: Task) -> tuple[int, ...]:
    return (id(task.loss), id(task.kpi), *(id(metric.measure) for metric in task.metrics.values()))


def _same(together: Sequence[Tensor | None], singly: Sequence[Tensor | None]) -> bool:
    """Whether what was computed at once is what was computed for one trial."""
    pairs = zip(together, singly, strict=True)
    return all(one is other or (one is not None and other is not None and close(one, other)) for one, other in pairs)
