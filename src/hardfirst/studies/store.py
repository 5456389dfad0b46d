"""Writes a study's folder: its description, and which process has which trial."""

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from hardfirst.errors import InputError, writing
from hardfirst.records import write_atomically
from hardfirst.records.description import Description
from hardfirst.records.run_record import Record
from hardfirst.records.study_folder import StudyFolder
from hardfirst.training import trial_key

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""How a file system says that it has no locks: Lustre without `-o flock`, some of NFS and FUSE."""

_STALE = ".other-data"


class Store(StudyFolder):
    """Reads and writes a study's folder, which is created when something is written."""

    def begin(self) -> None:
        """Create the folder and remove the records of failed trials, so that they run again: the machine may have failed.

        Raises:
            InputError: the folder cannot be written to.
        """
        reader = StudyFolder(self.folder)  # also of records of older versions, whose keys were made in another way
        with writing(self.folder):
            (self.folder / "trials").mkdir(parents=True, exist_ok=True)
            for path in (self.folder / "trials").glob("*.jsonl"):
                if not reader.ended(path.stem):
                    path.unlink()
                    self.forget(path.stem)
            self._check_locks()

    def _check_locks(self) -> None:
        path = self.folder / "trials" / f".{os.getpid()}.lock"
        with path.open("w") as file:
            locks = _lock(file) is not None
        path.unlink(missing_ok=True)
        if not locks:
            warnings.warn(
                f"The file system of {self.folder} has no locks: do not run this study in two processes at a time, which "
                "would then train the same networks and write to the same files.",
                stacklevel=4,
            )

    def find(self, key: str) -> Record | None:
        """The trial's record; None while the trial has not ended.

        Raises:
            InputError: the record is damaged, or that of another trial; the message names the file.
        """
        record = super().find(key)
        if record is not None and trial_key(record.trial) != key:
            raise InputError(
                f"{self.record_file(key)} is the record of another run than its name says. Remove it: the same command then "
                "runs its trial again."
            )
        return record

    def records(self) -> Iterator[tuple[str, Record]]:
        """All records that the folder has, by key."""
        reader = StudyFolder(self.folder)
        for path in sorted((self.folder / "trials").glob("*.jsonl")):
            if (record := reader.find(path.stem)) is not None:
                yield path.stem, record

    def set_aside(self, key: str) -> None:
        """Rename a trial's record that is no longer right, so that the trial runs again."""
        path = self.record_file(key)
        with writing(path):
            path.replace(path.with_name(f"{path.name}{_STALE}"))
        self.forget(key)

    def describe(self, description: Description) -> None:
        """Write study.json.

        Raises:
            InputError: the folder cannot be written to.
        """
        write_atomically(self.folder / "study.json", description.model_dump_json(indent=1) + "\n")

    def refusal_file(self, key: str) -> Path:
        """Where a worker says why it cannot train a block of trials together; `key` is that of the first."""
        return self.folder / "trials" / f".{key}.singly"

    def take_refusal(self, key: str) -> str:
        """The reason in `refusal_file`, which is removed."""
        path = self.refusal_file(key)
        with suppress(OSError):
            reason = path.read_text()
            path.unlink()
            return reason
        return "its worker does not say why"

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Whether this process has the trial to itself for the duration of the `with` block.

        The claim is a lock of the operating system, which ends with its process however that ends. It holds between machines
        if the file system of a shared folder has locks. Without locks, and on Windows, every claim is granted.
        """
        path = self.folder / "trials" / f".{key}.lock"
        with writing(path):
            file = path.open("w")
        with file:
            mine = _lock(file) is not False and _same(path, file)  # its last holder may just have removed the file
            try:
                yield mine
            finally:
                if mine:
                    path.unlink(missing_ok=True)  # without locks, another process may have removed it


def _same(path: Path, file: TextIO) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESTALE):  # the latter where another machine has removed it
            return False
        raise


def _lock(file: TextIO) -> bool | None:
    """Take the file's lock if it is free; None where there are no locks."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True
