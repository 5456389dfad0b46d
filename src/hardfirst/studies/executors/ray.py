"""The Ray engine: each trial is a task of a Ray cluster, on this machine or on many."""

import logging
import os
import socket
import time
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hardfirst.errors import InputError, MissingPackage, number
from hardfirst.studies.executors.base import Assignment, Ended, Executor, Status
from hardfirst.studies.executors.files import Content, pack, unpack
from hardfirst.studies.executors.worker import run_trials
from hardfirst.training import Trial


class Ray(Executor):
    """Tasks of a Ray cluster.

    Nodes need hardfirst and the problem's data, but no shared folder: records come back to this process, which writes them,
    and the user's problem file or table, a balancer's file, and the local modules that these import are sent along.

    Args:
        address: of a running cluster, "auto" or "ray://HOST:PORT" for instance. Default: a new cluster on this machine.
        cpus: the CPUs that a trial asks for, above 0. Torch has as many threads.
        gpus: the GPUs that a trial asks for; may be a fraction of one.
    """

    attempts = 4
    shares_folder = False

    def __init__(self, *, address: str | None = None, cpus: float = 1, gpus: float = 0) -> None:
        self.address = None if address is None else str(address)
        self.cpus, self.gpus = number("cpus", cpus, above=0), number("gpus", gpus, least=0)
        self._ray: Any = None
        self._connected = False
        self._running: dict[Any, str] = {}

    def check(self, accelerator: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # without it Ray reports to its makers
        try:
            import ray
        except ImportError:
            raise MissingPackage('The engine "ray" needs Ray: pip install "hardfirst[ray]".') from None
        self._ray = ray

    def open(self, folder: Path, trials: Collection[Trial]) -> None:
        if not self._ray.is_initialized():  # else by the notebook or script that this runs in, to which the cluster is left
            self._connect()
            self._connected = True
        self._task = self._ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)(_work)

    def _connect(self) -> None:
        # "local" is a new cluster: without an address Ray would join any cluster of this machine
        where = {"address": "local", "include_dashboard": False} if self.address is None else {"address": self.address}
        try:
            _check_answers(self.address)
            self._ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **where)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"The Ray cluster at {self.address!r} cannot be reached: {reason}") from None

    @property
    def room(self) -> int:
        resources = self._ray.cluster_resources()
        asked = {"CPU": self.cpus, "GPU": self.gpus}
        room = min(int(resources.get(kind, 0) / amount) for kind, amount in asked.items() if amount)
        if room < 1:
            has = ", ".join(f"{resources.get(kind, 0):g} {kind}s" for kind in asked)
            raise InputError(
                f"A trial asks for {self.cpus:g} CPUs and {self.gpus:g} GPUs, and the whole Ray cluster has {has}."
            )
        return room

    def start(self, assignment: Assignment) -> None:
        reference = self._task.remote(assignment, pack(assignment.trial), max(1, int(self.cpus)))
        self._running[reference] = assignment.key

    def ended(self, timeout: float) -> list[Ended]:
        if not self._running:
            time.sleep(timeout)
            return []
        done, _ = self._ray.wait(list(self._running), timeout=timeout)
        return [self._result(reference, self._running.pop(reference)) for reference in done]

    def _result(self, reference: Any, key: str) -> Ended:
        try:
            status, reason, texts = self._ray.get(reference)
            return Ended(key, status, reason, texts)
        except self._ray.exceptions.RayError as error:
            return Ended(key, "died", f"its Ray task died: {type(error).__name__}")

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        if self._connected:
            self._ray.shutdown()


def _check_answers(address: str | None) -> None:
    """Raise `OSError` if nothing answers at a host and port: Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _work(assignment: Assignment, files: dict[Path, Content], threads: int) -> tuple[Status, str, dict[str, str]]:
    """What a Ray task does; returns what `run_trials` does, and the records' texts by key."""
    import torch

    torch.set_num_threads(threads)
    with TemporaryDirectory() as name:
        folder = Path(name)
        trials = {key: unpack(trial, files, folder) for key, trial in assignment.trials.items()}
        parts = {key: folder / f"{key}.jsonl" for key in trials}
        status, reason = run_trials(assignment, trials, parts)
        return status, reason, {key: part.read_text() for key, part in parts.items()} if status == "recorded" else {}
