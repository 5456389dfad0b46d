"""Experiment trackers: TensorBoard, Weights & Biases and MLflow, which get the lines of run records.

With `--log`, `hardfirst train` and `hardfirst compare` send the record of each run that has ended. A run that is killed
therefore leaves no half run in the tracker, and one that is resumed is there once. Your own training loop sends each line as
it is written: `RunRecorder(..., also=[MLflow()])`.
"""

import json
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from secrets import token_hex
from typing import Any

from hardfirst.errors import InputError, MissingPackage, check_names, warn_caller
from hardfirst.records import record_key
from hardfirst.records.run_record import parse_lines

__all__ = ["TRACKERS", "MLflow", "TensorBoard", "Tracker", "WandB"]

Line = Mapping[str, Any]
"""A line of a run record, as `hardfirst.records` describes it."""


class Tracker(ABC):
    """Receives runs, one after another. It is called with each line of a record, or with a whole record by `FolderLog`.

    Your own tracker implements `start`, `epoch` and `end`.

    Example:
        >>> class Printed(Tracker):
        ...     def start(self, name, settings):
        ...         print(settings["balancer"])
        ...
        ...     def epoch(self, epoch, figures):
        ...         print(epoch, figures)
        ...
        ...     def end(self, outcome):
        ...         print(outcome)
        >>> tracker = Printed()
        >>> tracker({"kind": "trial", "trial": {"problem": "mine", "balancer": "dtp", "seed": 0}})
        dtp
        >>> tracker({"kind": "epoch", "epoch": 1, "tasks": {"depth": {"kpi": 0.5}}})
        1 {'depth/kpi': 0.5}
    """

    def __call__(self, line: Line) -> None:
        """Take up a line of a record."""
        if line["kind"] == "trial":
            self.start(_name(line["trial"]), line["trial"])
        elif line["kind"] == "end":
            self.end(line["outcome"])
        else:
            prefix = "test/" if line["kind"] == "test" else ""
            rate = {name: line[name] for name in ("learning_rate", "seconds") if name in line}
            self.epoch(line["epoch"], dict(_flat({**line["tasks"], **rate}, prefix)))

    @abstractmethod
    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        """Begin a run.

        Args:
            name: the run's, which differs for other settings.
            settings: as in the record, at least "problem", "balancer" and "seed".
        """

    @abstractmethod
    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Take up an epoch's figures, such as "depth/validation_kpi", or those of the test split, "test/depth/kpi".

        Args:
            epoch: counts from 1; of the test figures, the selected one. These may come after `end`.
            figures: finite numbers by name.
        """

    @abstractmethod
    def end(self, outcome: str) -> None:
        """End the run: "finished", "diverged" or "failed"."""


class TensorBoard(Tracker):
    """Writes event files: `tensorboard --logdir FOLDER/tensorboard`.

    Args:
        folder: of the study or run.

    Raises:
        MissingPackage: tensorboard is not installed.

    Example:
        >>> from hardfirst.integrations import RunRecorder
        >>> settings = {"problem": "mine", "balancer": "dtp", "seed": 0}
        >>> recorder = RunRecorder("runs/mine", settings, also=[TensorBoard("runs/mine")])  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path = ".") -> None:
        self._folder = Path(folder) / "tensorboard"
        self._make = _imported("torch.utils.tensorboard", "tensorboard", '"hardfirst[tensorboard]"').SummaryWriter
        self._writer: Any = None

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        self._writer = self._make(str(self._folder / re.sub(r"[^\w.,=+-]+", "-", name)))
        self._writer.add_text("settings", f"```\n{json.dumps(settings, indent=1, default=str)}\n```")

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        for name, figure in figures.items():
            self._writer.add_scalar(name, figure, epoch)
        self._writer.flush()

    def end(self, outcome: str) -> None:
        self._writer.add_text("outcome", outcome)
        self._writer.close()  # a later figure opens it again


