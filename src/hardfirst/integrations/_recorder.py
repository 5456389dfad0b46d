"""Run records from third-party training loops, in the format that `hardfirst report` reads."""

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hardfirst.errors import InputError, writing
from hardfirst.networks import parameters
from hardfirst.records import Writer, record_key, score
from hardfirst.trackers import Guarded, Line

TaskFigures = Mapping[str, float]


class RunRecorder:
    """Writes the record of one run into a folder, under a name derived from the run's settings.

    Runs of several methods and seeds in one folder form a comparison: `hardfirst report FOLDER`.

    Args:
        folder: where records are written, as `FOLDER/trials/KEY.jsonl`.
        settings: what identifies the run: at least "problem", "balancer" and "seed". A run with the same settings replaces
            the earlier one. "criterion" is the objective that the best epoch is chosen by; default: "mean".
        also: functions, such as the trackers in `hardfirst.trackers`, that are called with each line of the record, a dict
            with "kind" and the fields of `hardfirst.records`. The first error of each gives a warning; training continues.

    Raises:
        InputError: a setting is missing, or the folder cannot be written to.

    Example:
        >>> recorder = RunRecorder("runs/mine", {"problem": "digits", "balancer": "dtp", "seed": 0})
        >>> recorder.path.parent.as_posix()
        'runs/mine/trials'
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Any], *, also: Iterable[Callable[[Line], object]] = ()
    ) -> None:
        for name in ("problem", "balancer", "seed"):
            if name not in settings:
                raise InputError(f"Expected settings with problem, balancer and seed; {name!r} is missing.")
        self.settings, self._also = dict(settings), [Guarded(function) for function in also]
        self.criterion = self.settings.get("criterion", "mean")
        key = record_key(self.settings)
        self.path = Path(folder) / "trials" / f"{key}.jsonl"
        # Reports read finished runs only: the file gets its final name in `end`.
        self._part = self.path.with_name(f".{key}.part")
        self._began = time.monotonic()
        self._best: tuple[int, float] = (0, -math.inf)
        self.epochs = 0
        self.writer: Writer | None = None

    def begin(self, tasks: tuple[str, ...], network: nn.Module, *, epochs: int = 0) -> None:
        """Write the first line, or continue the record of a resumed run after its first `epochs` epochs.

        Raises:
            InputError: the criterion is no objective over these tasks.
        """
        score({task: {} for task in tasks}, self.criterion)  # before training, not after an epoch
        self.writer = Writer(self._part, keep_epochs=epochs or None, also=self._also)
        self.epochs = epochs
        if self.writer.empty:
            devices = int(os.environ.get("WORLD_SIZE", "1"))
            self.writer.trial(self.settings, tasks, devices=devices, parameters=parameters(network))

    def epoch(
        self, *, seconds: float, learning_rate: float, tasks: Mapping[str, TaskFigures], restarted: int | None = None
    ) -> None:
        """Write the line of one epoch, with the step of a restart in it; no epoch before a restart can be the best."""
        if self.writer is None:
            return
        self.epochs += 1
        self.writer.epoch(self.epochs, seconds=seconds, learning_rate=learning_rate, tasks=tasks, restarted=restarted)
        if restarted is not None:
            self._best = 0, -math.inf
        validation_score = score(tasks, self.criterion, "validation_")
        if validation_score > self._best[1]:
            self._best = self.epochs, validation_score

    def test(self, tasks: Mapping[str, TaskFigures], *, best: bool) -> None:
        """Write the line of the test split, before or after `end`.

        Args:
            tasks: by task, its figures on the test split.
            best: whether the tested weights are those of the best epoch by validation, or those of the last epoch.
        """
        if self.writer is not None:
            self.writer.test(self._best[0] if best and self._best[0] else self.epochs, tasks)

    def end(self, outcome: str = "finished", reason: str | None = None) -> None:
        """Write the last line, and give the record its final name."""
        if self.writer is None or self.writer.path == self.path:
            return
        self.writer.end(outcome, seconds=time.monotonic() - self._began, reason=reason)
        with writing(self.path):
            self._part.replace(self.path)
        self.writer.path = self.path
