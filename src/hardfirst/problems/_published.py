"""The protocol by which a problem's published figures were measured."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hardfirst.errors import InputError, check_names, number, whole
from hardfirst.kpi import streams
from hardfirst.problems._task import Measure, Metric
from hardfirst.records.measures import KPI, Measures, PublishedMeasure

__all__ = ["KPI", "Published", "PublishedMeasure", "batch_mean"]

if TYPE_CHECKING:
    from hardfirst.problems._base import Problem, Splits


@dataclass(frozen=True)
class Published:
    """How the published figures of a problem were measured: its splits, its epoch, and how metrics are averaged.

    `--protocol published` trains and measures this way. The problem's own recipe, epochs, batch size and learning rate are
    the published ones.

    Args:
        data: returns the published splits. If `last` is a number nothing is held out: validation and test are both the
            published evaluation split.
        measures: for each task the measures over which Δm averages; tasks may be left out.
        last: the number of last epochs over which test figures are averaged, or all if there are fewer. None if the
            published protocol holds out a validation split and selects the epoch there, as every study does by default.
        metrics: for each task the metrics that the published code averages differently from the task, by name. They replace
            those of the task; see `batch_mean`.
        evaluation_batch: the number of examples in a batch of an evaluation, which `batch_mean` depends on; None if nothing
            does.

    Raises:
        InputError: an argument has the wrong type or is out of range.

    Example:
        Depth and its error, with one evaluation split for both validation and test::

            def data():
                evaluation = frames("val")
                return Splits(frames("train"), evaluation, evaluation)

            published = Published(data, {"depth": (PublishedMeasure("absolute error", higher_is_better=False),)})
    """

    data: "Callable[[], Splits]"
    measures: Measures = field(default_factory=dict)
    last: int | None = 10
    metrics: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)
    evaluation_batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("last", "evaluation_batch"):
            if (value := getattr(self, name)) is not None:
                whole(name, value, least=1)
        for task, measures in self.measures.items():
            for measure in measures:
                if not isinstance(measure, PublishedMeasure):
                    raise InputError(
                        f"Expected the published measures of task {task!r} to be PublishedMeasure objects; got "
                        f"{measure!r:.80}."
                    )
                if measure.single_task is not None and number("single_task", measure.single_task) == 0:
                    raise InputError(f"Expected the published single-task value of {measure.name!r} to be other than 0.")

    def check(self, problem: "Problem") -> None:
        """Raise `InputError` unless the tasks of the problem have all these measures."""
        metrics = {task.name: task.metrics for task in problem.tasks}
        for what, named in (("measures", self.measures), ("metrics", self.metrics)):
            check_names(f"task in the published {what} of problem {problem.name!r}:", named, metrics)
        for task, measures in self.measures.items():
            names = [measure.name for measure in measures]
            check_names(f"published measure of task {task!r}:", names, [*metrics[task], *self.metrics.get(task, ()), KPI])

    def of_tasks(self, names: Iterable[str]) -> "Published":
        """Return the protocol for a problem with only these of the tasks."""
        kept = set(names)
        measures = {task: value for task, value in self.measures.items() if task in kept}
        return replace(
            self, measures=measures, metrics={task: value for task, value in self.metrics.items() if task in kept}
        )

    def applied(self, problem: "Problem") -> "Problem":
        """Return the problem with the published splits and metrics."""
        tasks = (replace(task, metrics={**task.metrics, **self.metrics.get(task.name, {})}) for task in problem.tasks)
        return replace(problem, data=self.data, tasks=tuple(tasks))


def batch_mean(measure: Measure) -> Measure:
    """Average a measure over batches, as much published code does, instead of over all labels of a split.

    Args:
        measure: (output, target) → a 0-d tensor; batches where it is NaN are left out.

    Returns:
        The measure, which accumulates. Its value depends on the size of the batches: see `Published.evaluation_batch`.

    Example:
        >>> from hardfirst.kpi import streaming
        >>> form = streaming(batch_mean(torch.nn.functional.l1_loss))
        >>> batches = [torch.tensor([1.0]), torch.tensor([4.0, 4.0, 4.0])]
        >>> form.finish(sum(form.state_of(batch, torch.zeros_like(batch)) for batch in batches))
        tensor(2.5000)
    """

    @streams(lambda sums: sums[0] / sums[1])
    def mean(output: Tensor, target: Tensor) -> Tensor:
        value = measure(output, target)
        return torch.stack([value.nan_to_num(0.0), (~value.isnan()).to(value.dtype)])

    return mean
