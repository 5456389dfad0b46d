"""A study's folder: what was asked for, and a record for each trial under a name made from its content.

study.json            title, command, the plan, and what each trial is in it
trials/KEY.jsonl      one record a trial; it appears when the trial has ended, by atomic rename
cost.json             what a step of each method costs, where that has been measured
report.html           the page
"""

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, model_validator

from hardfirst.errors import InputError
from hardfirst.records.names import Role
from hardfirst.records.run_record import Record, read


class Entry(BaseModel):
    """What a trial is in a study.

    Args:
        key: the name of its record.
        method: what it counts for: a spec as the user wrote it, "single-task", "static weights", …
        role: "method" for what is compared, "static" for the static weights chosen from a grid, "grid" for one of those that
            are shown whole, "single" for a single-task network, "control" for a variant of DTP, "order" for one of many
            orders of tasks, or with `tuning` for the run that decides an order.
        tuning: whether it only served to choose settings, and never saw the test split.
        control_of: for a control, the method that it is a variant of; None in older folders.
    """

    key: str
    method: str
    role: Role = "method"
    tuning: bool = False
    control_of: str | None = None


class CaseTrials(BaseModel):
    """The trials of one problem and network, and the method that the others are held against."""

    problem: str
    network: str
    trials: list[Entry]
    baseline: str = "equal"


class Description(BaseModel):
    """What study.json holds; `plan` is what a YAML file of the study would, `kind` the kind of study."""

    title: str
    command: str | None
    cases: list[CaseTrials]
    plan: dict[str, Any] = {}
    kind: str = "balancers"

    @model_validator(mode="before")
    @classmethod
    def _infer_kind(cls, content: Any) -> Any:
        """Older folders say what kind of study they hold by a setting of the plan."""
        if isinstance(content, dict) and "kind" not in content and isinstance(plan := content.get("plan"), dict):
            return content | {"kind": next((kind for kind in ("losses", "orders") if plan.get(kind)), "balancers")}
        return content


class Run(NamedTuple):
    """A record, and what it is in the study: see `Entry`."""

    record: Record
    method: str
    role: Role = "method"
    tuning: bool = False


class StudyFolder:
    """Reads a study's folder.

    Args:
        folder: where the study lives.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._found: dict[str, Record] = {}
        self.damaged: dict[str, str] = {}
        """By key, what is wrong with the records that `runs` and `all_runs` have left out."""

    @property
    def page(self) -> Path:
        """Where the page goes."""
        return self.folder / "report.html"

    @property
    def cost_file(self) -> Path:
        """Where measured costs go."""
        return self.folder / "cost.json"

    def record_file(self, key: str) -> Path:
        """Where a trial's record is once the trial has ended."""
        return self.folder / "trials" / f"{key}.jsonl"

    def part_file(self, key: str) -> Path:
        """Where a trial writes while it runs."""
        return self.folder / "trials" / f".{key}.part"

    def ended(self, key: str) -> bool:
        """Whether the trial has an outcome that stands; a failure does not, since it may have been the machine's."""
        found = self.find(key)
        return found is not None and found.outcome in ("finished", "diverged")

    def find(self, key: str) -> Record | None:
        """The trial's record; None while it has not ended.

        Raises:
            InputError: the record is damaged; the sentence names the file.
        """
        if key not in self._found:
            try:
                found = read(self.record_file(key))
            except FileNotFoundError:
                return None
            if not {"problem", "balancer", "seed"} <= {name for name, value in found.trial.items() if value is not None}:
                raise InputError(f"{self.record_file(key)} does not say of which problem, balancer and seed it is.")
            self._found[key] = found
        return self._found[key]

    def about(self) -> Description:
        """What `describe` wrote.

        Raises:
            InputError: the folder holds no study, or its description is damaged.
        """
        path = self.folder / "study.json"
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder} is a file; a study is a folder, such as runs/digits.")
        if not self.described:
            raise InputError(
                f"There is no study in {self.folder}: it has no study.json. Give the folder of a study or a run."
            )
        try:
            return Description.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from None
        except ValueError:
            raise InputError(f"{path} is damaged; run the same command again to mend it.") from None

    @property
    def described(self) -> bool:
        """Whether there is a study.json."""
        return (self.folder / "study.json").exists()

    def all_runs(self) -> list[Run]:
        """All runs in the folder that have ended, each as a run of the method that its record names.

        A damaged record is left out, and `damaged` says so.
        """
        found = [self._sound(path.stem) for path in sorted((self.folder / "trials").glob("*.jsonl"))]
        records = [record for record in found if record is not None]
        return [
            Run(record, str(record.trial["balancer"])) for record in records if record.test or record.outcome != "finished"
        ]

    def _sound(self, key: str) -> Record | None:
        try:
            return self.find(key)
        except InputError as error:
            self.damaged[key] = str(error)
            return None

    def runs(self, case: CaseTrials) -> list[Run]:
        """The runs of a case that have ended; a damaged record is left out, and `damaged` says so."""
        found = [(self._sound(entry.key), entry) for entry in case.trials]
        return [Run(record, entry.method, entry.role, entry.tuning) for record, entry in found if record is not None]
