"""What is left to run in a study: trials that run alone, and blocks of trials that are trained together."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hardfirst.studies.store import Store
from hardfirst.studies.trials import Block, StudyTrial


@dataclass
class Attempt:
    """A try at a trial, or at several together.

    Args:
        trials: what is tried.
        epochs: how far it is.
        number: counts from 1.
        claim: holds the trials' locks, if this process has them rather than the worker.
    """

    trials: Sequence[StudyTrial]
    epochs: "EpochCounter"
    number: int = 1
    claim: ExitStack = field(default_factory=ExitStack)


class EpochCounter:
    """Counts the epochs in a record that is being written; each line is read once.

    A worker that starts a trial again replaces what an earlier one has left, which is then counted from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.offset, self.count = path, 0, 0
        self._inode: int | None = None

    def update(self) -> int:
        with suppress(OSError), self.path.open("rb") as file:  # not begun, or ended just now: the count stays
            if (inode := os.fstat(file.fileno()).st_ino) != self._inode:
                self._inode, self.offset, self.count = inode, 0, 0
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written
                self.offset += len(line)
                self.count += line.startswith(b'{"kind": "epoch"')
        return self.count


class Queue:
    """The trials of a study that have not begun.

    A block waits until all its trials are known, or until nothing else runs that could make another known. Its trials then
    start together, those with a record included: what a network computes may depend, in the last bit, on which others it is
    stacked with. A block that is too large is divided.

    Args:
        store: which trials have ended.
        together: the greatest number of trials that are trained together with one like this.
    """

    def __init__(self, store: Store, together: Callable[[StudyTrial], int]) -> None:
        self.store, self.together = store, together
        self.waiting: list[Attempt] = []
        self._seen: set[str] = set()
        self._blocks: dict[Block, list[StudyTrial]] = {}

    def __bool__(self) -> bool:
        return bool(self.waiting) or any(map(self._unfinished, self._blocks.values()))

    def __iter__(self) -> Iterator[StudyTrial]:
        """All trials that are known."""
        for attempt in self.waiting:
            yield from attempt.trials
        for trials in self._blocks.values():
            yield from trials

    def add(self, wanted: Mapping[str, StudyTrial]) -> None:
        """Queue the trials that are wanted now and were not before."""
        for key, trial in wanted.items():
            if key in self._seen:
                continue
            self._seen.add(key)
            if trial.block is None:
                self._put([trial])
                continue
            trials = self._blocks.setdefault(trial.block, [])
            trials.append(trial)
            if len(trials) >= trial.block.size:
                self._put_block(self._blocks.pop(trial.block))

    def release(self) -> None:
        """Queue the blocks that have no more trials to wait for."""
        for trials in self._blocks.values():
            self._put_block(trials)
        self._blocks.clear()

    def next(self) -> Attempt | None:
        """Take the first attempt whose trials no other process has, with their claims."""
        for position, attempt in enumerate(self.waiting):
            if all(attempt.claim.enter_context(self.store.claim(trial.key)) for trial in attempt.trials):
                return self.waiting.pop(position)
            attempt.claim.close()
        return None

    def attempt(self, trials: Sequence[StudyTrial], number: int = 1) -> Attempt:
        unfinished = next((trial for trial in trials if not self.store.ended(trial.key)), trials[0])
        return Attempt(trials, EpochCounter(self.store.part_file(unfinished.key)), number)

    def _put_block(self, trials: Sequence[StudyTrial]) -> None:
        if not self._unfinished(trials):
            return
        count = math.ceil(len(trials) / self.together(trials[0])) if len(trials) > 1 else 1
        trials = sorted(trials, key=lambda each: (str(each.trial.balancer), each.trial.only or "", each.trial.seed))
        for part in range(count):
            self._put(self._without_earlier(trials[part * len(trials) // count : (part + 1) * len(trials) // count]))

    def _without_earlier(self, trials: Sequence[StudyTrial]) -> Sequence[StudyTrial]:
        """The trials without those that have a record from another block, as of a study that had fewer seeds."""
        records = {trial.key: self.store.find(trial.key) for trial in trials}
        return [
            trial
            for trial in trials
            if (record := records[trial.key]) is None or record.made_with.get("vectorized", 1) == len(trials)
        ]

    def _put(self, trials: Sequence[StudyTrial]) -> None:
        if self._unfinished(trials):
            self.waiting.append(self.attempt(trials))

    def _unfinished(self, trials: Sequence[StudyTrial]) -> bool:
        return not all(self.store.ended(trial.key) for trial in trials)
