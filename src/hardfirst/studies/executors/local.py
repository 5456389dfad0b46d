"""The local engine: each trial in a process of this machine, so that a crash in one does not affect the others."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import torch

from hardfirst.balancers import GradientBalancer
from hardfirst.errors import InputError, whole
from hardfirst.problems.tables import read_from
from hardfirst.studies.executors.base import Assignment, Ended, Executor, Status
from hardfirst.studies.executors.worker import run_assignment
from hardfirst.training import (
    NO_GUARD,
    UNGUARDED,
    Trial,
    begin_child,
    check_can_start,
    check_devices,
    device_kind,
    process_context,
    started,
)

# What a forkserver loads once and its children then have: without it each trial waits seconds for its imports.
PRELOAD = ["torch", "lightning.fabric", "sklearn.datasets", "hardfirst.studies.executors.local", "hardfirst.cli"]
SOLVERS = ["torchjd.aggregation"]  # of gradient balancers; two seconds more, so only where a trial has one
VISIBLE = "CUDA_VISIBLE_DEVICES"

# The exit codes by which a worker says how it ended. Those of failures are far from Python's own 1 and 2.
_CODES: dict[Status, int] = {
    "recorded": 0,
    "singly": 73,
    "unwritable": 74,
    "busy": 75,
    "changed": 76,
    "unguarded": UNGUARDED,
}
_STATUSES = {code: status for status, code in _CODES.items()}


class _Worker(NamedTuple):
    """A running process with its trial's key, and the GPU that it has if trials run on GPUs of CUDA."""

    key: str
    process: BaseProcess
    gpu: str | None


class Local(Executor):
    """Processes of this machine, each with one torch thread.

    On a machine with GPUs of CUDA each process sees one of them, that with the fewest processes when it starts.

    Args:
        workers_per_gpu: the number of trials that share a GPU, at least 1, where the study's `workers` does not say how many
            run at a time. Default: 1.
    """

    def __init__(self, *, workers_per_gpu: int | None = None) -> None:
        self.workers_per_gpu = None if workers_per_gpu is None else whole("workers_per_gpu", workers_per_gpu, least=1)
        self._kind, self._gpus = "cpu", tuple[str, ...]()
        self._processes: Any = None
        self._running: dict[int, _Worker] = {}

    def check(self, accelerator: str) -> None:
        check_can_start()
        check_devices(1, "auto", accelerator)
        self._kind, self._gpus = device_kind(accelerator), visible_gpus(accelerator)
        if self.workers_per_gpu is not None and not self._gpus:
            raise InputError(
                f"`workers_per_gpu` is for GPUs of CUDA, and the accelerator {accelerator} is {self._kind} here. Leave it "
                "out; `workers` says how many trials run at a time."
            )

    @property
    def devices(self) -> str:
        """What trials run on, in words; known after `check`."""
        if self._gpus:
            return f"{'GPU' if len(self._gpus) == 1 else 'GPUs'} {', '.join(self._gpus)}"
        return {"cpu": "the CPU", "mps": "the GPU of MPS"}.get(self._kind, self._kind)

    def open(self, folder: Path, trials: Collection[Trial]) -> None:
        gradient = any(issubclass(trial.balancer.method, GradientBalancer) for trial in trials)
        self._processes = process_context([*PRELOAD, *SOLVERS] if gradient else PRELOAD)

    @property
    def room(self) -> int:
        if self._gpus:
            return len(self._gpus) * (self.workers_per_gpu or 1)
        return cores() if self._kind == "cpu" else 1

    def start(self, assignment: Assignment) -> None:
        busy = Counter(worker.gpu for worker in self._running.values())
        gpu = min(self._gpus, key=busy.__getitem__, default=None)
        process = started(self._processes, "trial", target=_work, args=(assignment, gpu))
        self._running[process.sentinel] = _Worker(assignment.key, process, gpu)

    def ended(self, timeout: float) -> list[Ended]:
        sentinels = wait(list(self._running), timeout)
        return [_how(self._running.pop(sentinel)) for sentinel in sentinels if isinstance(sentinel, int)]

    def close(self) -> None:
        for worker in self._running.values():
            worker.process.kill()
            worker.process.join()


def _how(worker: _Worker) -> Ended:
    key, process, _ = worker
    process.join()
    code = process.exitcode or 0
    if code in _STATUSES:
        return Ended(key, _STATUSES[code])
    reason = f"its process was killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with code {code}"
    return Ended(key, "died", reason)


def _work(assignment: Assignment, gpu: str | None) -> None:
    """What a worker process does."""
    if gpu is not None:
        os.environ[VISIBLE] = gpu  # read when CUDA starts, which neither the fork server nor an import has done
    begin_child()
    sys.exit(_CODES[run_assignment(assignment)])


def run_alone(
    work: Callable[[Callable[[float], None]], None], what: str, tell: Callable[[float], None], tables: Path
) -> None:
    """Run a function in a separate process with one torch thread, and wait for it; its errors are printed there.

    Args:
        work: gets a function to call with the share that is done.
        what: it measures, for the message of an error.
        tell: called with the same here.
        tables: the folder of prepared tables.
    """
    context = process_context(PRELOAD)
    shares, channel = context.Pipe(duplex=False)
    process = started(context, "alone", target=_alone, args=(work, what, channel, tables))
    channel.close()
    try:
        with suppress(EOFError):  # it has ended
            while True:
                tell(shares.recv())
        process.join()
        if process.exitcode == UNGUARDED:
            raise InputError(NO_GUARD)
    finally:
        process.kill()


def _alone(
    work: Callable[[Callable[[float], None]], None], what: str, channel: "Connection[float, float]", tables: Path
) -> None:
    begin_child()
    torch.set_num_threads(1)
    try:
        with read_from(tables):
            work(channel.send)
    except Exception as error:  # the study is complete without it
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        print(f"hardfirst: {what} could not be measured: {reason}", file=sys.stderr)


def visible_gpus(accelerator: str) -> tuple[str, ...]:
    """The GPUs that trials may use, by the names that CUDA_VISIBLE_DEVICES takes; none if the accelerator is not CUDA.

    Where the user has set CUDA_VISIBLE_DEVICES, the names are those in it: numbers, or UUIDs of GPUs or of MIG instances.
    Only as many count as CUDA finds, since it ignores all from the first unknown one on.
    """
    if device_kind(accelerator) != "cuda":
        return ()
    count = torch.cuda.device_count()  # asks NVML, so that this process has no context on a GPU
    given = os.environ.get(VISIBLE)
    names = [str(index) for index in range(count)] if given is None else [name.strip() for name in given.split(",")]
    return tuple(names[:count])


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
