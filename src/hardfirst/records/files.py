"""Files of a study: reading them, replacing them atomically, and naming records."""

import glob
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hardfirst.errors import InputError, writing

LARGEST = 2**28
"""The size in bytes up to which a file is read, 10 times that of a record of 100,000 epochs of three tasks."""


def read_text(path: Path) -> str:
    """Read a text file of a study. Replaces bytes that are not UTF-8.

    Raises:
        InputError: it is not a regular file (a pipe would block, a device would never end), is too large, or is unreadable.
        FileNotFoundError: it does not exist.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path} is not a regular file. Remove it.")
        if status.st_size > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST >> 20} MiB, the limit for files of a study. Remove it.")
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


_STALE = 86_400.0  # seconds after which no process still writes to a temporary file


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` when the `with` block ends without an error.

    A reader sees the old content or the new, never a part. The temporary name contains the process id, so that two processes
    do not write to the same file; files left by killed processes are removed after a day.

    Raises:
        InputError: the file cannot be written; the old content stays.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replaced_file(Path(folder) / "numbers.bin") as part:
        ...         size = part.write_bytes(b"123")
        ...     [path.name for path in Path(folder).iterdir()]
        ['numbers.bin']
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    remove_parts(path, older_than=_STALE)
    try:
        with writing(path):
            yield part
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remove_parts(path: Path, *, older_than: float = 0.0) -> None:
    """Remove the temporary files of processes that were killed while they replaced this file.

    Args:
        path: the file.
        older_than: seconds since a temporary file was last written to; 0 only if no other process writes this file.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError):
            if time.time() - part.lstat().st_mtime >= older_than:
                part.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file atomically, by `replaced_file`.

    Raises:
        InputError: the file cannot be written; the old content stays.
    """
    with replaced_file(path) as part:
        part.write_text(text, encoding="utf-8")


def record_key(content: Mapping[str, Any]) -> str:
    """Return the name of a record file: 16 hex digits of a hash of the settings that identify the run.

    >>> record_key({"balancer": "dtp", "seed": 0}) == record_key({"seed": 0, "balancer": "dtp"})
    True
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