class WandB(Tracker):
    """Sends runs to Weights & Biases, as `wandb login` or the variable WANDB_MODE, such as offline, says.

    Args:
        folder: where wandb keeps its files.

    Raises:
        MissingPackage: wandb is not installed.

    Example:
        >>> from hardfirst.integrations import RunRecorder
        >>> settings = {"problem": "mine", "balancer": "dtp", "seed": 0}
        >>> recorder = RunRecorder("runs/mine", settings, also=[WandB("runs/mine")])  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path = ".") -> None:
        self._wandb, self._folder = _imported("wandb", "wandb", "wandb"), Path(folder)
        self._run: Any = None
        self._options: dict[str, Any] = {}

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        project, config = re.sub(r"[/\\#?%:]", "-", str(settings["problem"])), dict(settings)
        self._options = {"project": project, "name": name, "config": config, "id": token_hex(4)}
        self._begin()

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        ended = self._run is None  # test figures may come after the end
        run = self._begin() if ended else self._run
        run.log({"epoch": epoch, **figures})
        if ended:
            self._finish(0)

    def end(self, outcome: str) -> None:
        self._run.summary["outcome"] = outcome
        self._finish(0 if outcome == "finished" else 1)

    def _begin(self) -> Any:
        self._folder.mkdir(parents=True, exist_ok=True)
        silent = self._wandb.Settings(silent=True)
        self._run = self._wandb.init(dir=str(self._folder), resume="allow", settings=silent, **self._options)
        return self._run

    def _finish(self, code: int) -> None:
        self._run.finish(exit_code=code)
        self._run = None


class MLflow(Tracker):
    """Sends runs to MLflow, in an experiment with the problem's name, where the variable MLFLOW_TRACKING_URI says.

    Args:
        folder: unused; MLflow has its own place for files.

    Raises:
        MissingPackage: mlflow is not installed.

    Example:
        >>> from hardfirst.integrations import RunRecorder
        >>> settings = {"problem": "mine", "balancer": "dtp", "seed": 0}
        >>> recorder = RunRecorder("runs/mine", settings, also=[MLflow()])  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path = ".") -> None:
        self._client = _imported("mlflow", "mlflow", "mlflow").MlflowClient()
        self._metric, self._run = _imported("mlflow.entities", "mlflow", "mlflow").Metric, ""

    def start(self, name: str, settings: Mapping[str, Any]) -> None:
        client, problem = self._client, str(settings["problem"])
        experiment = client.get_experiment_by_name(problem)
        identity = client.create_experiment(problem) if experiment is None else experiment.experiment_id
        self._run = client.create_run(identity, run_name=name).info.run_id
        for key, value in settings.items():
            client.log_param(self._run, key, value)

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [
            self._metric(re.sub(r"[^\w\-. /:]", "_", name), figure, timestamp=now, step=epoch)
            for name, figure in figures.items()
        ]
        self._client.log_batch(self._run, metrics=metrics)

    def end(self, outcome: str) -> None:
        self._client.set_tag(self._run, "outcome", outcome)
        self._client.set_terminated(self._run, "FINISHED" if outcome == "finished" else "FAILED")


TRACKERS: Mapping[str, type[TensorBoard | WandB | MLflow]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
"""The trackers of `--log` by name."""


class FolderLog:
    """Sends the runs of a folder that have ended to a tracker, each once.

    Which ones were sent is in the folder, so that a resumed study sends what is new, and a study that began without a
    tracker sends everything.

    Args:
        folder: of the study or run.
        name: in `TRACKERS`.

    Raises:
        InputError: there is no such tracker.
        MissingPackage: its package is not installed.
    """

    def __init__(self, folder: Path, name: str) -> None:
        check_names("tracker", [name], TRACKERS)
        self.folder, self._list = folder, folder / "trials" / f".{name}.txt"
        self._send = Guarded(TRACKERS[name](folder))

    def update(self) -> None:
        """Send the runs that have ended and were not sent before. What a tracker raises is said once, and breaks nothing."""
        self._send.attempt(self._update)

    def _update(self) -> None:
        sent = set(self._list.read_text().split()) if self._list.exists() else set[str]()
        for path in sorted((self.folder / "trials").glob("*.jsonl")):
            if path.stem not in sent and (lines := _ended_run(path)):
                for line in lines:
                    self._send.function(line)
                with self._list.open("a") as file:
                    file.write(f"{path.stem}\n")


class Guarded:
    """Calls a function with lines of a record. The first error that it raises is said, and it is not called again."""

    def __init__(self, function: Callable[[Line], object]) -> None:
        self.function, self.failed = function, False

    def __call__(self, line: Line) -> None:
        """Pass the line on."""
        self.attempt(lambda: self.function(line))

    def attempt(self, action: Callable[[], object]) -> None:
        """Call an action of the function, unless one has failed."""
        if self.failed:
            return
        try:
            action()
        except Exception as error:  # a tracker's server, disk or package may fail in any way
            self.failed = True
            name = getattr(self.function, "__name__", type(self.function).__name__)
            warn_caller(
                f"{name} failed and gets nothing more: {type(error).__name__}, {' '.join(str(error).split()):.300}. "
                "Training and records are not affected."
            )


def _ended_run(path: Path) -> list[dict[str, Any]]:
    """The lines of a record; none of a run that will be tried again, or of a damaged record, which the report names."""
    try:
        lines = parse_lines(path)
    except InputError:
        return []
    return lines if lines and lines[-1].get("outcome") in ("finished", "diverged") else []


def _name(settings: Mapping[str, Any]) -> str:
    only = f" {settings['only']} alone" if settings.get("only") else ""
    return f"{settings['balancer']}{only} seed {settings['seed']} {record_key(settings)[:6]}"


def _flat(figures: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """The finite numbers of nested figures, by their path."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            yield f"{prefix}{name}", float(value)


def _imported(module: str, package: str, install: str) -> Any:
    """Import a tracker's module, or raise `MissingPackage`."""
    try:
        return import_module(module)
    except ImportError:
        raise MissingPackage(f"The tracker {package} is not installed: pip install {install}") from None
