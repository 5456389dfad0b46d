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
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from hardfirst.errors import InputError, writing
from hardfirst.records._schema import FIELDS, loads, unsound
from hardfirst.records.files import write_atomically

SCHEMA = 1


@dataclass
class Record:
    """One run: what it was, what was measured in each epoch, on the test split, and how it ended.

    `epochs` and `test` hold the lines as written (see the module's text); `outcome` is "finished", "diverged" or "failed",
    None while the run goes on.

    Example:
        >>> kpis = {1: 0.3, 2: 0.5, 3: 0.4}
        >>> lines = [{"epoch": epoch, "tasks": {"depth": {"validation_kpi": kpi}}} for epoch, kpi in kpis.items()]
        >>> Record({"balancer": "dtp"}, ("depth",), epochs=lines).selected()
        (2, 0.5)
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
            (float(line["tasks"][task].get("validation_kpi", math.nan)) for line in self.epochs if line["epoch"] == epoch),
            math.nan,
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

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "run.jsonl"
        ...     writer = Writer(path)
        ...     writer.trial({"problem": "mine", "balancer": "dtp", "seed": 0}, ["depth"])
        ...     writer.epoch(1, seconds=0.5, learning_rate=0.01, tasks={"depth": {"kpi": 0.4, "validation_kpi": 0.3}})
        ...     found = read(path)
        >>> found.tasks, len(found.epochs), found.outcome
        (('depth',), 1, None)
    """

    def __init__(self, path: Path, *, keep_epochs: int | None = None) -> None:
        self.path = path
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = self._kept(keep_epochs) if keep_epochs is not None and path.exists() else []
        write_atomically(path, "".join(kept))

    def _kept(self, epochs: int) -> list[str]:
        lines = [f"{line}\n" for line in _whole_lines(self.path)]
        kinds = [line["kind"] for line in _parsed(self.path)]
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

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "run.jsonl"
        ...     Writer(path).trial({"problem": "mine", "balancer": "equal", "seed": 0}, ["depth"])
        ...     found = read(path)
        >>> found.trial["balancer"], math.isnan(found.test_kpi("depth"))
        ('equal', True)
    """
    lines = _parsed(path)
    if not lines or lines[0]["kind"] != "trial":
        raise _no_record(path, "the first line should say which trial it is")
    first = lines[0]
    record = Record(first["trial"], tuple(first["tasks"]), first["made_with"], parameters=first.get("parameters"))
    for number, line in enumerate(lines[1:], start=2):
        if not set(line.get("tasks", ())) <= set(record.tasks):
            raise _no_record(path, f"line {number} is about other tasks than line 1")
        if line["kind"] == "epoch":
            seconds = math.nan if line["seconds"] is None else line["seconds"]
            record.epochs.append({**line, "seconds": seconds, "tasks": _by_task(record.tasks, line)})
        elif line["kind"] == "test":
            tasks = {task: {"kpi": math.nan, **figures} for task, figures in _by_task(record.tasks, line).items()}
            record.test = {**line, "tasks": tasks}
        elif line["kind"] == "end":
            record.outcome, record.reason = line["outcome"], line["reason"]
            record.seconds, record.memory = (
                math.nan if line.get(name) is None else float(line[name]) for name in ("seconds", "memory")
            )
        else:
            raise _no_record(path, f"line {number} is a first line once more")
    return record


def _by_task(tasks: Iterable[str], line: Mapping[str, Any]) -> dict[str, Any]:
    """A line's figures for each task; none for one that the line leaves out."""
    return {task: line["tasks"].get(task, {}) for task in tasks}


def _whole_lines(path: Path) -> list[str]:
    """A file's lines, without a last one that was cut short."""
    try:
        return path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _parsed(path: Path) -> list[dict[str, Any]]:
    """The lines of a record, each of a kind that there is and with what that kind has."""
    found = []
    for number, text in enumerate(_whole_lines(path), start=1):
        try:
            line = _with_nan(loads(text))
        except ValueError as error:
            raise _no_record(path, f"line {number} is not JSON ({error})") from None
        if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
            raise _no_record(path, f"line {number} does not say of what kind it is")
        if isinstance(schema := line.get("schema"), int) and schema > SCHEMA:
            raise InputError(
                f"{path} was written by a newer hardfirst (schema {schema}, this one reads {SCHEMA}); upgrade hardfirst."
            )
        if line["kind"] not in FIELDS:
            raise _no_record(path, f"line {number} is of a kind that no record has, {line['kind']!r:.40}")
        if name := unsound(line):
            raise _no_record(path, f"`{name}` in line {number} is missing, or not what it should be")
        found.append(line)
    return found


def _no_record(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is not a run record: {reason}. Restore it, or remove it: a study's own command then runs its trial again."
    )


def versions() -> dict[str, str]:
    """The versions a run's figures depend on."""
    found = {"python": platform.python_version()}
    for package in ("hardfirst", "torch", "lightning", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


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
