"""Running trials in parallel local processes, so that what befalls one leaves the others alone."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from hardfirst import records
from hardfirst.balancers import GradientBalancer
from hardfirst.errors import InputError
from hardfirst.problems import explained
from hardfirst.studies.store import Store
from hardfirst.training import Trial, exit_with_parent, fit, process_context

# What a forkserver loads once and its children then have: without it each trial waits seconds for its imports.
PRELOAD = ["torch", "lightning.fabric", "sklearn.datasets", "hardfirst.studies.executors.local", "hardfirst.cli"]
SOLVERS = ["torchjd.aggregation"]  # of gradient balancers; two seconds more, so only where a trial has one
ATTEMPTS = 2
# a worker's exit codes, those of sysexits.h: an "input/output error", its record cannot be written; a "temporary failure",
# another process has the trial
UNWRITABLE, BUSY = 74, 75

PULSE = 0.5  # seconds between looks at how far the running trials are

What = Literal["started", "running", "finished", "diverged", "failed", "retried", "busy"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a trial; `reason` says why where it did not go well, `epoch` how far a running one is."""

    trial: Trial
    what: What
    reason: str | None = None
    epoch: int = 0


@dataclass
class _Attempt:
    key: str
    trial: Trial
    number: int
    process: BaseProcess


def run_locally(
    wanted: Callable[[], Mapping[str, Trial]],
    store: Store,
    *,
    workers: int | None = None,
    command: str | None = None,
    accelerator: str = "cpu",
    tell: Callable[[Event], None] = lambda event: None,
) -> None:
    """Run the trials that have not ended, each in a process of its own with one torch thread, until no more are wanted.

    A worker that is killed costs its trial one retry and nothing else. An error in the problem's own code fails the trial
    at once, since it would happen again. On Ctrl-C the workers are stopped, and what has ended stays. Two processes with the
    same folder share the work: no trial runs twice.

    Args:
        wanted: the trials by key. Asked again whenever one has ended, since others may depend on its outcome.
        store: where the records go.
        workers: how many at a time; None for one per core.
        command: what the user typed, for the records.
        accelerator: as in Lightning Fabric.
        tell: called with each event.
    """
    queue = Queue(wanted, store)
    queue.ask()
    waiting, running = queue.waiting, list[_Attempt]()
    gradient = any(issubclass(trial.balancer.method, GradientBalancer) for _, trial, _ in waiting)
    processes = process_context([*PRELOAD, *SOLVERS] if gradient else PRELOAD)
    try:
        while waiting or running:
            while len(running) < (workers or cores()) and (place := _next(waiting, store)) is not None:
                key, trial, number = waiting.pop(place)
                if store.ended(key):  # by another process with the same folder
                    tell(Event(trial, "finished"))
                    queue.ask()
                    continue
                process = processes.Process(target=_work, args=(trial, key, store.folder, command, accelerator))
                process.start()
                running.append(_Attempt(key, trial, number, process))
                tell(Event(trial, "started"))
            wait([attempt.process.sentinel for attempt in running], timeout=PULSE)
            for attempt in running:
                tell(Event(attempt.trial, "running", epoch=_epochs_done(store.part_file(attempt.key))))
            for attempt in [attempt for attempt in running if not attempt.process.is_alive()]:
                running.remove(attempt)
                event = _outcome(attempt, store)
                if event.what == "busy":
                    waiting.append((attempt.key, attempt.trial, attempt.number))
                if event.what == "retried":
                    waiting.insert(0, (attempt.key, attempt.trial, attempt.number + 1))
                tell(event)
                queue.ask()
    finally:
        for attempt in running:
            attempt.process.kill()
            attempt.process.join()
            with suppress(OSError):
                store.part_file(attempt.key).unlink(missing_ok=True)


