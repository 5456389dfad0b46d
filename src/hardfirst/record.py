"""The run record: one JSON object a line, the same for every host, read and written without torch.

The first line says what was run, then comes a line per epoch, one for the test split, and one that says how the run ended::

    {"kind": "trial", "schema": 1, "trial": {...}, "tasks": [...], "parameters": 9549, "made_with": {"command": ...,
     "devices": 1, "versions": {...}}}
    {"kind": "epoch", "epoch": 1, "seconds": 0.4, "learning_rate": 0.001, "tasks": {"depth": {"loss": 0.7, "kpi": 0.4,
     "weight": 1.2, "validation_loss": 0.6, "validation_kpi": 0.5, "validation_metrics": {...}}, ...}}
    {"kind": "test", "epoch": 1, "tasks": {"depth": {"loss": 0.6, "kpi": 0.5, "metrics": {...}}, ...}}
    {"kind": "end", "outcome": "finished", "reason": null, "seconds": 0.5, "memory": 3e8}

Numbers that are NaN or infinite are written as null and read back as NaN. `weight` is the mean over the epoch's steps of
∂total/∂loss, whatever the method; `memory` is the peak in bytes, of the process or, on a GPU, of its tensors, added over
the devices. A run that served only to choose settings has no line for the test split.
"""

import json
import math
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from hardfirst.errors import InputError

SCHEMA = 1


@dataclass
class Record:
    """One run: what it was, what was measured in each epoch, on the test split, and how it ended.

    `epochs` and `test` hold the lines as written (see the module's text); `outcome` is "finished", "diverged" or "failed",
    None while the run goes on.
    """

    trial: dict[str, Any]
    tasks: tuple[str, ...]
    made_with: dict[str, Any] = field(default_factory=dict)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    test: dict[str, Any] | None = None
    outcome: str | None = None
    reason: str | None = None
    seconds: float = math.nan
    memory: float = math.nan
    parameters: int | None = None

    def test_kpi(self, task: str) -> float:
        """The task's KPI on the test split at the selected epoch; NaN if the run did not get there."""
        return float(self.test["tasks"][task]["kpi"]) if self.test else math.nan

    def selected(self) -> tuple[int, float]:
        """The epoch that is best by the validation split, and its score there; (0, NaN) where there is none.

        The score is by the trial's criterion, `score`; the first of equals counts.
        """
        best = (0, math.nan)
        for line in self.epochs:
            kpis = [task["validation_kpi"] for task in line["tasks"].values() if "validation_kpi" in task]
            found = score(kpis, self.trial.get("criterion", "mean"))
            if not (math.isnan(found) or found <= best[1]):
                best = (line["epoch"], found)
        return best

    def validation_kpi(self, task: str) -> float:
        """The task's KPI on the validation split at the selected epoch; NaN if there is none."""
        epoch, _ = self.selected()
        return next(
            (float(line["tasks"][task]["validation_kpi"]) for line in self.epochs if line["epoch"] == epoch), math.nan
        )

    def curve(self, task: str, what: str) -> list[float]:
        """One value per epoch, e.g. `curve("depth", "validation_kpi")`."""
        return [float(line["tasks"][task].get(what, math.nan)) for line in self.epochs]


def score(kpis: Iterable[float], criterion: str) -> float:
    """What runs and epochs are chosen by: the mean of the validation KPIs, or by the criterion "worst" the lowest.

    Tasks without a KPI are left out; NaN where no task has one.

    >>> score([0.5, 0.9, math.nan], "mean"), score([0.5, 0.9], "worst")
    (0.7, 0.5)
    """
    known = [kpi for kpi in kpis if not math.isnan(kpi)]
    if not known:
        return math.nan
    return min(known) if criterion == "worst" else sum(known) / len(known)


