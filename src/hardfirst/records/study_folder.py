"""A study's folder: its plan, and one record per trial, named by a hash of the trial's content.

study.json            title, command, the plan, and the role of each trial
trials/KEY.jsonl      one record per trial; it appears by atomic rename when the trial has ended
models/METHOD.pt      the trained network of a method's best run, if networks are kept
trials/.DIGEST.table  a table as tensors for the workers, while the study runs
cost.json             the cost of a step of each method, if it was measured
trees.json            the KPIs of gradient-boosted trees, in a study of tables
report.html           the page
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from hardfirst._text import printable_json
from hardfirst.errors import InputError
from hardfirst.records.description import CaseTrials, Description, Entry, Run
from hardfirst.records.files import read_text
from hardfirst.records.old_folders import controlled_method, has_constant_weights
from hardfirst.records.run_record import Record, read


class StudyFolder:
    """Reads a study's folder.

    Args:
        folder: the folder of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, Record] = {}
        self.damaged: dict[str, str] = {}
        """The errors in the records that `runs` and `all_runs` left out, by key."""

    @property
    def page(self) -> Path:
        """The path of the page."""
        return self.folder / "report.html"

    @property
    def cost_file(self) -> Path:
        """The path of the measured costs."""
        return self.folder / "cost.json"

    @property
    def tables(self) -> Path:
        """The folder of prepared tables, which are there while the study runs."""
        return self.folder / "trials"

    @property
    def trees_file(self) -> Path:
        """The path of what gradient-boosted trees reach."""
        return self.folder / "trees.json"

    def record_file(self, key: str) -> Path:
        """Return the path of a trial's record, which exists once the trial has ended."""
        return self.folder / "trials" / f"{key}.jsonl"

    def part_file(self, key: str) -> Path:
        """Return the path that a trial writes to while it runs."""
        return self.folder / "trials" / f".{key}.part"

    def model_file(self, key: str) -> Path:
        """The path of a trial's trained network, until the study has chosen the best one of each method."""
        return self.folder / "trials" / f"{key}.pt"

    def ended(self, key: str) -> bool:
        """Return whether the trial has a final outcome. A failure is not final, since the machine may have caused it."""
        record = self.find(key)
        return record is not None and record.outcome in ("finished", "diverged")

    def find(self, key: str) -> Record | None:
        """Return the trial's record; None while the trial has not ended.

        Raises:
            InputError: the record is damaged; the message names the file.
        """
        if key not in self._records:
            try:
                record = read(self.record_file(key))
            except FileNotFoundError:
                return None
            if not {"problem", "balancer", "seed"} <= {name for name, value in record.trial.items() if value is not None}:
                raise InputError(f"{self.record_file(key)} lacks the problem, balancer or seed of its run.")
            self._records[key] = record
        return self._records[key]

    def forget(self, key: str) -> None:
        """Drop the cached record, so that the next `find` reads the file again."""
        self._records.pop(key, None)

    def about(self) -> Description:
        """Read study.json.

        Raises:
            InputError: the folder does not contain a study, or study.json is damaged.
        """
        path = self.folder / "study.json"
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file; a study is a folder, such as runs/digits.")
        if not self.described:
            raise InputError(
                f"There is no study in {self.folder}: it has no study.json. Give the folder of a study or a run."
            )
        try:
            text = read_text(path)
            return Description.model_validate(printable_json(text, json.loads(text)))
        except InputError:
            raise
        except (ValueError, RecursionError):
            raise InputError(f"{path} is damaged. Run the same command again to repair it.") from None

    @property
    def described(self) -> bool:
        """Whether study.json exists."""
        return (self.folder / "study.json").exists()

    def all_runs(self) -> list[Run]:
        """Return all runs in the folder that have ended, each as a run of the method that its record names.

        Damaged records are left out and added to `damaged`.
        """
        keys = [path.stem for path in sorted((self.folder / "trials").glob("*.jsonl"))]
        records = [record for key in keys if (record := self._undamaged(key)) is not None]
        return as_runs(record for record in records if record.test or record.outcome != "finished")

    def runs(self, case: CaseTrials) -> list[Run]:
        """Return the runs of a case that have ended. Damaged records are left out and added to `damaged`."""
        records = [(entry, self._undamaged(entry.key)) for entry in case.trials]
        return completed([Run(entry, record) for entry, record in records if record is not None])

    def _undamaged(self, key: str) -> Record | None:
        try:
            return self.find(key)
        except InputError as error:
            self.damaged[key] = str(error)
            return None


def as_runs(records: Iterable[Record]) -> list[Run]:
    """Convert records without a study to runs of the methods that they name."""
    return completed([Run(Entry(key="", method=str(record.trial["balancer"])), record) for record in records])


def completed(runs: Sequence[Run]) -> list[Run]:
    """Fill in what study.json does not say about the runs, from the names of methods."""
    controlled = controlled_method(runs)
    return [Run(_completed(run.entry, controlled), run.record) for run in runs]


def _completed(entry: Entry, controlled: str | None) -> Entry:
    if entry.constant_weights is None and entry.role == "method" and has_constant_weights(entry.method):
        return entry.model_copy(update={"constant_weights": True})
    if entry.control_of is None and entry.role == "control":
        return entry.model_copy(update={"control_of": controlled})
    return entry
