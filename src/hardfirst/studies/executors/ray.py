"""Running trials as tasks of a Ray cluster, on this machine or on many."""

import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hardfirst import records
from hardfirst.errors import InputError, MissingPackage
from hardfirst.studies.executors.local import Event, Queue, happened, record_failure, run_trial
from hardfirst.studies.store import Store
from hardfirst.training import Trial

PULSE = 0.5  # seconds between looks at what has ended
RETRIES = 3  # of a trial whose worker or node has died


@dataclass
class _Task:
    key: str
    trial: Trial
    claim: ExitStack


def run_on_ray(
    wanted: Callable[[], Mapping[str, Trial]],
    store: Store,
    *,
    workers: int | None = None,
    command: str | None = None,
    accelerator: str = "cpu",
    tell: Callable[[Event], None] = lambda event: None,
    address: str | None = None,
    cpus: float = 1,
    gpus: float = 0,
) -> None:
    """Run the trials that have not ended as Ray tasks, until no more are wanted; otherwise like `run_locally`.

    A worker or a node that dies costs its trials a retry, by Ray. Records come back to this process, which writes them, so
    that nodes need no shared folder; they need hardfirst and the problem's data. A problem file or table is sent along.

    Args:
        wanted: the trials by key. Asked again whenever one has ended, since others may depend on its outcome.
        store: where the records go.
        workers: how many at a time; None for as many as the cluster has room for.
        command: what the user typed, for the records.
        accelerator: as in Lightning Fabric.
        tell: called with each event.
        address: of a running cluster, "auto" or "ray://…" for instance; None starts one on this machine.
        cpus: that a trial asks for.
        gpus: that a trial asks for.

    Raises:
        MissingPackage: Ray is not installed.
        InputError: the cluster does not answer, or has no room for a single trial.
    """
    ray, mine = _connected(address)
    try:
        room = min(workers or 1_000_000, _room(ray, cpus, gpus))
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=RETRIES)(_work)
        queue, running = Queue(wanted, store), dict[Any, _Task]()
        queue.ask()
        try:
            while queue.waiting or running:
                while len(running) < room and queue.waiting:
                    key, trial, number = queue.waiting.pop(0)
                    if store.ended(key):  # by another process with the same folder
                        tell(Event(trial, "finished"))
                        queue.ask()
                        continue
                    claim = ExitStack()
                    if not claim.enter_context(store.claim(key)):
                        claim.close()
                        queue.waiting.append((key, trial, number))
                        break
                    running[task.remote(trial, _content(trial), command, accelerator, cpus)] = _Task(key, trial, claim)
                    tell(Event(trial, "started"))
                done, _ = ray.wait(list(running), timeout=PULSE) if running else ([], [])
                for reference in done:
                    _take(ray, reference, running.pop(reference), store, command, tell)
                    queue.ask()
        finally:
            for reference, each in running.items():
                ray.cancel(reference, force=True)
                each.claim.close()
    finally:
        if mine:
            ray.shutdown()


def _connected(address: str | None) -> tuple[Any, bool]:
    """Ray, and whether it was this that connected it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports to its makers
    try:
        import ray
    except ImportError:
        raise MissingPackage('The engine "ray" needs Ray: pip install "hardfirst[ray]".') from None
    if ray.is_initialized():  # by the notebook or script that this runs in
        return ray, False
    # "local" is a new one: without an address Ray would join whichever cluster of this machine it finds
    here = {"address": "local", "include_dashboard": False} if address is None else {"address": address}
    try:
        _knock(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **here)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"The Ray cluster at {address!r} cannot be reached: {str(error).splitlines()[0]}") from None
    return ray, True


def _knock(address: str | None) -> None:
    """Raise `OSError` where nobody answers at a host and port: Ray itself would try for minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _room(ray: Any, cpus: float, gpus: float) -> int:
    """How many trials the cluster can run at a time."""
    there = ray.cluster_resources()
    asked = {"CPU": cpus, "GPU": gpus}
    room = min(int(there.get(kind, 0) / number) for kind, number in asked.items() if number) if cpus or gpus else 1
    if room < 1:
        has = ", ".join(f"{there.get(kind, 0):g} {kind}s" for kind in asked)
        raise InputError(f"A trial asks for {cpus:g} CPUs and {gpus:g} GPUs, and the whole Ray cluster has {has}.")
    return room


def _content(trial: Trial) -> bytes | None:
    """The bytes of the user's own problem, if it is a file."""
    path = Path(trial.problem.partition("?")[0])
    return path.read_bytes() if path.is_file() else None


def _work(trial: Trial, content: bytes | None, command: str | None, accelerator: str, cpus: float) -> str:
    """What a Ray task does; the record's text."""
    import torch

    torch.set_num_threads(max(1, int(cpus)))
    with TemporaryDirectory() as folder:
        file, mark, query = trial.problem.partition("?")
        if content is not None and not Path(file).is_file():
            (Path(folder) / Path(file).name).write_bytes(content)
            trial = replace(trial, problem=f"{Path(folder) / Path(file).name}{mark}{query}")
        part = Path(folder) / "record.jsonl"
        run_trial(trial, part, command, accelerator)
        return part.read_text()


def _take(ray: Any, reference: Any, task: _Task, store: Store, command: str | None, tell: Callable[[Event], None]) -> None:
    """Write what a task has given."""
    with task.claim:
        try:
            text: str = ray.get(reference)
        except ray.exceptions.RayError as error:
            reason = f"its Ray task died {RETRIES + 1} times: {type(error).__name__}"
            record_failure(task.trial, store.part_file(task.key), reason, command)
            store.part_file(task.key).replace(store.record_file(task.key))
            tell(Event(task.trial, "failed", reason))
            return
        records.write_atomically(store.record_file(task.key), text)
        tell(happened(task.trial, store.record_file(task.key)))
