"""How hard each task is, where a network takes the order of its tasks from that."""

from dataclasses import replace

from hardfirst.errors import InputError
from hardfirst.problems import OWN, Problem
from hardfirst.records import Record
from hardfirst.studies.plan import EQUAL
from hardfirst.studies.tuning import SEED
from hardfirst.training import Trial


def difficulty_trial(trial: Trial, problem: Problem) -> Trial | None:
    """The run that says how hard each task is, if the trial's network takes its order from that.

    It trains the problem's own network with equal weights, on the seed that is for tuning, and never sees the test split.
    """
    spec = problem.network_spec(trial.network)
    if spec is None or not spec.measured:
        return None
    return replace(trial, network=OWN, balancer=EQUAL, seed=SEED, test=False)


def with_measured_order(trial: Trial, problem: Problem, measured: Record) -> Trial:
    """The trial with its order of tasks spelled out.

    Args:
        trial: one that has a `difficulty_trial` run.
        problem: the trial's.
        measured: that run's record.

    Raises:
        InputError: it has no KPI of some task.
    """
    spec = problem.network_spec(trial.network)
    assert spec is not None
    kpis = {task: measured.validation_kpi(task) for task in problem.task_names}
    try:
        return replace(trial, network=str(spec.ordered(kpis)))
    except InputError as error:
        raise InputError(
            f"The order of tasks of {trial.network} cannot be told, since its run has no KPIs: {error}"
        ) from None


def with_default_order(trial: Trial, problem: Problem) -> Trial:
    """The trial with the problem's order of tasks where its own is not known yet: for checks, and for what a step costs."""
    spec = problem.network_spec(trial.network)
    return trial if spec is None or not spec.measured else replace(trial, network=str(spec.replace({"order": None})))
