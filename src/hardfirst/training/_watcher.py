"""The interface for the progress of a run."""

from typing import Protocol

from hardfirst.training._lines import EpochLines


class Watcher(Protocol):
    """Receives the progress of a run."""

    def step(self, epoch: int, step: int, steps: int) -> None:
        """Called after each training step; all three count from 1."""

    def epoch(self, epoch: int, tasks: EpochLines) -> None:
        """Called after each epoch with its figures by task, as in the record."""
