"""The base of all engines."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from hardfirst.records.study_folder import StudyFolder
from hardfirst.training import Trial


@dataclass(frozen=True)
class Assignment:
    """A trial, or several to be trained together, for a worker in another process or on another machine: it is pickled.

    Args:
        key: the name of the first trial's record, which is also the assignment's.
        trial: the first trial.
        folder: the study's.
        command: what the user typed, for the record.
        accelerator: as in Lightning Fabric.
        others: the further trials, by key.
        kept: the keys of the trials whose trained networks are saved in the study's folder.
    """

    key: str
    trial: Trial
    folder: Path
    command: str | None
    accelerator: str
    others: Mapping[str, Trial] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()

    @property
    def trials(self) -> dict[str, Trial]:
        """All trials by key."""
        return {self.key: self.trial, **self.others}

    def model_file(self, key: str) -> Path | None:
        """Where the trained network of a trial is saved; None if it is not kept."""
        return StudyFolder(self.folder).model_file(key) if key in self.kept else None


Status = Literal["recorded", "singly", "busy", "unwritable", "changed", "unguarded", "died"]


class Ended(NamedTuple):
    """How an assignment ended.

    Args:
        key: the assignment's.
        status: "recorded" if each trial has an outcome, whichever; "singly" if its trials cannot be trained together; "busy"
            if another process has a trial; "unwritable" if a record could not be written; "changed" if a file of the user's
            is not what it was when the trial was planned; "unguarded" if the worker began to run the user's script anew;
            "died" if its worker did not come to an end.
        reason: why the worker died, or why trials cannot be trained together.
        records: the records' texts by key, from a worker that does not share the study's folder.
        again: of a worker that died, whether another try may do better.
    """

    key: str
    status: Status
    reason: str = ""
    records: Mapping[str, str] | None = None
    again: bool = True


class Executor(ABC):
    """Starts trials somewhere, says which have ended, and stops them. `drive` does everything else.

    An engine is a subclass in a separate file and a row in `ENGINES`. Its keyword arguments are its options, which a spec
    such as `ray:cpus=2` gives; they are checked when it is made.
    """

    attempts: ClassVar[int] = 2
    """How often a trial is tried whose worker dies."""

    pulse: float = 0.5
    """Seconds between looks at which trials have ended and how far the others are."""

    shares_folder: ClassVar[bool] = True
    """Whether workers see the study's folder: they then claim their trial and write its record themselves."""

    @abstractmethod
    def check(self, accelerator: str) -> None:
        """Raise an error if the engine cannot run here; called before anything is started.

        Raises:
            MissingPackage: the engine's package is not installed.
            InputError: the machine lacks something else.
        """

    @abstractmethod
    def open(self, folder: Path, trials: Collection[Trial]) -> None:
        """Get ready to start trials.

        Args:
            folder: the study's.
            trials: the first ones, which tell what workers will need.

        Raises:
            InputError: a cluster does not answer.
        """

    @property
    @abstractmethod
    def room(self) -> int:
        """The number of trials that may run at a time, unless the user says how many; looked up once after `open`.

        Raises:
            InputError: there is no room for a single trial.
        """

    @abstractmethod
    def start(self, assignment: Assignment) -> None:
        """Start a trial and return at once."""

    @abstractmethod
    def ended(self, timeout: float) -> list[Ended]:
        """Return the started trials that have ended and were not returned before, after at most `timeout` seconds."""

    @abstractmethod
    def close(self) -> None:
        """Stop all trials that still run; called once after `open`, whatever has happened in between."""
