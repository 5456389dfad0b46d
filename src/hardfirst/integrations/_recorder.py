"""Run records from other libraries' loops, so that `hardfirst report` draws them too."""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from hardfirst.errors import InputError, writing
from hardfirst.records import Writer, score

Figures = Mapping[str, float]


class RunRecorder:
    """Writes one run's record into a folder, under a name made from its settings.

    Runs of several methods and seeds in one folder are a comparison: `hardfirst report FOLDER`.

    Args:
        folder: where records go, as `FOLDER/trials/KEY.jsonl`.
        settings: what the run is: at least "problem", "balancer" and "seed". Runs with the same settings replace each other.

    Raises:
        InputError: a setting is missing, or the folder cannot be written to.

    Example:
        >>> recorder = RunRecorder("runs/mine", {"problem": "digits", "balancer": "dtp", "seed": 0})
        >>> recorder.path.parent.as_posix()
        'runs/mine/trials'
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]) -> None:
        for name in ("problem", "balancer", "seed"):
            if name not in settings:
                raise InputError(f"Expected settings with problem, balancer and seed; {name!r} is missing.")
        self.settings = dict(settings)
        key = hashlib.sha256(json.dumps(self.settings, sort_keys=True, default=str).encode()).hexdigest()[:16]
        self.path = Path(folder) / "trials" / f"{key}.jsonl"
        self._part = self.path.with_name(f".{key}.part")
        self._began = time.monotonic()
        self._best: tuple[int, float] = (0, -math.inf)
        self.epochs = 0
        self.writer: Writer | None = None

    def begin(self, tasks: tuple[str, ...], network: nn.Module, *, epochs: int = 0) -> None:
        """Write the first line, or go on after so many epochs."""
        self.writer = Writer(self._part, keep_epochs=epochs or None)
        self.epochs = epochs
        if self.writer.empty:
            size = sum(parameter.numel() for parameter in network.parameters())
            devices = int(os.environ.get("WORLD_SIZE", "1"))
            self.writer.trial(self.settings, tasks, devices=devices, parameters=size)

    def epoch(self, *, seconds: float, learning_rate: float, tasks: Mapping[str, Figures]) -> None:
        """Write an epoch's line."""
        if self.writer is None:
            return
        self.epochs += 1
        self.writer.epoch(self.epochs, seconds=seconds, learning_rate=learning_rate, tasks=tasks)
        reached = score([found.get("validation_kpi", math.nan) for found in tasks.values()], "mean")
        if reached > self._best[1]:
            self._best = self.epochs, reached

    def test(self, tasks: Mapping[str, Figures], *, best: bool) -> None:
        """Write the test split's line, of the best epoch's weights or of the last one's; after `end` as well."""
        if self.writer is not None:
            self.writer.test(self._best[0] if best and self._best[0] else self.epochs, tasks)

    def end(self, outcome: str = "finished", reason: str | None = None) -> None:
        """Write the last line, and give the record its name."""
        if self.writer is None or self.writer.path == self.path:
            return
        self.writer.end(outcome, seconds=time.monotonic() - self._began, reason=reason)
        with writing(self.path):
            self._part.replace(self.path)
        self.writer.path = self.path
