"""An epoch's figures by task, as the record holds them."""

from collections.abc import Mapping
from typing import Any

from hardfirst.problems import Problem
from hardfirst.training._evaluate import TaskResult

EpochLines = dict[str, dict[str, Any]]
"""By task, the names of its figures with their values."""


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
