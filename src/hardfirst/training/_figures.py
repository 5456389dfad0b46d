"""Figures of a split that accumulate batch by batch: the state kept of each batch, and how batches are combined."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from hardfirst.kpi import Accumulator, Streaming, streaming
from hardfirst.kpi._accumulators import copied, is_accumulator, value_of
from hardfirst.problems import Measure, Task
from hardfirst.training._batch import attribute, compute_loss, label_count, scalar

Pair = tuple[Tensor, Tensor]


class Figure(ABC):
    """A task's loss, KPI or a metric on a split.

    Args:
        task: the task.
        what: the figure's name, for error messages.
    """

    needs_pair: ClassVar[bool] = False  # whether it needs a batch's output and target when the batch is added
    gathers: ClassVar[bool] = False  # whether it needs the outputs and targets of all batches at once

    def __init__(self, task: Task, what: str) -> None:
        self.task, self.what = task, what

    def measured(self, output: Tensor, target: Tensor) -> Tensor | None:
        """Compute the batch's measurement, on the rank that evaluates it; also under `torch.func.vmap` if possible."""
        return None

    def kept(self, measured: Tensor | None, target: Tensor) -> Tensor | None:
        """Return what is needed of a batch in addition to output and target, given its measurement."""
        return measured

    @abstractmethod
    def add(self, state: Tensor | None, pair: Pair | None) -> None:
        """Add a batch. Batches must be added in order."""

    @abstractmethod
    def value(self, gathered: Pair | None) -> Tensor:
        """Return the value over all batches.

        Args:
            gathered: the outputs and targets of all batches, for a figure that gathers.
        """


def figure(task: Task, what: str, measure: Measure | Accumulator, device: torch.device) -> Figure:
    """Return the figure of a KPI or metric: from states, an object that accumulates, or all outputs at once."""
    if is_accumulator(measure):
        return Accumulated(task, what, copied(measure, device), device)
    function: Measure = measure  # type: ignore[assignment]  # not an object that accumulates
    form = streaming(function)
    return Gathered(task, what, function) if form is None else Streamed(task, what, form)


def loss_figure(task: Task) -> Figure:
    """Return the figure of the task's loss: from states, if it has any, or the batches' mean over labels."""
    form = streaming(task.loss)
    return MeanOverLabels(task, "loss") if form is None else Streamed(task, "loss", form)


class Streamed(Figure):
    """A measure with a state, see `hardfirst.kpi.streams`."""

    def __init__(self, task: Task, what: str, form: Streaming) -> None:
        super().__init__(task, what)
        self.form = form
        self.state: Tensor | None = None

    def measured(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the batch's state."""
        return attribute(self.task, self.what, self.form.state_of, output=output, target=target)

    def add(self, state: Tensor | None, pair: Pair | None) -> None:
        """Merge the batch's state."""
        assert state is not None
        if self.state is not None:
            state = attribute(self.task, self.what, self.form.merge, state=self.state, other=state)
        self.state = state

    def value(self, gathered: Pair | None) -> Tensor:
        """Return the value of the merged state."""
        assert self.state is not None
        return scalar(self.task, self.what, attribute(self.task, self.what, self.form.finish, state=self.state))


class Accumulated(Figure):
    """An object that accumulates, on the device."""

    needs_pair = True

    def __init__(self, task: Task, what: str, accumulator: Accumulator, device: torch.device) -> None:
        super().__init__(task, what)
        self.accumulator, self.device = accumulator, device

    def add(self, state: Tensor | None, pair: Pair | None) -> None:
        """Update the object."""
        assert pair is not None
        output, target = (tensor.to(self.device) for tensor in pair)
        attribute(self.task, self.what, self.accumulator.update, output=output, target=target)

    def value(self, gathered: Pair | None) -> Tensor:
        """Return the object's value."""
        return scalar(self.task, self.what, attribute(self.task, self.what, lambda: value_of(self.accumulator)))


class Gathered(Figure):
    """A function of all outputs and targets."""

    needs_pair = gathers = True

    def __init__(self, task: Task, what: str, function: Measure) -> None:
        super().__init__(task, what)
        self.function = function

    def add(self, state: Tensor | None, pair: Pair | None) -> None:
        """Do nothing: the task stores outputs and targets once, for all figures that gather."""

    def value(self, gathered: Pair | None) -> Tensor:
        """Return the function's value."""
        assert gathered is not None
        output, target = gathered
        return scalar(self.task, self.what, attribute(self.task, self.what, self.function, output=output, target=target))


class MeanOverLabels(Figure):
    """A loss as Σ_b l_b · n_b / n, where batch b has the loss l_b and n_b of the n labels; exactly l_b for one batch."""

    def __init__(self, task: Task, what: str) -> None:
        super().__init__(task, what)
        self.batches: list[list[float]] = []

    def measured(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the batch's loss."""
        return compute_loss(self.task, output, target)

    def kept(self, measured: Tensor | None, target: Tensor) -> Tensor:
        """Return the batch's loss and labels: [2] float64, on the CPU, since some devices have no float64."""
        assert measured is not None
        return torch.tensor([float(measured), label_count(target)], dtype=torch.float64)

    def add(self, state: Tensor | None, pair: Pair | None) -> None:
        """Store the two numbers as Python numbers: a small tensor would fragment the memory that large ones free."""
        assert state is not None
        self.batches.append(state.tolist())

    def value(self, gathered: Pair | None) -> Tensor:
        """Return the mean."""
        losses, labels = torch.tensor(self.batches, dtype=torch.float64).unbind(1)
        return (losses * (labels / labels.sum())).sum()
