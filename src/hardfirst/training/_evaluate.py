"""Evaluate a network on a split, batch by batch, keeping only what the tasks' measures need."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from hardfirst.problems import ConcatSplit, Problem, Split, Task, collate
from hardfirst.training import _doubts
from hardfirst.training._batch import check_kpi, concatenate, select_labelled
from hardfirst.training._figures import Figure, Pair, figure, loss_figure
from hardfirst.training._randomness import forked_randomness

_MOST_EXAMPLES = 1024  # per batch
_MOST_NUMBERS = 2**22  # per batch, in inputs and targets
_MUCH = 2**30  # bytes


class TaskResult(TypedDict):
    """A task's loss, KPI and metrics on a split: computed over all labelled examples, not averaged over batches.

    `examples` counts the labelled examples. The loss is the mean over the batches, weighted by their labels. An auxiliary
    task has no `kpi`.
    """

    loss: float
    kpi: NotRequired[float]
    metrics: dict[str, float]
    examples: int


class Share(NamedTuple):
    """The data kept for a task from one batch, until it is added.

    Args:
        examples: the number of labelled examples.
        states: the state of each of the task's figures for the batch.
        pair: output and target, if a figure needs them.
        classes: the labels of each class, if requested; None if this is not a classification.
        output: an empty slice of the output, for its shape.
        target: an empty slice of the target.
    """

    examples: int
    states: list[Tensor | None]
    pair: Pair | None
    classes: Tensor | None
    output: Tensor
    target: Tensor


class Evaluation:
    """The figures of a split, to which batches are added.

    Args:
        problem: the problem.
        device: the network's device.
        test: whether this is the test split.
        name: the name of the split in warnings about uninformative KPIs and memory; None for no warning.
    """

    def __init__(self, problem: Problem, device: torch.device, *, test: bool, name: str | None = None) -> None:
        self.name = name
        self.tasks = {task.name: _TaskEvaluation(task, device, test=test, doubts=name is not None) for task in problem.tasks}

    @torch.no_grad()
    def shares(
        self, problem: Problem, network: nn.Module, batches: Iterable[tuple[Any, Mapping[str, Tensor]]]
    ) -> Iterator[dict[str, Share]]:
        """Run the network on each batch, and reduce its outputs. Leaves the network in evaluation mode."""
        network.eval()
        for inputs, targets in batches:
            labelled = select_labelled(problem, network(inputs), targets)
            yield {task: self.tasks[task].share(*pair, self.tasks[task].measured(*pair)) for task, pair in labelled.items()}

    @torch.no_grad()
    def add(self, batch: Mapping[str, Share]) -> None:
        """Add a batch. Batches must be added in order."""
        for task, share in batch.items():
            self.tasks[task].add(share)

    @torch.no_grad()
    def results(self) -> dict[str, TaskResult]:
        """Return each task's figures; NaN for a task without labels in the split."""
        if self.name is not None:
            self._warn_of_memory()
        return {name: task.result(self.name) for name, task in self.tasks.items()}

    def _warn_of_memory(self) -> None:
        if sum(task.gathered_bytes for task in self.tasks.values()) > _MUCH:
            gathers = {name: task.gathers for name, task in self.tasks.items() if task.gathers}
            listed = "; ".join(f"{name}: {', '.join(measures)}" for name, measures in gathers.items())
            # The text does not name the split, so that Python's default filter shows it once in a run.
            warnings.warn(
                f"Measures keep more than 1 GiB of outputs and targets, since they need all of a split at once: "
                f"{listed}. hardfirst.kpi.streams creates a measure with a small state.",
                UserWarning,
                stacklevel=3,
            )


