"""Writes a study's folder: its description, and which process has which trial."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hardfirst.errors import writing
from hardfirst.records import write_atomically
from hardfirst.records.description import Description
from hardfirst.records.study_folder import StudyFolder


class Store(StudyFolder):
    """Reads and writes a study's folder, which is created when something is written."""

    def begin(self) -> None:
        """Create the folder and remove the records of failed trials, so that they run again: the machine may have failed.

        Raises:
            InputError: the folder cannot be written to.
        """
        with writing(self.folder):
            (self.folder / "trials").mkdir(parents=True, exist_ok=True)
            for path in (self.folder / "trials").glob("*.jsonl"):
                if not self.ended(path.stem):
                    path.unlink()
                    self.forget(path.stem)

    def describe(self, description: Description) -> None:
        """Write study.json.

        Raises:
            InputError: the folder cannot be written to.
        """
        write_atomically(self.folder / "study.json", description.model_dump_json(indent=1) + "\n")

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Whether this process has the trial to itself for the duration of the `with` block.

        The claim is a lock of the operating system, which ends with its process however that ends. It holds between machines
        if the file system of a shared folder has locks. On Windows every claim is granted.
        """
        path = self.folder / "trials" / f".{key}.lock"
        with writing(path):
            file = path.open("w")
        with file:
            mine = _lock(file) and _same(path, file)  # its last holder may just have removed the file
            try:
                yield mine
            finally:
                if mine:
                    path.unlink()


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
