"""What a worker does with a trial, in whatever process an engine has started for it."""

import sys
import warnings
from pathlib import Path

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.problems import Problem, explained
from hardfirst.studies.executors.base import Assignment, Status
from hardfirst.studies.store import Store
from hardfirst.training import MeasureWarning, Trial, fit, trial_key


def run_assignment(assignment: Assignment, threads: int = 1) -> Status:
    """Claim a trial, run it, and put its record into the study's folder, which this process shares."""
    import torch

    torch.set_num_threads(threads)
    store, key = Store(assignment.folder), assignment.key
    with store.claim(key) as mine:
        if not mine:
            return "busy"
        if store.ended(key):
            return "recorded"
        try:
            status = run_trial(assignment, assignment.trial, store.part_file(key))
            if status == "recorded":
                store.part_file(key).replace(store.record_file(key))
            else:
                store.part_file(key).unlink(missing_ok=True)
        except (OSError, InputError) as error:
            print(f"hardfirst: {error}", file=sys.stderr)
            return "unwritable"
    return status


def run_trial(assignment: Assignment, trial: Trial, part: Path) -> Status:
    """Run a trial in this process; its record says how it ended.

    Args:
        assignment: says which trial is expected.
        trial: the assignment's, whose files may lie elsewhere on this machine.
        part: where the record goes.

    Returns:
        "recorded", or "changed" if a file of the user's is not what it was when the study planned the trial.
    """
    try:
        problem = trial.load()
    except InputError as error:  # the study itself could load it
        print(f"hardfirst: {error}", file=sys.stderr)
        return "changed"
    if trial.key(problem) != assignment.key:
        return "changed"
    command = assignment.command
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MeasureWarning)  # said once, before the study, by `check_problem`
            explained(
                trial.problem, lambda: fit(trial, record_file=part, command=command, accelerator=assignment.accelerator)
            )
    except Exception as error:  # an error of the problem's own code fails this trial and not the study
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        record_failure(trial, problem, part, reason, command)
    # `fit` loads the files once more, and its record says which it has loaded
    return "recorded" if trial_key(records.read(part).trial) == assignment.key else "changed"


def record_failure(trial: Trial, problem: Problem, part: Path, reason: str, command: str | None = None) -> None:
    """Write the record of a trial that has failed.

    Args:
        trial: the trial.
        problem: the trial's, as it trains it.
        part: where the record goes.
        reason: why it has failed.
        command: what the user typed.
    """
    writer = records.Writer(part)
    writer.trial(trial.describe(problem), problem.measured, command, auxiliary=problem.auxiliary)
    writer.end("failed", reason=reason, seconds=0.0)
