"""The loop that runs the trials of a study on any engine."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Literal

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.studies.executors._queue import Attempt, Queue
from hardfirst.studies.executors._together import MOST
from hardfirst.studies.executors.base import Assignment, Ended, Executor, Status
from hardfirst.studies.executors.files import files_of
from hardfirst.studies.executors.worker import record_failure
from hardfirst.studies.store import Store
from hardfirst.studies.trials import StudyTrial
from hardfirst.training import NO_GUARD, Trial, same_data

What = Literal["started", "running", "finished", "diverged", "failed", "retried", "busy", "singly"]


@dataclass(frozen=True)
class Event:
    """A change in a trial's state.

    Args:
        trial: the trial.
        what: the new state.
        key: the name of the trial's record.
        reason: why the trial did not finish, where it did not; of "singly", why it is not trained together with others.
        epoch: of a running trial, how many epochs have ended.
    """

    trial: Trial
    what: What
    key: str
    reason: str | None = None
    epoch: int = 0


class Drive:
    """Runs the trials of a study that have not ended.

    A worker that dies costs its trials a retry and does not affect the others. An error in the problem's own code fails the
    trial at once, since it would happen again. Trials that cannot be trained together run one by one. On Ctrl-C running
    trials are stopped and records of ended ones stay. Two processes with the same folder share the work: no trial runs
    twice.

    Args:
        executor: where trials run.
        store: where records go.
        workers: the number of trials at a time; None for the executor's room.
        command: what the user typed, for the records.
        accelerator: as in Lightning Fabric.
        tell: called with each event.
        together: the greatest number of trials that are trained together with one like this.
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
        together: Callable[[StudyTrial], int] = lambda trial: MOST,
    ) -> None:
        self.executor, self.store, self.workers = executor, store, workers
        self.command, self.accelerator, self._tell = command, accelerator, tell
        self._queue = Queue(store, together)
        self._running: dict[str, Attempt] = {}
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
        queue = self._queue
        queue.add(wanted())
        if not queue:
            return
        self.executor.open(self.store.folder.absolute(), [trial.trial for trial in queue])
        with ExitStack() as stack:  # left from below: trials are stopped before what they leave is removed
            stack.callback(self._clear)
            stack.callback(self.executor.close)
            room = self.executor.room  # even with `workers` given: a cluster without room for one trial raises here
            limit = self.workers or room
            while queue or self._running:
                if not (queue.waiting or self._running):
                    queue.release()
                while len(self._running) < limit and (attempt := queue.next()) is not None:
                    if not self._start(attempt):
                        queue.add(wanted())
                for ended in self.executor.ended(self.executor.pulse):
                    self._settle(ended)
                    queue.add(wanted())
                for attempt in self._running.values():
                    self._report(attempt.trials, "running", epoch=attempt.epochs.update())

    def _start(self, attempt: Attempt) -> bool:
        """Start an attempt; False if its trials have ended by now, in another process with the same folder."""
        trials = attempt.trials
        if all(self.store.ended(trial.key) for trial in trials):
            attempt.claim.close()
            self._report(trials, "finished")
            return False
        if self.executor.shares_folder:
            # The worker claims the trials instead: its locks end with its own process, so that a trial that outlives this
            # process, as a cluster's job does, is not started a second time.
            attempt.claim.close()
        first, *others = trials
        self._running[first.key] = attempt
        self.executor.start(
            Assignment(
                first.key,
                first.trial,
                self.store.folder.absolute(),
                self.command,
                self.accelerator,
                {trial.key: trial.trial for trial in others},
            )
        )
        self._report(trials, "started")
        return True

    def _settle(self, ended: Ended) -> None:
        """Take up what became of an attempt."""
        attempt = self._running.pop(ended.key)
        with attempt.claim:
            if ended.status == "recorded":
                for key, text in (ended.records or {}).items():
                    if not self.store.ended(key):
                        records.write_atomically(self.store.record_file(key), text)
                if not all(self.store.record_file(trial.key).exists() for trial in attempt.trials):
                    ended = Ended(ended.key, "died", "it ended without a record")  # the problem's code may end the process
            if ended.status == "recorded":
                for trial in attempt.trials:
                    self._report_outcome(trial)
            elif ended.status == "busy":
                self._queue.waiting.append(self._queue.attempt(attempt.trials, attempt.number))
                self._report(attempt.trials, "busy")
            elif ended.status == "singly":
                self._separate(attempt, ended.reason or self.store.take_refusal(ended.key))
            elif ended.status == "died":
                self._try_again(attempt, ended)
            else:
                raise InputError(self._why_stopped(ended.status, attempt.trials[0].trial))

    def _try_again(self, attempt: Attempt, ended: Ended) -> None:
        """Try once more what a worker that died had, first in the queue, since other trials may wait for it."""
        times = f"{ended.reason}, {attempt.number} times" if attempt.number > 1 else ended.reason
        if ended.again and attempt.number < self.executor.attempts:
            self._queue.waiting.insert(0, self._queue.attempt(attempt.trials, attempt.number + 1))
            self._report(attempt.trials, "retried", ended.reason)
        elif len(attempt.trials) > 1:
            self._separate(attempt, times)
        else:
            self._fail(attempt.trials[0], times)

    def _separate(self, attempt: Attempt, reason: str) -> None:
        """Queue the trials that could not be trained together: single-task runs by task, then each one by itself."""
        unfinished = [trial for trial in attempt.trials if not self.store.ended(trial.key)]
        by_task: dict[str | None, list[StudyTrial]] = {}
        for trial in unfinished:
            by_task.setdefault(trial.trial.only, []).append(trial)
        mixed = len(by_task) > 1
        parts = list(by_task.values()) if mixed else [[trial] for trial in unfinished]
        self._queue.waiting[:0] = [self._queue.attempt(part) for part in parts]
        self._report(attempt.trials, "busy") if mixed else self._report(attempt.trials, "singly", reason)

    def _why_stopped(self, status: Status, trial: Trial) -> str:
        """Why the study cannot continue, in a sentence."""
        if status == "unguarded":
            return NO_GUARD
        if status == "unwritable":
            return (
                f"The study in {self.store.folder} has stopped, since a record could not be written, as said above. The "
                "records of runs that have ended are kept; the same command resumes the study."
            )
        return (
            f"The study in {self.store.folder} has stopped, since its files have changed while it ran: "
            f"{' or '.join(map(str, files_of(trial))) or trial.problem}, or a module that is imported there. Its runs would "
            "be of different programs. The same command begins a study of the files as they are now; the records of "
            "runs that have ended are kept for those that they are of."
        )

    def _fail(self, trial: StudyTrial, reason: str) -> None:
        part = self.store.part_file(trial.key)
        record_failure(trial.trial, trial.trial.of(trial.problem), part, reason, self.command)
        part.replace(self.store.record_file(trial.key))
        self._report([trial], "failed", reason)

    def _report_outcome(self, trial: StudyTrial) -> None:
        record = records.read(self.store.record_file(trial.key))
        self._check_data(trial, record.made_with.get("data"))
        what: What = "diverged" if record.outcome == "diverged" else "failed" if record.outcome == "failed" else "finished"
        self._report([trial], what, record.reason)

    def _check_data(self, trial: StudyTrial, data: Any) -> None:
        """Raise `InputError` if a run had other data than the first one of the problem."""
        if data is not None and not same_data(data, self._data.setdefault(trial.trial.problem, data)):
            raise InputError(
                f"The study in {self.store.folder} has stopped, since `data()` in {trial.trial.problem} has returned other "
                "data in one run than in another: runs on different data cannot be compared. Give each random generator in "
                "it a fixed seed. If a file that it reads has changed meanwhile, the same command runs the study on the "
                "data as it is now."
            )

    def _report(self, trials: Sequence[StudyTrial], what: What, reason: str | None = None, epoch: int = 0) -> None:
        for trial in trials:
            self._tell(Event(trial.trial, what, trial.key, reason, epoch))

    def _clear(self) -> None:
        """Remove what stopped trials leave; called when the executor has stopped them."""
        for attempt in self._running.values():
            attempt.claim.close()
            for trial in attempt.trials:
                with suppress(OSError):
                    self.store.part_file(trial.key).unlink(missing_ok=True)
