"""The loop that runs the trials of a study on any engine."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.studies.executors.base import Assignment, Ended, Executor
from hardfirst.studies.executors.files import files_of
from hardfirst.studies.executors.worker import record_failure
from hardfirst.studies.store import Store
from hardfirst.studies.trials import StudyTrial
from hardfirst.training import NO_GUARD, Trial, same_data

What = Literal["started", "running", "finished", "diverged", "failed", "retried", "busy"]


@dataclass(frozen=True)
class Event:
    """A change in a trial's state.

    Args:
        trial: the trial.
        what: the new state.
        key: the name of the trial's record.
        reason: why the trial did not finish, where it did not.
        epoch: of a running trial, how many epochs have ended.
    """

    trial: Trial
    what: What
    key: str
    reason: str | None = None
    epoch: int = 0


@dataclass
class _Attempt:
    """A try at a trial.

    Args:
        trial: what is tried.
        number: counts from 1.
        epochs: how far the trial is.
        claim: holds the trial's lock, if this process has it rather than the worker.
    """

    trial: StudyTrial
    epochs: "_EpochCounter"
    number: int = 1
    claim: ExitStack = field(default_factory=ExitStack)


class _EpochCounter:
    """Counts the epochs in a record that is being written; each line is read once."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.count = path, 0, 0

    def update(self) -> int:
        with suppress(OSError), self.path.open("rb") as file:  # not begun, or ended just now: the count stays
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                self.offset += len(line)
                self.count += json.loads(line)["kind"] == "epoch"
        return self.count


