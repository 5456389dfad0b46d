"""Measured difficulty of tasks, for networks that take the order of their tasks from it, and for criteria of hard tasks."""

from dataclasses import replace

from hardfirst.errors import InputError
from hardfirst.problems import OWN, Problem
from hardfirst.records import Record
from hardfirst.records.objective import Objective
from hardfirst.records.search_runs import measured_hard_tasks
from hardfirst.studies.tuning import EQUAL, SEED
from hardfirst.training import Trial


def difficulty_trial(trial: Trial, problem: Problem) -> Trial | None:
    """The trial that measures how hard each task is; None if neither the network nor the criterion depends on that.

    It trains the problem's own network with equal weights on the tuning seed, and never reads the test split. If the
    criterion needs the hard tasks, the epoch is the best by the mean over tasks.
    """
    needs_hard = Objective.parse(trial.criterion, problem.measured).needs_hard
    spec = problem.network_spec(trial.network)
    if not needs_hard and (spec is None or not spec.measured):
        return None
    criterion = "mean" if needs_hard else trial.criterion
    return replace(trial, network=OWN, balancer=EQUAL, seed=SEED, test=False, criterion=criterion)


def with_measured_order(trial: Trial, problem: Problem, measured: Record) -> Trial:
    """The trial with its order of tasks spelled out, if its network takes that from measured KPIs.

    Args:
        trial: one that has a `difficulty_trial`.
        problem: the trial's.
        measured: the record of the difficulty trial.

    Raises:
        InputError: the record lacks a task's KPI.
    """
    spec = problem.network_spec(trial.network)
    if spec is None or not spec.measured:
        return trial
    kpis = {task: measured.validation_kpi(task, undefined=0.0) for task in problem.task_names}
    try:
        return replace(trial, network=str(spec.ordered(kpis)))
    except InputError as error:
        raise InputError(
            f"The order of tasks of {trial.network} cannot be told, since its run has no KPIs: {error}"
        ) from None


def with_hard_tasks(trial: Trial, problem: Problem, measured: Record) -> Trial:
    """The trial with the hard tasks of its criterion spelled out, if it needs them.

    Args:
        trial: one that has a `difficulty_trial`.
        problem: the trial's.
        measured: the record of the difficulty trial.

    Raises:
        InputError: the run did not finish, or has no KPI.
    """
    objective = Objective.parse(trial.criterion, problem.measured)
    if not objective.needs_hard:
        return trial
    hard = measured_hard_tasks([measured])
    if not hard:
        raise InputError(
            f"The hard tasks of the criterion {trial.criterion!r} are unknown, since the run that measures them did not "
            "finish or has no KPI. Name tasks instead."
        )
    return replace(trial, criterion=Objective.parse(objective.with_hard(hard).text, problem.measured).text)


def with_default_order(trial: Trial, problem: Problem) -> Trial:
    """The trial with the problem's order of tasks in place of a measured one, for checks and estimates."""
    spec = problem.network_spec(trial.network)
    return trial if spec is None or not spec.measured else replace(trial, network=str(spec.replace({"order": None})))
