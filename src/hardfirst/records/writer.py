"""Writes run records."""

import json
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata
from itertools import accumulate
from pathlib import Path
from typing import Any

from hardfirst.errors import InputError, writing
from hardfirst.records._schema import LARGEST_NUMBER
from hardfirst.records.files import write_atomically
from hardfirst.records.loss_share import LossShares
from hardfirst.records.measures import Measures
from hardfirst.records.run_record import SCHEMA, parse_lines, read, read_lines


class Writer:
    """Appends lines to a record file and flushes each, so that a reader always sees whole epochs.

    Args:
        path: the file; its folder is created if needed.
        keep_epochs: when a run resumes, how many epoch lines to keep; later lines are dropped. None starts a new file.
        also: called with each line that is kept or written.

    Raises:
        InputError: the file cannot be written, now or later; lines already written stay. Or it has fewer epochs than
            `keep_epochs`.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from hardfirst.records import read
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "run.jsonl"
        ...     writer = Writer(path)
        ...     writer.trial({"problem": "mine", "balancer": "dtp", "seed": 0}, ["depth"])
        ...     writer.epoch(1, seconds=0.5, learning_rate=0.01, tasks={"depth": {"kpi": 0.4, "validation_kpi": 0.3}})
        ...     record = read(path)
        >>> record.tasks, len(record.epochs), record.outcome
        (('depth',), 1, None)
    """

    def __init__(
        self, path: Path, *, keep_epochs: int | None = None, also: Iterable[Callable[[Mapping[str, Any]], object]] = ()
    ) -> None:
        self.path, self._also = path, tuple(also)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = self._lines_to_keep(keep_epochs) if keep_epochs is not None and path.exists() else []
        if keep_epochs and len(lines) <= keep_epochs:  # one line is the trial's
            raise InputError(
                f"The run's record is no longer in {path.parent}, or has fewer than the {keep_epochs} epochs of its "
                "checkpoint. Restore it, or remove the checkpoint to start again."
            )
        write_atomically(path, "".join(lines))
        for line in parse_lines(path) if self._also else ():
            self._tell(line)

    def _lines_to_keep(self, epochs: int) -> list[str]:
        lines = [f"{line}\n" for line in read_lines(self.path)]
        kinds = [line["kind"] for line in parse_lines(self.path)]
        before = accumulate((kind == "epoch" for kind in kinds), initial=0)
        return [
            line
            for kind, line, earlier in zip(kinds, lines, before, strict=False)  # `before` has one more: the number of all
            if kind == "trial" or (kind == "epoch" and earlier < epochs)
        ]

    @property
    def empty(self) -> bool:
        """Whether the file has no line yet."""
        return self.path.stat().st_size == 0

    def trial(
        self,
        trial: Mapping[str, Any],
        tasks: Iterable[str],
        command: str | None = None,
        *,
        devices: int = 1,
        device: str | None = None,
        parameters: int | None = None,
        loss_shares: LossShares | None = None,
        measures: Measures | None = None,
        kpis: Mapping[str, str] | None = None,
        auxiliary: Iterable[str] = (),
        data: Mapping[str, Any] | None = None,
        vectorized: int = 1,
    ) -> None:
        """Write the first line.

        Args:
            trial: the run's settings.
            tasks: the names of the tasks.
            command: the command that started the run.
            devices: the number of devices that trained it.
            device: the name of one device.
            parameters: the network's number of parameters.
            loss_shares: by task, the metrics that are shares of a loss.
            measures: by task, the measures over which published Δm averages.
            kpis: by task, the name of its KPI.
            auxiliary: the names of further tasks, which have no KPI.
            data: numbers that identify the data.
            vectorized: the number of trials trained together.
        """
        line = {"kind": "trial", "schema": SCHEMA, "trial": trial, "tasks": list(tasks), "parameters": parameters}
        shares = {task: {name: share._asdict() for name, share in by.items()} for task, by in (loss_shares or {}).items()}
        averaged = {task: [measure._asdict() for measure in of_task] for task, of_task in (measures or {}).items()}
        optional = {"loss_shares": shares, "measures": averaged, "kpis": dict(kpis or {}), "auxiliary": list(auxiliary)}
        line |= {name: value for name, value in optional.items() if value}
        made_with = {"command": command, "devices": devices, "versions": versions()}
        if device is not None:
            made_with |= {"device": device}
        if vectorized > 1:
            made_with |= {"vectorized": vectorized}
        self._write({**line, "made_with": made_with | ({} if data is None else {"data": data})})

    def epoch(
        self,
        epoch: int,
        *,
        seconds: float,
        learning_rate: float,
        tasks: Mapping[str, Mapping[str, Any]],
        restarted: int | None = None,
    ) -> None:
        """Write an epoch's line.

        Args:
            epoch: counts from 1.
            seconds: of its steps.
            learning_rate: of its last step.
            tasks: by task, its figures.
            restarted: the step of the run before which network and optimizer went back to step 0; None if in another epoch.
        """
        line = {"kind": "epoch", "epoch": epoch, "seconds": seconds, "learning_rate": learning_rate, "tasks": tasks}
        self._write(line if restarted is None else line | {"restarted": restarted})

    def test(self, epoch: int, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the test line; `epoch` is the selected one."""
        self._write({"kind": "test", "epoch": epoch, "tasks": tasks})

    def test_means(self, last: int) -> None:
        """Write the test line of a run that selects no epoch: the means of validation figures over the last epochs."""
        record = read(self.path)
        epochs = [line["epoch"] for line in record.candidates[-last:]]
        tasks = record.means_over_last(last)
        self._write({"kind": "test", "epoch": epochs[-1], "tasks": tasks, "averaged": len(epochs)})

    def end(self, outcome: str, *, seconds: float, reason: str | None = None, memory: int | None = None) -> None:
        """Write the last line."""
        self._write({"kind": "end", "outcome": outcome, "reason": reason, "seconds": seconds, "memory": memory})

    def _write(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(_nan_to_null(line), allow_nan=False) + "\n"
        with writing(self.path), self.path.open("a") as file:
            file.write(text)
        self._tell(line)

    def _tell(self, line: Mapping[str, Any]) -> None:
        for each in self._also:
            each(line)


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a run's figures depend on."""
    by_package = {"python": platform.python_version()}
    for package in ("hardfirst", "torch", "lightning", "numpy"):
        try:
            by_package[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return by_package


def _nan_to_null(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _nan_to_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nan_to_null(item) for item in value]
    return None if isinstance(value, float) and not abs(value) <= LARGEST_NUMBER else value
