"""Start a process for each device, supervise the processes, and return the result of the first.

Each process gets the environment variables that torchrun sets, so that the rest of the code is the same in both cases.
Lightning's own launcher would leave MASTER_PORT in the caller's environment and the processes alive after Ctrl-C, and print
a traceback where one sentence is enough. So would torchrun, which also cannot return a record to the caller of `fit` or call
the caller's watcher.
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
from hardfirst.training._lines import EpochLines, Watcher
from hardfirst.training._processes import NO_GUARD, UNGUARDED, begin_child, check_can_start, process_context, started

_POLL_SECONDS = 0.1  # between checks for Ctrl-C
_JOIN_SECONDS = 30.0  # for a process to exit after its final message
_DEATH_SECONDS = 1.0  # for a rank's death to be seen after the error of another rank, which lost its connection to it
_HOST = "127.0.0.1"
_PRELOAD = ["torch", "lightning.fabric", "hardfirst.training._launch"]


class RankFunction(Protocol):
    """The function that each process runs; it is pickled."""

    def __call__(self, *, watcher: Watcher | None, interrupt: RemoteInterrupt) -> records.Record:
        """Train."""


class _Worker(NamedTuple):
    rank: int
    process: Any
    connection: "Connection[Any, Any]"


def launch(function: RankFunction, devices: int, *, watcher: Watcher | None, checkpoint: Path | None) -> records.Record:
    """Run the function in one process per device, and return the result of the first.

    Raises:
        InputError: the function raised it, or one of the processes was killed.
        Interrupted: Ctrl-C; all processes stopped after the same step.
    """
    check_can_start()
    # The store lives in this process and binds a free port at once. Choosing a port for rank 0 to bind later would be a race
    # with other programs.
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
    """Return the environment of a rank, as torchrun sets it."""
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
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # rank 0 connects to our store instead of opening its own
    }


def _start(function: RankFunction, rank: int, environment: dict[str, str], watched: bool) -> _Worker:
    parent_end, child_end = multiprocessing.Pipe()
    arguments = (function, environment, child_end, watched and rank == 0)
    process = started(process_context(_PRELOAD), f"rank {rank}", target=_run_rank, args=arguments)
    child_end.close()  # the child then holds the only copy: when it dies, reading our end raises EOFError
    return _Worker(rank, process, parent_end)


def _supervise(
    workers: Sequence[_Worker], interrupt: Interrupt, watcher: Watcher | None, checkpoint: Path | None
) -> records.Record:
    """Forward messages to the watcher, and Ctrl-C to the ranks, until each rank has sent its final message."""
    open_workers = {worker.connection: worker for worker in workers}
    results: dict[int, Any] = {}
    stop_requested = False
    while open_workers:
        if interrupt.requested and not stop_requested:
            stop_requested = True
            # Only the first rank gets the request. The ranks exchange it with their losses in each step, so that all stop
            # after the same step and none waits for the others in a collective.
            _request_stop(workers[0])
        for worker, message in _receive_all(open_workers):
            if message is None:
                raise KeyboardInterrupt if interrupt.requested else _death_error(worker)
            kind, content = message
            if kind == "failed":
                raise _killed(list(open_workers.values())) or content
            if kind in ("ended", "interrupted"):
                results[worker.rank] = content
                del open_workers[worker.connection]
            elif watcher is not None:
                getattr(watcher, kind)(*content)
    for worker in workers:
        worker.process.join(_JOIN_SECONDS)
    if isinstance(results[0], records.Record):
        return results[0]
    epoch, step = results[0]
    raise Interrupted(epoch, step, checkpoint)


def _receive_all(open_workers: "dict[Connection[Any, Any], _Worker]") -> list[tuple[_Worker, Any]]:
    """Return the messages that have arrived, None from a process that died.

    Dead processes come first: the errors of other ranks, which lost their connection, are a consequence.
    """
    ready = wait(list(open_workers), _POLL_SECONDS)
    messages = [(worker, _receive(worker)) for worker in (open_workers[connection] for connection in ready)]  # type: ignore[index]  # `wait` is typed for any handle
    return sorted(messages, key=lambda pair: pair[1] is not None)


def _request_stop(worker: _Worker) -> None:
    try:
        worker.connection.send("stop")
    except OSError:  # the process has just died; `_receive` reports it
        return


def _receive(worker: _Worker) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        return None


def _killed(workers: Sequence[_Worker]) -> InputError | None:
    """Return the error of the first rank that has died, if any; another rank may have seen its death before this process."""
    wait([worker.process.sentinel for worker in workers], _DEATH_SECONDS)
    return next((_death_error(worker) for worker in workers if worker.process.exitcode), None)


def _death_error(worker: _Worker) -> InputError:
    worker.process.join(_JOIN_SECONDS)
    code = worker.process.exitcode
    if code == UNGUARDED:
        return InputError(NO_GUARD)
    if code is None or code >= 0:
        return InputError(f"The process of rank {worker.rank} ended with code {code}; its output is above.")
    return InputError(
        f"The process of rank {worker.rank} was killed by {signal.Signals(-code).name}. If it ran out of memory, use fewer "
        "devices or a smaller batch."
    )


def _terminate(worker: _Worker) -> None:
    """Kill the process if it is still alive, since it then waits in a collective for a rank that has failed."""
    worker.connection.close()
    worker.process.join(0)
    worker.process.kill()
    worker.process.join()
    worker.process.close()


def _run_rank(
    function: RankFunction, environment: dict[str, str], connection: "Connection[Any, Any]", watched: bool
) -> None:
    """Run the function as one rank, and send its outcome to the parent."""
    begin_child()
    # The environment is that of the fork server, which may have started before the caller changed its own.
    os.environ.clear()
    os.environ.update(environment)
    watcher = _RemoteWatcher(connection) if watched else None
    try:
        connection.send(("ended", function(watcher=watcher, interrupt=RemoteInterrupt(connection))))
    except Interrupted as stopped:
        connection.send(("interrupted", (stopped.epoch, stopped.step)))
    except Exception as error:  # any exception: the parent raises it
        connection.send(("failed", _picklable(error)))
        # Stay until the parent kills all ranks: if this process exited, another rank could report its lost connection
        # before the parent has read the error that caused it.
        threading.Event().wait()


class _RemoteWatcher:
    """Sends progress to the parent, which calls the real watcher."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self.connection = connection

    def step(self, epoch: int, step: int, steps: int) -> None:
        self.connection.send(("step", (epoch, step, steps)))

    def epoch(self, epoch: int, tasks: EpochLines) -> None:
        self.connection.send(("epoch", (epoch, tasks)))


def _picklable(error: Exception) -> Exception:
    """Return an error that another process can raise; errors other than `InputError` carry their traceback as a note."""
    origin = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs the error's own code
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, InputError):
        error.add_note(origin)
    return error