class Queue:
    """The trials that wait for their turn, each with the number of the attempt that is due."""

    def __init__(self, wanted: Callable[[], Mapping[str, Trial]], store: Store) -> None:
        self.wanted, self.store = wanted, store
        self.waiting: list[tuple[str, Trial, int]] = []
        self.seen: set[str] = set()

    def ask(self) -> None:
        """Add what has come to be wanted and has not ended."""
        for key, trial in self.wanted().items():
            if key not in self.seen:
                self.seen.add(key)
                if not self.store.ended(key):
                    self.waiting.append((key, trial, 1))


def run_alone(work: Callable[[], None]) -> None:
    """Run a function in a process of its own with one torch thread, and wait for it; what it raises is printed there."""
    process = process_context(PRELOAD).Process(target=_alone, args=(work,), name="alone")
    process.start()
    try:
        process.join()
    finally:
        process.kill()


def _alone(work: Callable[[], None]) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    try:
        work()
    except Exception as error:  # nothing that a study needs, and so no end of it
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        print(f"hardfirst: what a step costs could not be measured: {said}", file=sys.stderr)


def _next(waiting: Sequence[tuple[str, Trial, int]], store: Store) -> int | None:
    """The place of the first trial that no other process is at."""
    for place, (key, _, _) in enumerate(waiting):
        with store.claim(key) as free:
            if free:
                return place
    return None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _epochs_done(part: Path) -> int:
    try:
        return part.read_bytes().count(b'"kind": "epoch"')
    except OSError:  # not begun, or ended just now, or on a disk that has gone
        return 0


def _outcome(attempt: _Attempt, store: Store) -> Event:
    attempt.process.join()
    path, code = store.record_file(attempt.key), attempt.process.exitcode
    if code == BUSY:
        return Event(attempt.trial, "busy")
    if code == 0 and path.exists():
        return happened(attempt.trial, path)
    if code == UNWRITABLE:
        raise InputError(
            f"The study in {store.folder} has stopped, since a record could not be written, as said above. The records of "
            "runs that have ended are kept; the same command goes on from there."
        )
    reason = f"its process was killed by {signal.Signals(-code).name}" if code and code < 0 else f"it ended with code {code}"
    if attempt.number < ATTEMPTS:
        return Event(attempt.trial, "retried", reason)
    reason = f"{reason}, {ATTEMPTS} times"
    record_failure(attempt.trial, store.part_file(attempt.key), reason)
    store.part_file(attempt.key).replace(path)
    return Event(attempt.trial, "failed", reason)


def _work(trial: Trial, key: str, folder: Path, command: str | None, accelerator: str) -> None:
    """What a worker process does."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    store = Store(folder)
    with store.claim(key) as mine:
        if not mine:
            sys.exit(BUSY)
        if not store.ended(key):
            try:
                run_trial(trial, store.part_file(key), command, accelerator)
                store.part_file(key).replace(store.record_file(key))
            except (OSError, InputError) as error:
                print(f"hardfirst: {error}", file=sys.stderr)
                sys.exit(UNWRITABLE)


def happened(trial: Trial, path: Path) -> Event:
    """How a trial with this record has ended."""
    found = records.read(path)
    what: What = "diverged" if found.outcome == "diverged" else "failed" if found.outcome == "failed" else "finished"
    return Event(trial, what, found.reason)


def run_trial(trial: Trial, part: Path, command: str | None, accelerator: str) -> None:
    """Run a trial in this process; its record says how it ended."""
    try:
        explained(trial.problem, lambda: fit(trial, record_file=part, command=command, accelerator=accelerator))
    except Exception as error:  # whatever a problem's own code may raise is that trial's outcome, not the study's end
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        record_failure(trial, part, reason, command)


def record_failure(trial: Trial, part: Path, reason: str, command: str | None = None) -> None:
    """Write the record of a trial that has failed."""
    problem = trial.load()
    writer = records.Writer(part)
    writer.trial(trial.describe(problem), problem.task_names, command)
    writer.end("failed", reason=reason, seconds=0.0)
