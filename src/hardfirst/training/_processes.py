"""Child processes that start quickly and end with their parent."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing import forkserver
from typing import Any

from hardfirst.errors import InputError

NO_GUARD = 'hardfirst starts processes that import this script again. Put its code below `if __name__ == "__main__":`.'
UNGUARDED = 77
"""The exit code of a child that began to run its parent's script again."""

_PREFIX = "hardfirst "  # of the names of child processes
_TRIES = 3
_PAUSE = 0.5  # seconds until the system has reaped a killed fork server, which looks alive until then


def check_can_start() -> None:
    """Raise an error if this process may not start others.

    Raises:
        InputError: multiprocessing is just starting it, and its script has no main guard; or it is daemonic.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):
        if process.name.startswith(_PREFIX):
            os._exit(UNGUARDED)  # the parent reports it, once for all its children and without a traceback
        raise InputError(NO_GUARD)
    if process.daemon:
        raise InputError(
            "This is a daemonic process, for example of multiprocessing.Pool or Celery, which may not start the processes "
            "that a study needs. Use multiprocessing.Process(..., daemon=False), or run `hardfirst` as a subprocess."
        )


def process_context(preload: Sequence[str]) -> Any:  # typeshed gives the contexts' common base no Process
    """Return the multiprocessing context for child processes: a fork server that has imported `preload`, or spawn.

    A fork server starts a child in milliseconds, where a new interpreter would import torch for seconds; systems without
    one spawn. Modules that are not installed are ignored.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(list(preload))
    return context


def started(context: Any, name: str, **arguments: Any) -> Any:
    """Start a process.

    Args:
        context: a `process_context`.
        name: the purpose of the process.
        arguments: the arguments of multiprocessing's `Process`.

    Raises:
        InputError: this process may not start others, or the fork server is killed each time that it loads.
    """
    check_can_start()
    for _ in range(_TRIES):
        process = context.Process(name=f"{_PREFIX}{name}", **arguments)
        try:
            if context.get_start_method() == "forkserver":
                _start_fork_server()
            process.start()
        except (EOFError, ConnectionError):  # the fork server has died; the next attempt starts another one
            time.sleep(_PAUSE)
            continue
        return process
    raise InputError(
        f"The server that starts trial processes was killed {_TRIES} times while it loaded. The machine may be out of "
        "memory. Run the same command again to continue from the finished runs."
    )


def _start_fork_server() -> None:
    """Start the fork server if there is none, and make it ignore Ctrl-C from the start.

    Ctrl-C reaches the whole process group, and the server itself ignores it only after it has loaded its modules.
    """
    if threading.current_thread() is not threading.main_thread():
        forkserver.ensure_running()
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


def begin_child() -> None:
    """Leave Ctrl-C, which reaches the whole process group, to the parent process, and exit when that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
