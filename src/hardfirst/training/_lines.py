"""The lines of a run's record: the settings, and an epoch's figures by task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from hardfirst import records
from hardfirst.networks import parameters
from hardfirst.problems import Problem
from hardfirst.training._devices import device_name
from hardfirst.training._evaluate import TaskResult
from hardfirst.training._trial import Trial

if TYPE_CHECKING:
    from lightning.fabric import Fabric

EpochLines = dict[str, dict[str, Any]]
"""By task, the names of its figures with their values."""


class Watcher(Protocol):
    """Receives the progress of a run."""

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Called after each training step; all three count from 1."""

    def epoch(self, epoch: int, tasks: EpochLines) -> None:
        """Called after each epoch with its figures by task, as in the record."""


def write_settings(
    writer: records.Writer, trial: Trial, problem: Problem, fabric: "Fabric", network: nn.Module, **made_with: Any
) -> None:
    """Write the first line of a run's record.

    Args:
        writer: of the record.
        trial: the run's settings.
        problem: as the trial trains it.
        fabric: the Fabric of the run.
        network: one of the run's shape.
        made_with: further arguments of `Writer.trial`.
    """
    writer.trial(
        trial.describe(problem),
        problem.measured,
        device=device_name(fabric.device),
        parameters=parameters(network),
        loss_shares={task.name: task.loss_shares for task in problem.tasks if task.loss_shares},
        measures=problem.published.measures if problem.published else None,
        kpis=problem.kpi_names,
        auxiliary=problem.auxiliary,
        **made_with,
    )


def validation_kpis(problem: Problem, results: Mapping[str, TaskResult]) -> dict[str, float]:
    """Return the KPIs of the tasks whose KPI, which the balancer gets, is that of the validation split."""
    tasks = [task.name for task in problem.tasks if task.kpi is not None and task.kpi_from == "validation"]
    return {task: results[task]["kpi"] for task in tasks}


def epoch_lines(problem: Problem, steps: Mapping[str, Mapping[str, Any]], results: Mapping[str, TaskResult]) -> EpochLines:
    """Join an epoch's figures.

    Args:
        problem: the problem.
        steps: by task, the means over the epoch's steps.
        results: by task, those of the validation.
    """
    lines: EpochLines = {
        name: {**steps[name], **{f"validation_{figure}": value for figure, value in result.items()}}
        for name, result in results.items()
    }
    for task, kpi in validation_kpis(problem, results).items():
        lines[task]["kpi"] = kpi
    for task in problem.auxiliary:
        del lines[task]["kpi"]
    return lines
