"""What a worker does with a trial, in whatever process an engine has started for it."""

import sys
import warnings
from pathlib import Path

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.problems import explained
from hardfirst.studies.executors.base import Assignment, Status
from hardfirst.studies.store import Store
from hardfirst.training import MeasureWarning, Trial, fit


def run_assignment(assignment: Assignment, threads: int = 1) -> Status:
    """Claim a trial, run it, and put its record into the study's folder, which this process shares."""
    import torch

    torch.set_num_threads(threads)
    store, key = Store(assignment.folder), assignment.key
    with store.claim(key) as mine:
        if not mine:
            return "busy"
        if not store.ended(key):
            try:
                run_trial(assignment.trial, store.part_file(key), assignment.command, assignment.accelerator)
                store.part_file(key).replace(store.record_file(key))
            except (OSError, InputError) as error:
                print(f"hardfirst: {error}", file=sys.stderr)
                return "unwritable"
    return "recorded"


def run_trial(trial: Trial, part: Path, command: str | None, accelerator: str) -> None:
    """Run a trial in this process; its record says how it ended."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MeasureWarning)  # said once, before the study, by `check_problem`
            explained(trial.problem, lambda: fit(trial, record_file=part, command=command, accelerator=accelerator))
    except Exception as error:  # an error of the problem's own code fails this trial and not the study
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        record_failure(trial, part, reason, command)


def record_failure(trial: Trial, part: Path, reason: str, command: str | None = None) -> None:
    """Write the record of a trial that has failed."""
    problem = trial.load()
    writer = records.Writer(part)
    writer.trial(trial.describe(problem), problem.measured, command, auxiliary=problem.auxiliary)
    writer.end("failed", reason=reason, seconds=0.0)
