"""The user's own files that a trial needs, for workers that do not see them."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hardfirst.training import Trial


def files_of(trial: Trial) -> list[Path]:
    """The user's own files that the trial is made from: a problem file or a table, and a balancer's file.

    Modules that these import, and data that they read, are not among them.
    """
    problem, balancer = Path(trial.problem.partition("?")[0]), trial.balancer.file
    return [path for path in (problem, balancer) if path is not None and path.is_file()]


def pack(trial: Trial) -> dict[Path, bytes]:
    """The content of the trial's files, to be sent to a worker."""
    return {path: path.read_bytes() for path in files_of(trial)}


def unpack(trial: Trial, content: Mapping[Path, bytes], folder: Path) -> Trial:
    """Write a trial's files into a folder, and return the trial that is made from these copies.

    A file that this machine has at the same path with the same content is used where it is, next to what it may read.
    """
    moved: dict[Path, Path] = {}
    for path, data in content.items():
        if not (path.is_file() and path.read_bytes() == data):
            # Each in a folder of its own: two files from different folders may have the same name.
            moved[path] = folder / hashlib.sha256(str(path).encode()).hexdigest()[:8] / path.name
            moved[path].parent.mkdir(parents=True, exist_ok=True)
            moved[path].write_bytes(data)
    return _relocated(trial, moved)


def _relocated(trial: Trial, moved: Mapping[Path, Path]) -> Trial:
    """The trial with its files at other paths; its key and record are the same, since they have the files' digests."""
    file, mark, query = trial.problem.partition("?")
    problem = f"{moved.get(Path(file), file)}{mark}{query}"
    balancer = trial.balancer
    if balancer.file is not None and balancer.file in moved:
        balancer = balancer.with_file(moved[balancer.file])
    return replace(trial, problem=problem, balancer=balancer)
