"""The run record: one JSON object per line, the same for every host, read and written without torch.

The first line describes the run. One line per epoch, one for the test split, and one for the outcome follow::

    {"kind": "trial", "schema": 1, "trial": {...}, "tasks": [...], "parameters": 9549, "made_with": {"command": ...,
     "devices": 1, "device": "cpu", "versions": {...}}}
    {"kind": "epoch", "epoch": 1, "seconds": 0.4, "learning_rate": 0.001, "tasks": {"depth": {"loss": 0.7, "kpi": 0.4,
     "weight": 1.2, "validation_loss": 0.6, "validation_kpi": 0.5, "validation_metrics": {...},
     "validation_examples": 80}, ...}}
    {"kind": "test", "epoch": 1, "tasks": {"depth": {"loss": 0.6, "kpi": 0.5, "metrics": {...}, "examples": 80}, ...}}
    {"kind": "end", "outcome": "finished", "reason": null, "seconds": 0.5, "memory": 3e8}

Numbers that are NaN, infinite or above 1e100 are written as null and read back as NaN. `weight` is the mean over the epoch's
steps of ∂total/∂loss, for any method; `memory` is the peak in bytes, of the process or, on a GPU, of its tensors, summed
over the devices. `examples` counts the labelled ones: a null KPI is undefined if there are some, and has no labels if there
are none; records of earlier versions lack it. A run that only served to choose settings has no line for the test split. For
trials that were trained together, `vectorized` in `made_with` is their number, and seconds and memory are a trial's share of
the total. If metrics are shares of a loss, the first line has `"loss_shares": {"depth": {"METRIC": {"hardest": 3, "kind":
"background", "under": null}}}`; the measures over which published Δm averages are in `"measures": {"depth": [{"name": "L1",
"higher_is_better": false, "single_task": 0.675}]}`; KPIs that have a name have it in `"kpis": {"depth": "within, threshold
0.25"}`. If a method put network and optimizer back to step 0, the line of that epoch has the number of steps before it,
`"restarted": 57`, and no earlier epoch is selected. With the setting `last_epochs` no epoch is selected: the figures of the
test line are means over the `averaged` last ones, up to `epoch`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from hardfirst.errors import InputError
from hardfirst.records._schema import FIELDS, invalid_field, parse_line
from hardfirst.records.files import read_text
from hardfirst.records.loss_share import LossShare, LossShares, from_old_names
from hardfirst.records.measures import KPI, Measures, PublishedMeasure
from hardfirst.records.objective import Objective
from hardfirst.records.scores import is_undefined, score

SCHEMA = 1


@dataclass
class Record:
    """One run: its settings, its measurements in each epoch and on the test split, and its outcome.

    `epochs` and `test` contain the lines as written (see the module's docstring); `outcome` is "finished", "diverged" or
    "failed", and None while the run is in progress. `loss_shares` gives, by task, the metrics that are shares of a loss.
    `auxiliary` are the tasks without a KPI: their losses and weights are in the lines, but they are not in `tasks`.
    `measures` are, by task, the measures over which published Δm averages, and `kpis` the names of the KPIs that have
    one.

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
    loss_shares: LossShares = field(default_factory=dict)
    auxiliary: tuple[str, ...] = ()
    measures: Measures = field(default_factory=dict)
    kpis: Mapping[str, str] = field(default_factory=dict)

    @property
    def criterion(self) -> str:
        """The objective by which the epoch is selected."""
        return str(self.trial.get("criterion") or "mean")

    def test_kpi(self, task: str) -> float:
        """Return the task's KPI on the test split at the selected epoch; NaN if the run did not get that far."""
        return float(self.test["tasks"][task]["kpi"]) if self.test else math.nan

    def test_metrics(self, task: str) -> Mapping[str, float]:
        """Return the task's metrics on the test split by name; empty if the run did not get that far."""
        metrics: Mapping[str, float] = self.test["tasks"][task].get("metrics", {}) if self.test else {}
        return metrics

    def test_value(self, task: str, measure: str) -> float:
        """Return a metric of the task on the test split, or its KPI for "KPI"; NaN if there is none."""
        return self.test_kpi(task) if measure == KPI else self.test_metrics(task).get(measure, math.nan)

    @property
    def restarted(self) -> int | None:
        """The number of steps before network and optimizer went back to step 0; None if they did not."""
        return self.candidates[0].get("restarted") if self.epochs else None

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """The epochs that may be selected: those from a restart on; all if there was none."""
        restart = next((number for number, line in enumerate(self.epochs) if line.get("restarted") is not None), 0)
        return self.epochs[restart:]

    def means_over_last(self, count: int) -> dict[str, dict[str, Any]]:
        """Average each task's validation figures over the last epochs, under the names of test figures."""
        lines = self.candidates[-count:]
        return {
            task: _means([_validation(line["tasks"][task]) for line in lines]) for task in (*self.tasks, *self.auxiliary)
        }

    def selected(self, measure: str | None = None) -> tuple[int, float]:
        """Return the best epoch on the validation split, and its score; (0, NaN) if no epoch has one.

        Epochs are compared by `score` with the trial's criterion; the first of equal epochs wins. It is the last one if the
        test figures are means over the last epochs.

        Args:
            measure: what the returned score is of, an objective; it has no part in the choice of the epoch. Default: the
                criterion.
        """
        criterion = self.criterion
        best, value = None, math.nan
        for line in self.candidates:
            new = self._score(line, criterion)
            if not math.isnan(new) and (self.trial.get("last_epochs") or not new <= value):
                best, value = line, new
        return (0, math.nan) if best is None else (best["epoch"], self._score(best, measure or criterion))

    def _score(self, line: Mapping[str, Any], criterion: str) -> float:
        """The epoch's score on the validation split."""
        return score({task: line["tasks"].get(task, {}) for task in self.tasks}, criterion, "validation_")

    def validation_kpi(self, task: str, *, undefined: float = math.nan) -> float:
        """Return the task's KPI on the validation split at the selected epoch; NaN if there is none.

        Args:
            task: its name.
            undefined: returned if the task has labels and its KPI is undefined; 0, the worst, for rankings of tasks.
        """
        epoch, _ = self.selected()
        figures: dict[str, Any] = next((line["tasks"][task] for line in self.epochs if line["epoch"] == epoch), {})
        return undefined if is_undefined(figures, "validation_") else float(figures.get("validation_kpi", math.nan))

    def curve(self, task: str, what: str) -> list[float]:
        """Return one value per epoch, e.g. `curve("depth", "validation_kpi")`."""
        return [float(line["tasks"][task].get(what, math.nan)) for line in self.epochs]

    def mean_weight(self, task: str) -> float:
        """Return the task's effective weight, averaged over the epochs that have one; NaN if none has."""
        weights = [weight for weight in self.curve(task, "weight") if not math.isnan(weight)]
        return sum(weights) / len(weights) if weights else math.nan


def read(path: Path) -> Record:
    """Read one record.

    An incomplete last line is ignored: the run is being written, or its machine died.

    Raises:
        InputError: the file is not a record, is damaged, or has a newer schema.
        FileNotFoundError: the file does not exist.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from hardfirst.records import Writer
        >>> with TemporaryDirectory() as folder:
        ...     path = Path(folder) / "run.jsonl"
        ...     Writer(path).trial({"problem": "mine", "balancer": "equal", "seed": 0}, ["depth"])
        ...     record = read(path)
        >>> record.trial["balancer"], math.isnan(record.test_kpi("depth"))
        ('equal', True)
    """
    lines = parse_lines(path)
    if not lines or lines[0]["kind"] != "trial":
        raise _not_a_record(path, "the first line should describe the trial")
    first = lines[0]
    record = Record(first["trial"], tuple(first["tasks"]), first["made_with"], parameters=first.get("parameters"))
    record.auxiliary = tuple(first.get("auxiliary") or ())
    if set(record.auxiliary) & set(record.tasks):
        raise _not_a_record(path, "a task of line 1 is both auxiliary and not")
    _check_criterion(record, path)
    for number, line in enumerate(lines[1:], start=2):
        if not set(line.get("tasks", ())) <= {*record.tasks, *record.auxiliary}:
            raise _not_a_record(path, f"line {number} is about other tasks than line 1")
        if line["kind"] == "trial":
            raise _not_a_record(path, f"line {number} is a second header")
        _add_line(record, line)
    record.loss_shares = _loss_shares(record, first.get("loss_shares"))
    record.kpis = first.get("kpis") or {}
    measures = first.get("measures") or {}
    record.measures = {task: tuple(PublishedMeasure(**measure) for measure in of_task) for task, of_task in measures.items()}
    return record


def _check_criterion(record: Record, path: Path) -> None:
    try:
        objective = Objective.parse(record.criterion, record.tasks)
    except InputError as error:
        raise _not_a_record(path, f"its criterion is no objective: {str(error).rstrip('.')}") from None
    if objective.needs_hard:
        raise _not_a_record(path, f"its criterion {record.criterion!r} does not name the hard tasks")


def _add_line(record: Record, line: dict[str, Any]) -> None:
    if line["kind"] == "epoch":
        seconds = math.nan if line["seconds"] is None else line["seconds"]
        record.epochs.append({**line, "seconds": seconds, "tasks": _by_task(record, line)})
    elif line["kind"] == "test":
        without = {task: {"kpi": math.nan} for task in record.tasks}
        tasks = {task: {**without.get(task, {}), **figures} for task, figures in _by_task(record, line).items()}
        record.test = {**line, "tasks": tasks}
    else:
        record.outcome, record.reason = line["outcome"], line["reason"]
        record.seconds, record.memory = (
            math.nan if line.get(name) is None else float(line[name]) for name in ("seconds", "memory")
        )


def _validation(figures: Mapping[str, Any]) -> dict[str, Any]:
    prefix = "validation_"
    return {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}


def _means(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average figures by name, where an entry may be figures by name itself; counts, which are equal, stay integers."""
    means: dict[str, Any] = {}
    for name, first in figures[0].items():
        values = [each[name] for each in figures]
        means[name] = _means(values) if isinstance(first, Mapping) else first if name == "examples" else fmean(values)
    return means


def _by_task(record: Record, line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line's figures for each task; empty for a task that the line leaves out."""
    return {task: line["tasks"].get(task, {}) for task in (*record.tasks, *record.auxiliary)}


def _loss_shares(record: Record, written: Mapping[str, Mapping[str, Mapping[str, Any]]] | None) -> LossShares:
    if written is None:
        return from_old_names({task: record.test_metrics(task) for task in record.tasks})
    return {task: {name: LossShare(**share) for name, share in by.items()} for task, by in written.items()}


def read_lines(path: Path) -> list[str]:
    """Return the file's lines, without an incomplete last one."""
    return read_text(path).split("\n")[:-1]


def parse_lines(path: Path) -> list[dict[str, Any]]:
    """Parse the lines of a record, and check each against the schema of its kind."""
    lines = []
    for number, text in enumerate(read_lines(path), start=1):
        try:
            line = _null_to_nan(parse_line(text))
        except ValueError as error:
            raise _not_a_record(path, f"line {number} is not JSON ({error})") from None
        if not isinstance(line, dict) or not isinstance(line.get("kind"), str):
            raise _not_a_record(path, f"line {number} has no kind")
        if isinstance(schema := line.get("schema"), int) and schema > SCHEMA:
            raise InputError(
                f"{path} was written by a newer hardfirst (schema {schema}; this version reads {SCHEMA}). Upgrade hardfirst."
            )
        if line["kind"] not in FIELDS:
            raise _not_a_record(path, f"line {number} has the unknown kind {line['kind']!r:.40}")
        if name := invalid_field(line):
            raise _not_a_record(path, f"`{name}` in line {number} is missing or invalid")
        lines.append(line)
    return lines


def _not_a_record(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is not a run record: {reason}. Restore it, or remove it: the study's command then runs its trial again."
    )


def _null_to_nan(line: Any) -> Any:
    """Replace null by NaN below "tasks", where null encodes a missing measurement."""
    tasks = line.get("tasks") if isinstance(line, dict) else None
    if isinstance(tasks, dict):
        line["tasks"] = {task: _nested_nan(values) for task, values in tasks.items()}
    return line


def _nested_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _nested_nan(item) for key, item in value.items()}
    return math.nan if value is None else value
