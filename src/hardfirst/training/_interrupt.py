"""Ctrl-C as a wish, taken up between two steps."""

import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Self


class Interrupted(KeyboardInterrupt):
    """The run was stopped by the user; its checkpoint is at `checkpoint`, if it has one."""

    def __init__(self, epoch: int, step: int, checkpoint: Path | None) -> None:
        super().__init__(f"Stopped in epoch {epoch} after step {step}.")
        self.epoch, self.step, self.checkpoint = epoch, step, checkpoint


class Interrupt:
    """While it is entered, the first Ctrl-C sets `requested` instead of raising in the middle of a step; a second one raises.

    Outside the main thread, where signals cannot be caught, it does nothing.

    Args:
        raise_on_second: whether a second one raises. Under torchrun it must not: torchrun passes on what has reached its processes
            already, and sees to it itself that they end.
    """

    def __init__(self, *, raise_on_second: bool = True) -> None:
        self.requested = False
        self.raise_on_second = raise_on_second
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.requested and self.raise_on_second:
            raise KeyboardInterrupt
        self.requested = True


class RemoteInterrupt:
    """The same wish in a process that was started for a run: its parent takes Ctrl-C and passes it on."""

    def __init__(self, parent: "Connection[Any, Any]") -> None:
        self._parent, self._requested = parent, False

    @property
    def requested(self) -> bool:
        self._requested = self._requested or self._parent.poll()
        return self._requested

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
