"""Deferred SIGINT: stop after the current step, and save."""

import signal
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, Self


class Interrupted(KeyboardInterrupt):
    """The user stopped the run. `checkpoint` is the path of its checkpoint, if the run saves one."""

    def __init__(self, epoch: int, step: int, checkpoint: Path | None) -> None:
        super().__init__(f"Stopped in epoch {epoch} after step {step}.")
        self.epoch, self.step, self.checkpoint = epoch, step, checkpoint


class Interrupt:
    """Within the context, the first Ctrl-C sets `requested` instead of raising in the middle of a step; a second one raises.

    Python handles signals in the main thread only. In any other thread the context does nothing.

    Args:
        raise_on_second: whether a second Ctrl-C raises. It must not under torchrun, where each process gets the signal twice
            for one Ctrl-C: from the terminal, and from torchrun, which forwards it and ends its processes itself.
    """

    def __init__(self, *, raise_on_second: bool = True) -> None:
        self.requested = False
        self.raise_on_second = raise_on_second
        self._previous_handler: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous_handler = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous_handler is not None:
            signal.signal(signal.SIGINT, self._previous_handler)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.requested and self.raise_on_second:
            raise KeyboardInterrupt
        self.requested = True


class RemoteInterrupt:
    """`Interrupt` in a process that `launch` started: the parent handles Ctrl-C and requests the stop through a pipe."""

    def __init__(self, parent: "Connection[Any, Any]") -> None:
        self._parent, self._requested = parent, False

    @property
    def requested(self) -> bool:
        """Return whether the parent has requested a stop."""
        # The parent sends nothing else, so a waiting message is the request.
        self._requested = self._requested or self._parent.poll()
        return self._requested

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...
