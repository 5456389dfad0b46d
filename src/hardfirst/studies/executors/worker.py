"""What a worker does with its trials, in whatever process an engine has started for it."""

import sys
import warnings
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.problems import Problem, explained
from hardfirst.problems.tables import read_from
from hardfirst.studies.executors.base import Assignment, Status
from hardfirst.studies.store import Store
from hardfirst.training import MeasureWarning, NotVectorizable, Trial, fit, fit_together, trial_key


def run_assignment(assignment: Assignment, threads: int = 1) -> Status:
    """Claim an assignment's trials, run them, and put their records into the study's folder, which this process shares."""
    import torch

    torch.set_num_threads(threads)
    store, trials = Store(assignment.folder), assignment.trials
    with ExitStack() as stack:
        stack.enter_context(read_from(store.tables))
        if not all(stack.enter_context(store.claim(key)) for key in trials):
            return "busy"
        unfinished = [key for key in trials if not store.ended(key)]
        if not unfinished:
            return "recorded"
        parts = {key: store.part_file(key) for key in trials}
        try:
            status, reason = run_trials(assignment, trials, parts)
            if status == "recorded":
                for key in unfinished:
                    parts[key].replace(store.record_file(key))
            elif status == "singly":
                store.refusal_file(assignment.key).write_text(reason)
        except (OSError, InputError) as error:
            print(f"hardfirst: {error}", file=sys.stderr)
            return "unwritable"
        finally:
            for part in parts.values():
                with suppress(OSError):
                    part.unlink(missing_ok=True)
    return status


def run_trials(assignment: Assignment, trials: Mapping[str, Trial], parts: Mapping[str, Path]) -> tuple[Status, str]:
    """Run an assignment's trials in this process; their records say how they ended.

    Args:
        assignment: says which trials are expected.
        trials: the assignment's by key, whose files may lie elsewhere on this machine.
        parts: by key, where the records go.

    Returns:
        The status, "recorded" or "changed" or "singly", and the reason of "singly".
    """
    problems = {}
    for key, trial in trials.items():
        try:
            problems[key] = trial.load()
        except InputError as error:  # the study itself could load it
            print(f"hardfirst: {error}", file=sys.stderr)
            return "changed", ""
        if trial.key(problems[key]) != key:
            return "changed", ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MeasureWarning)  # said once, before the study, by `check_problem`
        if len(trials) > 1:
            if reason := _run_together(assignment, trials, parts):
                return "singly", reason
        else:
            for key, trial in trials.items():
                _run_alone(assignment, trial, problems[key], parts[key], assignment.model_file(key))
    # `fit` loads the files once more, and its record says which it has loaded
    unchanged = all(trial_key(records.read(part).trial) == key for key, part in parts.items())
    return "recorded" if unchanged else "changed", ""


def _run_together(assignment: Assignment, trials: Mapping[str, Trial], parts: Mapping[str, Path]) -> str:
    """Train the trials together; returns why that cannot be, or "" if it has been done."""
    try:
        fit_together(
            list(trials.values()),
            record_files=list(parts.values()),
            models=[assignment.model_file(key) for key in trials],
            command=assignment.command,
            accelerator=assignment.accelerator,
        )
    except NotVectorizable as error:
        return str(error)
    except OSError:
        raise
    except Exception as error:  # each trial then fails or finishes by itself
        return f"together they fail: {_reason(error)}"
    return ""


def _run_alone(assignment: Assignment, trial: Trial, problem: Problem, part: Path, model: Path | None) -> None:
    command = assignment.command
    job = partial(fit, trial, record_file=part, model=model, command=command, accelerator=assignment.accelerator)
    try:
        explained(trial.problem, job)
    except Exception as error:  # an error of the problem's own code fails this trial and not the study
        record_failure(trial, problem, part, _reason(error), command)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


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
