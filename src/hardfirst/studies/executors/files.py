"""The user's own files that a trial needs, for workers that do not see them."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hardfirst._user_file import modules_of
from hardfirst.problems import FIELDS
from hardfirst.problems.tables import TableName, is_table, relocated
from hardfirst.training import Trial

Content = dict[Path, bytes]
"""A file and the local modules that it imports, by the paths at which they can be imported from the file's folder."""


def files_of(trial: Trial) -> list[Path]:
    """The user's own files that the trial is made from: a problem file or those of a table, and a balancer's file.

    Data that they read is not among them.
    """
    name, balancer = trial.problem.partition("?")[0], trial.balancer.file
    table = TableName.parse(trial.problem) if is_table(trial.problem) else None
    own = table.files if table is not None else () if name in FIELDS else (Path(name),)
    return [path for path in (*own, balancer) if path is not None and path.is_file()]


def pack(trial: Trial) -> dict[Path, Content]:
    """The content of the trial's files, to be sent to a worker."""
    return {path: _content(path) for path in files_of(trial)}


def _content(path: Path) -> Content:
    content = {Path(path.name): path.read_bytes()}
    for name, (file, _) in (modules_of(path) if path.suffix == ".py" else {}).items():
        folder = Path(*name.split("."))
        relative = folder / file.name if file.name == "__init__.py" else folder.with_name(file.name)
        content[relative] = file.read_bytes()
    return content


def unpack(trial: Trial, files: Mapping[Path, Content], folder: Path) -> Trial:
    """Write a trial's files into a folder, and return the trial that is made from these copies.

    A file that this machine has at the same path with the same content is used where it is, next to what it may read.
    """
    moved: dict[Path, Path] = {}
    for path, content in files.items():
        if all(_has(path.parent / relative, data) for relative, data in content.items()):
            continue
        # Each in a separate folder: two files from different folders may have the same name.
        copies = folder / hashlib.sha256(str(path).encode()).hexdigest()[:8]
        for relative, data in content.items():
            (copies / relative).parent.mkdir(parents=True, exist_ok=True)
            (copies / relative).write_bytes(data)
        moved[path] = copies / path.name
    return _relocated(trial, moved)


def _has(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _relocated(trial: Trial, moved: Mapping[Path, Path]) -> Trial:
    """The trial with its files at other paths; its key and record are the same, since they have the files' digests."""
    if is_table(trial.problem):
        problem = relocated(trial.problem, moved)
    else:
        file, mark, query = trial.problem.partition("?")
        problem = f"{moved.get(Path(file), file)}{mark}{query}"
    balancer = trial.balancer
    if balancer.file is not None and balancer.file in moved:
        balancer = balancer.with_file(moved[balancer.file])
    return replace(trial, problem=problem, balancer=balancer)
