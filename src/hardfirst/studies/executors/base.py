"""The base of all engines."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from hardfirst.training import Trial


@dataclass(frozen=True)
class Assignment:
    """A trial for a worker, which may be in another process or on another machine: it is pickled.

    Args:
        key: the name of the trial's record.
        trial: what is trained.
        folder: the study's.
        command: what the user typed, for the record.
        accelerator: as in Lightning Fabric.
    """

    key: str
    trial: Trial
    folder: Path
    command: str | None
    accelerator: str


Status = Literal["recorded", "busy", "unwritable", "changed", "unguarded", "died"]


class Ended(NamedTuple):
    """How an assignment ended.

    Args:
        key: the trial's.
        status: "recorded" if the trial has an outcome, whichever; "busy" if another process has the trial; "unwritable" if
            its record could not be written; "changed" if a file of the user's is not what it was when the trial was planned;
            "unguarded" if the worker began to run the user's script anew; "died" if its worker did not come to an end.
        reason: of a worker that died, why.
        record: the record's text, from a worker that does not share the study's folder.
        again: of a worker that died, whether another try may do better.
    """

    key: str
    status: Status
    reason: str = ""
    record: str | None = None
    again: bool = True


class Executor(ABC):
    """Starts trials somewhere, says which have ended, and stops them. `drive` does everything else.

    An engine is a subclass in a file of its own and a row in `ENGINES`. Its keyword arguments are its options, which a spec
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
