"""A study's folder: what was asked for, and a record for each trial under a name made from its content.

study.json            title, command, and the keys of the trials that belong to the study
trials/KEY.jsonl      one record a trial; it appears when the trial has ended, by atomic rename
report.html           the page
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from hardfirst import record
from hardfirst.errors import InputError
from hardfirst.record import Record


class Store:
    """Reads and writes a study's folder.

    Args:
        folder: where the study lives; made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def page(self) -> Path:
        """Where the page goes."""
        return self.folder / "report.html"

    def record_file(self, key: str) -> Path:
        """Where a trial's record is once the trial has ended."""
        return self.folder / "trials" / f"{key}.jsonl"

    def part_file(self, key: str) -> Path:
        """Where a trial writes while it runs."""
        return self.folder / "trials" / f".{key}.part"

    def begin(self, title: str, keys: list[str], command: str | None) -> None:
        """Say what the study is.

        Raises:
            InputError: the folder cannot be written to.
        """
        try:
            (self.folder / "trials").mkdir(parents=True, exist_ok=True)
            study = {"title": title, "command": command, "trials": keys}
            record.write_atomically(self.folder / "study.json", json.dumps(study, indent=1) + "\n")
        except OSError as error:
            raise InputError(f"The folder {self.folder} cannot be written to: {error.strerror}.") from error

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Whether this process has the trial to itself for the time of the `with` block.

        A lock of the operating system, which ends with its process however that ends; it holds between machines where the
        shared folder's file system has locks. On Windows every claim is granted.
        """
        path = self.folder / "trials" / f".{key}.lock"
        with path.open("w") as file:
            mine = _lock(file) and _same(path, file)  # or its holder has just removed it
            try:
                yield mine
            finally:
                if mine:
                    path.unlink()

    def ended(self, key: str) -> bool:
        """Whether the trial has an outcome that stands; a failure does not, since it may have been the machine's."""
        path = self.record_file(key)
        return path.exists() and record.read(path).outcome in ("finished", "diverged")

    def about(self) -> dict[str, Any]:
        """What `begin` wrote.

        Raises:
            InputError: the folder holds no study, or its description is damaged.
        """
        path = self.folder / "study.json"
        if not path.exists():
            raise InputError(f"There is no study in {self.folder}: it has no study.json.")
        try:
            study: dict[str, Any] = json.loads(path.read_text())
            return {"title": str(study["title"]), "command": study["command"], "trials": list(study["trials"])}
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is damaged; run the same `hardfirst compare` again to mend it.") from None

    def records(self) -> list[Record]:
        """The records of the study's trials that have ended.

        Raises:
            InputError: a record is damaged; the sentence names the file.
        """
        paths = [self.record_file(key) for key in self.about()["trials"]]
        return [record.read(path) for path in paths if path.exists()]


def _same(path: Path, file: TextIO) -> bool:
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lock(file: TextIO) -> bool:
    """Take the file's lock if it is free."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
