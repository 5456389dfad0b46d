"""Measured difficulty of tasks, for networks that take the order of their tasks from it."""

from dataclasses import replace

from hardfirst.errors import InputError
from hardfirst.problems import OWN, Problem
from hardfirst.records import Record
from hardfirst.studies.tuning import EQUAL, SEED
from hardfirst.training import Trial


def difficulty_trial(trial: Trial, problem: Problem) -> Trial | None:
    """The trial that measures how hard each task is; None if the network of `trial` does not take its order from that.

    It trains the problem's own network with equal weights on the tuning seed, and never reads the test split.
    """
    spec = problem.network_spec(trial.network)
    if spec is None or not spec.measured:
        return None
    return replace(trial, network=OWN, balancer=EQUAL, seed=SEED, test=False)


def with_measured_order(trial: Trial, problem: Problem, measured: Record) -> Trial:
    """The trial with its order of tasks spelled out.

    Args:
        trial: one that has a `difficulty_trial`.
        problem: the trial's.
        measured: the record of the difficulty trial.

    Raises:
        InputError: the record lacks a task's KPI.
    """
    spec = problem.network_spec(trial.network)
    assert spec is not None
    kpis = {task: measured.validation_kpi(task, undefined=0.0) for task in problem.task_names}
    try:
        return replace(trial, network=str(spec.ordered(kpis)))
    except InputError as error:
        raise InputError(
            f"The order of tasks of {trial.network} cannot be told, since its run has no KPIs: {error}"
        ) from None


def with_default_order(trial: Trial, problem: Problem) -> Trial:
    """The trial with the problem's order of tasks in place of a measured one, for checks and estimates."""
    spec = problem.network_spec(trial.network)
    return trial if spec is None or not spec.measured else replace(trial, network=str(spec.replace({"order": None})))
