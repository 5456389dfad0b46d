"""Starting a process for each device, and seeing them through to one end.

Lightning's own launcher would leave MASTER_PORT in the caller's environment and the processes alive after Ctrl-C, and show
a traceback for what should be a sentence. Here each process gets the environment that torchrun would set, so that the
rest of the code is the same either way.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch.distributed as dist

from hardfirst import records
from hardfirst.errors import InputError
from hardfirst.training._interrupt import Interrupt, Interrupted, RemoteInterrupt
from hardfirst.training._processes import exit_with_parent, process_context
from hardfirst.training._training import EpochLines, Watcher

_POLL_SECONDS = 0.1  # seconds between looks at whether Ctrl-C was pressed
_JOIN_SECONDS = 30.0  # seconds for a process that has said its last word to end
_HOST = "127.0.0.1"
_PRELOAD = ["torch", "lightning.fabric", "hardfirst.training._launch"]


class RankFunction(Protocol):
    """What each of the processes does; it is pickled."""

    def __call__(self, *, watcher: Watcher | None, interrupt: RemoteInterrupt) -> records.Record:
        """Train."""


class _Worker(NamedTuple):
    rank: int
    process: Any
    connection: "Connection[Any, Any]"


def launch(function: RankFunction, devices: int, *, watcher: Watcher | None, checkpoint: Path | None) -> records.Record:
    """Do the function in as many processes, and return what the first one does.

    Raises:
        InputError: as the function does, or one of the processes was killed.
        Interrupted: Ctrl-C; they have agreed on a step to stop after.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise InputError(
            "Training on several devices starts processes that import this script anew: put what it does below "
            '`if __name__ == "__main__":`.'
        )
    store = dist.TCPStore(  # type: ignore[attr-defined]  # torch does not export it
        _HOST, 0, devices, is_master=True, wait_for_workers=False
    )
    workers: list[_Worker] = []
    try:
        with Interrupt() as interrupt:
            for rank in range(devices):
                workers.append(_start(function, rank, _environment(rank, devices, store.port), watcher is not None))
            return _supervise(workers, interrupt, watcher, checkpoint)
    finally:
        for worker in workers:
            _terminate(worker)


def _environment(rank: int, devices: int, port: int) -> dict[str, str]:
    """What torchrun tells its processes; the store is the caller's, so that no port is chosen before it is taken."""
    return {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "GROUP_RANK": "0",
        "WORLD_SIZE": str(devices),
        "LOCAL_WORLD_SIZE": str(devices),
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "hardfirst",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def _start(function: RankFunction, rank: int, environment: dict[str, str], watched: bool) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    process = process_context(_PRELOAD).Process(
        target=_run_rank, args=(function, environment, theirs, watched and rank == 0), name=f"rank {rank}"
    )
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(rank, process, ours)


def _supervise(
    workers: Sequence[_Worker], interrupt: Interrupt, watcher: Watcher | None, checkpoint: Path | None
) -> records.Record:
    """Pass on what the processes say, and Ctrl-C to them, until all have said their last word."""
    open_ = {worker.connection: worker for worker in workers}
    results: dict[int, Any] = {}
    stop_requested = False
    while open_:
        if interrupt.requested and not stop_requested:
            stop_requested = True
            _request_stop(workers[0])  # which tells the others, so that all stop after the same step
        for worker, message in _messages(open_):
            if message is None:
                raise KeyboardInterrupt if interrupt.requested else _death_error(worker)
            what, content = message
            if what == "failed":
                raise content
            if what in ("ended", "interrupted"):
                results[worker.rank] = content
                del open_[worker.connection]
            elif watcher is not None:
                getattr(watcher, what)(*content)
    for worker in workers:
        worker.process.join(_JOIN_SECONDS)
    if isinstance(results[0], records.Record):
        return results[0]
    epoch, step = results[0]
    raise Interrupted(epoch, step, checkpoint)


def _messages(open_: "dict[Connection[Any, Any], _Worker]") -> list[tuple[_Worker, Any]]:
    """What processes have said by now, None for one that has ended; these come first, since others fail because of them."""
    ready = [open_[connection] for connection in wait(list(open_), _POLL_SECONDS)]  # type: ignore[index]  # typed for any handle
    return sorted(((worker, _receive(worker)) for worker in ready), key=lambda each: each[1] is not None)


def _request_stop(worker: _Worker) -> None:
    try:
        worker.connection.send("stop")
    except OSError:  # it has just died, which is seen next
        return


def _receive(worker: _Worker) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        return None


def _death_error(worker: _Worker) -> InputError:
    worker.process.join(_JOIN_SECONDS)
    code = worker.process.exitcode
    if code is None or code >= 0:
        return InputError(f"The process of rank {worker.rank} ended with code {code}; what it said is above.")
    return InputError(
        f"The process of rank {worker.rank} was killed by {signal.Signals(-code).name}. If it was for want of memory, take "
        "fewer devices or a smaller batch."
    )


def _terminate(worker: _Worker) -> None:
    """Processes that are not done wait for each other by now."""
    worker.connection.close()
    worker.process.join(0)
    worker.process.kill()
    worker.process.join()
    worker.process.close()


def _run_rank(
    function: RankFunction, environment: dict[str, str], connection: "Connection[Any, Any]", watched: bool
) -> None:
    """What a process does from its start to its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=exit_with_parent, daemon=True).start()
    os.environ.clear()  # that of the fork server, which may be an old one
    os.environ.update(environment)
    try:
        connection.send(
            (
                "ended",
                function(watcher=_RemoteWatcher(connection) if watched else None, interrupt=RemoteInterrupt(connection)),
            )
        )
    except Interrupted as stopped:
        connection.send(("interrupted", (stopped.epoch, stopped.step)))
    except Exception as error:  # whatever it is, the parent raises it
        connection.send(("failed", _picklable(error)))
        threading.Event().wait()  # for the parent to end all; a peer would else report a lost connection as its own error


class _RemoteWatcher:
    """A watcher that tells the parent's."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self.connection = connection

    def step(self, epoch: int, step: int, steps: int) -> None:
        self.connection.send(("step", (epoch, step, steps)))

    def epoch(self, epoch: int, tasks: EpochLines) -> None:
        self.connection.send(("epoch", (epoch, tasks)))


def _picklable(error: Exception) -> Exception:
    """The error as another process can raise it; one that is no sentence for the user says where it came from."""
    origin = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, InputError):
        error.add_note(origin)
    return error