class Drive:
    """Runs the trials of a study that have not ended.

    A worker that dies costs its trial a retry and does not affect the others. An error in the problem's own code fails the
    trial at once, since it would happen again. On Ctrl-C running trials are stopped and records of ended ones stay. Two
    processes with the same folder share the work: no trial runs twice.

    Args:
        executor: where trials run.
        store: where records go.
        workers: the number of trials at a time; None for the executor's room.
        command: what the user typed, for the records.
        accelerator: as in Lightning Fabric.
        tell: called with each event.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        *,
        workers: int | None = None,
        command: str | None = None,
        accelerator: str = "cpu",
        tell: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.executor, self.store, self.workers = executor, store, workers
        self.command, self.accelerator, self._tell = command, accelerator, tell
        self._waiting: list[_Attempt] = []
        self._running: dict[str, _Attempt] = {}
        self._seen: set[str] = set()
        self._data: dict[str, Any] = {}
        """By problem, the fingerprint of its data in the first record that has one."""

    def run(self, wanted: Callable[[], Mapping[str, StudyTrial]]) -> None:
        """Run trials until none is left to run.

        Args:
            wanted: returns the trials by key. It is asked again whenever a trial has ended, since others may depend on the
                outcome.

        Raises:
            InputError: a record cannot be written.
        """
        self._add(wanted())
        if not self._waiting:
            return
        self.executor.open(self.store.folder.absolute(), [attempt.trial.trial for attempt in self._waiting])
        with ExitStack() as stack:  # left from below: trials are stopped before what they leave is removed
            stack.callback(self._clear)
            stack.callback(self.executor.close)
            room = self.executor.room  # even with `workers` given: a cluster without room for one trial raises here
            limit = self.workers or room
            while self._waiting or self._running:
                while len(self._running) < limit and (attempt := self._next()) is not None:
                    if not self._start(attempt):
                        self._add(wanted())
                for ended in self.executor.ended(self.executor.pulse):
                    self._settle(ended)
                    self._add(wanted())
                for attempt in self._running.values():
                    self._report(attempt.trial, "running", epoch=attempt.epochs.update())

    def _add(self, wanted: Mapping[str, StudyTrial]) -> None:
        """Queue the trials that are wanted now, were not before, and have not ended."""
        for key, trial in wanted.items():
            if key not in self._seen:
                self._seen.add(key)
                if not self.store.ended(key):
                    self._waiting.append(self._attempt(trial))

    def _attempt(self, trial: StudyTrial, number: int = 1) -> _Attempt:
        return _Attempt(trial, _EpochCounter(self.store.part_file(trial.key)), number)

    def _next(self) -> _Attempt | None:
        """Take the first waiting trial that no other process has, with its claim."""
        for position, attempt in enumerate(self._waiting):
            if attempt.claim.enter_context(self.store.claim(attempt.trial.key)):
                return self._waiting.pop(position)
            attempt.claim.close()
        return None

    def _start(self, attempt: _Attempt) -> bool:
        """Start a trial; False if it has ended by now, in another process with the same folder."""
        trial = attempt.trial
        if self.store.ended(trial.key):
            attempt.claim.close()
            self._report(trial, "finished")
            return False
        if self.executor.shares_folder:
            # The worker claims the trial instead: its lock ends with its own process, so that a trial that outlives this
            # process, as a cluster's job does, is not started a second time.
            attempt.claim.close()
        assignment = Assignment(trial.key, trial.trial, self.store.folder.absolute(), self.command, self.accelerator)
        self._running[trial.key] = attempt
        self.executor.start(assignment)
        self._report(trial, "started")
        return True

    def _settle(self, ended: Ended) -> None:
        """Take up what became of a trial."""
        attempt = self._running.pop(ended.key)
        trial = attempt.trial
        if ended.status == "recorded" and ended.record is None and not self.store.record_file(ended.key).exists():
            ended = Ended(ended.key, "died", "it ended without a record")  # the problem's code may end the process
        with attempt.claim:
            if ended.status == "busy":
                self._waiting.append(self._attempt(trial, attempt.number))
                self._report(trial, "busy")
            elif ended.status == "unwritable":
                raise InputError(
                    f"The study in {self.store.folder} has stopped, since a record could not be written, as said above. The "
                    "records of runs that have ended are kept; the same command resumes the study."
                )
            elif ended.status == "changed":
                raise InputError(
                    f"The study in {self.store.folder} has stopped, since its files have changed while it ran: "
                    f"{' or '.join(map(str, files_of(trial.trial)))}, or a module that is imported there. Its runs would be "
                    "of different programs. The same command begins a study of the files as they are now; the records of "
                    "runs that have ended are kept for those that they are of."
                )
            elif ended.status == "unguarded":
                raise InputError(NO_GUARD)
            elif ended.status == "recorded":
                if ended.record is not None:
                    records.write_atomically(self.store.record_file(ended.key), ended.record)
                self._report_outcome(trial)
            elif ended.again and attempt.number < self.executor.attempts:
                # First in the queue: other trials may wait for this one.
                self._waiting.insert(0, self._attempt(trial, attempt.number + 1))
                self._report(trial, "retried", ended.reason)
            else:
                self._fail(trial, f"{ended.reason}, {attempt.number} times" if attempt.number > 1 else ended.reason)

    def _fail(self, trial: StudyTrial, reason: str) -> None:
        part = self.store.part_file(trial.key)
        record_failure(trial.trial, trial.trial.of(trial.problem), part, reason, self.command)
        part.replace(self.store.record_file(trial.key))
        self._report(trial, "failed", reason)

    def _report_outcome(self, trial: StudyTrial) -> None:
        record = records.read(self.store.record_file(trial.key))
        self._check_data(trial, record.made_with.get("data"))
        what: What = "diverged" if record.outcome == "diverged" else "failed" if record.outcome == "failed" else "finished"
        self._report(trial, what, record.reason)

    def _check_data(self, trial: StudyTrial, data: Any) -> None:
        """Raise `InputError` if a run had other data than the first one of the problem."""
        if data is not None and not same_data(data, self._data.setdefault(trial.trial.problem, data)):
            raise InputError(
                f"The study in {self.store.folder} has stopped, since `data()` in {trial.trial.problem} has returned other "
                "data in one run than in another: runs on different data cannot be compared. Give each random generator in "
                "it a fixed seed. If a file that it reads has changed meanwhile, the same command runs the study on the "
                "data as it is now."
            )

    def _report(self, trial: StudyTrial, what: What, reason: str | None = None, epoch: int = 0) -> None:
        self._tell(Event(trial.trial, what, trial.key, reason, epoch))

    def _clear(self) -> None:
        """Remove what stopped trials leave; called when the executor has stopped them."""
        for attempt in self._running.values():
            attempt.claim.close()
            with suppress(OSError):
                self.store.part_file(attempt.trial.key).unlink(missing_ok=True)