class _TaskEvaluation:
    """A task's figures on a split."""

    def __init__(self, task: Task, device: torch.device, *, test: bool, doubts: bool) -> None:
        self.task, self.device = task, device
        self.loss = loss_figure(task)
        self.kpi = None if task.kpi is None else figure(task, "KPI", task.kpi, device)
        self.metrics = {
            name: figure(task, name, metric.measure, device)
            for name, metric in task.metrics.items()
            if test or not metric.test_only
        }
        self.figures: list[Figure] = [self.loss, *[self.kpi] * (self.kpi is not None), *self.metrics.values()]  # type: ignore[list-item]
        self.gathers = [each.what for each in self.figures if each.gathers]
        self.doubts = doubts and self.kpi is not None
        self.examples = 0
        self.pairs: list[Pair] = []
        self.classes = _doubts.ClassCounts()
        self.shapes: Pair | None = None

    @property
    def gathered_bytes(self) -> int:
        return sum(tensor.nbytes for pair in self.pairs for tensor in pair)

    def measured(self, output: Tensor, target: Tensor) -> list[Tensor | None]:
        return [each.measured(output, target) for each in self.figures]

    def share(self, output: Tensor, target: Tensor, measured: Sequence[Tensor | None]) -> Share:
        needed = any(each.needs_pair for each in self.figures)
        return Share(
            examples=len(target),
            states=[each.kept(value, target) for each, value in zip(self.figures, measured, strict=True)],
            pair=(_compact(output), _compact(target)) if needed else None,
            classes=_doubts.class_counts(output, target) if self.doubts else None,
            output=output[:0].clone(),
            target=target[:0].clone(),
        )

    def add(self, share: Share) -> None:
        self.examples += share.examples
        for each, state in zip(self.figures, share.states, strict=True):
            each.add(state, share.pair)
        if self.gathers:
            assert share.pair is not None
            self.pairs.append((share.pair[0].cpu(), share.pair[1].cpu()))
        self.classes.add(share.classes)
        self.shapes = share.output, share.target

    def result(self, split: str | None) -> TaskResult:
        result = TaskResult(loss=math.nan, metrics={}, examples=self.examples)
        if self.kpi is not None:
            result["kpi"] = math.nan
        if not self.examples:
            return result
        gathered = self._gather()
        if self.doubts and split is not None:
            self._warn_of_doubts(gathered, split)
        result["loss"] = float(self.loss.value(gathered))
        result["metrics"] = {name: float(each.value(gathered)) for name, each in self.metrics.items()}
        if self.kpi is not None:
            result["kpi"] = float(check_kpi(self.task, self.kpi.value(gathered)))
        return result

    def _gather(self) -> Pair | None:
        if not self.gathers:
            return None
        output, target = concatenate(self.task.name, self.pairs)
        self.pairs = []
        return output.to(self.device), target.to(self.device)

    def _warn_of_doubts(self, gathered: Pair | None, split: str) -> None:
        assert self.kpi is not None
        counts = self.classes.counts
        if counts is None:
            return
        if not self.kpi.gathers:
            assert self.shapes is not None
            gathered = _doubts.examples_of(counts, *self.shapes)
        assert gathered is not None
        _doubts.warn(self.task, counts, *gathered, split)


def _compact(tensor: Tensor) -> Tensor:
    """Return the tensor, copied if it is a small part of another, which it would keep in memory."""
    return tensor if tensor.untyped_storage().nbytes() <= 2 * tensor.nbytes else tensor.clone()


def evaluation_batch(problem: Problem, split: Split) -> int:
    """Return the number of examples in a batch of an evaluation.

    1,024, or fewer if that would be more than 4 million numbers in inputs and targets, estimated from the first example of
    each data set; but at least the batch size of training, which takes more memory.
    """
    data = ConcatSplit(split)
    with forked_randomness():  # a data set may draw random numbers
        firsts = [collate(data.__getitems__([end - size])) for end, size in zip(data.ends, data.sizes, strict=True)]
    numbers = max(map(_count, firsts), default=1)
    return min(_MOST_EXAMPLES, max(problem.batch_size, _MOST_NUMBERS // max(1, numbers)))


def _count(value: object) -> int:
    """Count the numbers in an item, in nested containers."""
    if isinstance(value, Tensor):
        return value.numel()
    if isinstance(value, Mapping):
        return sum(map(_count, value.values()))
    return sum(map(_count, value)) if isinstance(value, Sequence) and not isinstance(value, str) else 1