class Writer:
    """Appends lines to a record file, each flushed, so that a reader always sees whole epochs.

    Args:
        path: the file; its folder is made.
        keep_epochs: when a run is resumed, the number of epoch lines that stand; later lines are dropped.
            None begins the file anew.

    Raises:
        InputError: the file cannot be written, then or later; the lines that it has stay.
    """

    def __init__(self, path: Path, *, keep_epochs: int | None = None) -> None:
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = self._kept(keep_epochs) if keep_epochs is not None and path.exists() else []
        write_atomically(path, "".join(kept))

    def _kept(self, epochs: int) -> list[str]:
        lines, kinds = [], []
        for number, line, found in _lines(self.path):
            if not isinstance(found, dict) or "kind" not in found:
                raise InputError(f"{self.path} is not a run record: line {number} has no kind. {REMEDY}")
            lines.append(line)
            kinds.append(found["kind"])
        return [
            line
            for position, (kind, line) in enumerate(zip(kinds, lines, strict=True))
            if kind == "trial" or (kind == "epoch" and kinds[:position].count("epoch") < epochs)
        ]

    @property
    def empty(self) -> bool:
        """Whether the first line has still to be written."""
        return self.path.stat().st_size == 0

    def trial(
        self,
        trial: Mapping[str, Any],
        tasks: Iterable[str],
        command: str | None = None,
        *,
        devices: int = 1,
        parameters: int | None = None,
    ) -> None:
        """Write the first line; `parameters` is how many numbers the network has in them."""
        made_with = {"command": command, "devices": devices, "versions": versions()}
        line = {"kind": "trial", "schema": SCHEMA, "trial": trial, "tasks": list(tasks), "parameters": parameters}
        self._write({**line, "made_with": made_with})

    def epoch(self, epoch: int, *, seconds: float, learning_rate: float, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """Write an epoch's line; epochs count from 1."""
        self._write({"kind": "epoch", "epoch": epoch, "seconds": seconds, "learning_rate": learning_rate, "tasks": tasks})

    def test(self, epoch: int, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the test line: `epoch` is the selected one."""
        self._write({"kind": "test", "epoch": epoch, "tasks": tasks})

    def end(self, outcome: str, *, seconds: float, reason: str | None = None, memory: int | None = None) -> None:
        """Write the last line."""
        self._write({"kind": "end", "outcome": outcome, "reason": reason, "seconds": seconds, "memory": memory})

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(_without_nan(line), allow_nan=False) + "\n"
        with writing(self.path), self.path.open("a") as file:
            file.write(text)


def read(path: Path) -> Record:
    """Read one record.

    A last line that was cut short (the run is being written, or its machine died) is left out.

    Raises:
        InputError: the file is not a record, is damaged, or is of a newer schema.
        FileNotFoundError: there is none.
    """
    try:
        return _assemble([(number, found) for number, _, found in _lines(path)])
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except _Damaged as error:
        raise InputError(f"{path} is not a run record: {error}. {REMEDY}") from None
    except _Newer as error:
        raise InputError(f"{path} {error}") from None


class _Damaged(Exception):  # noqa: N818  # the reason
    """What a file has that no record has."""


class _Newer(Exception):  # noqa: N818
    """The record of a later version."""


def _lines(path: Path) -> Iterator[tuple[int, str, Any]]:
    """The whole lines of a record: each with its number, and what it says."""
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").split("\n")[:-1], start=1):
        try:
            yield number, f"{line}\n", json.loads(line, parse_constant=_not_json)
        except (ValueError, RecursionError) as error:  # a ValueError: a whole number of thousands of digits
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error) or "too deep"
            raise _Damaged(f"line {number} is not JSON ({reason})") from None


def _not_json(word: str) -> float:
    raise ValueError(f"{word} is written as null")


def _assemble(lines: Sequence[tuple[int, Any]]) -> Record:
    if not lines or not isinstance(lines[0][1], dict) or lines[0][1].get("kind") != "trial":
        raise _Damaged("the first line should say which trial it is")
    first = lines[0][1]
    schema = first.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise _Newer(f"was written by a newer hardfirst (schema {schema}, this one reads {SCHEMA}); upgrade.")
    _check(1, first, _TRIAL)
    record = Record(first["trial"], tuple(first["tasks"]), first["made_with"], parameters=first.get("parameters"))
    for number, found in lines[1:]:
        kind = found.get("kind") if isinstance(found, dict) else None
        if kind not in _KINDS:
            raise _Damaged(f"line {number} is of no kind that there is")
        line = _with_nan(found)
        _check(number, line, _KINDS[kind])
        for task in line.get("tasks", ()):
            if task not in record.tasks:
                raise _Damaged(f"line {number} is about a task {task!r} that line 1 has not")
        if kind == "epoch":
            record.epochs.append(line)
        elif kind == "test":
            record.test = line
        else:
            record.outcome, record.reason = line["outcome"], line["reason"]
            record.seconds = math.nan if line["seconds"] is None else float(line["seconds"])
            record.memory = math.nan if line.get("memory") is None else float(line["memory"])
    return record

def versions() -> dict[str, str]:
    """The versions a run's figures depend on."""
    found = {"python": platform.python_version()}
    for package in ("hardfirst", "torch", "lightning", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text)
    part.replace(path)


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(line: Any) -> Any:
    """Give measured values their NaN back: below "tasks", null is a number that was not to be had."""
    tasks = line.get("tasks") if isinstance(line, dict) else None
    if isinstance(tasks, dict):
        line["tasks"] = {task: _nan_for_null(values) for task, values in tasks.items()}
    return line


def _nan_for_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nan_for_null(item) for key, item in value.items()}
    return math.nan if value is None else value
