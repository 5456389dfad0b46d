"""Files that are replaced as a whole, and the names of record files."""

import glob
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hardfirst.errors import writing

_STALE = 86_400.0  # seconds after which nobody writes to a part any more


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which takes the name `path` when the `with` block ends without an error.

    A reader sees the old content or the new, never a part. The process id is in the temporary name, so that two processes
    do not write to the same file; what killed processes have left is removed after a day.

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
        older_than: seconds since a temporary file was last written to; 0 only where nobody else writes this file.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with suppress(OSError):
            if time.time() - part.lstat().st_mtime >= older_than:
                part.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Write a text file by `replaced_file`.

    Raises:
        InputError: it cannot be written; the old content stays.
    """
    with replaced_file(path) as part:
        part.write_text(text, encoding="utf-8")


def record_key(content: Mapping[str, Any]) -> str:
    """The name of a record file: 16 hex digits of a hash of the settings that identify the run.

    >>> record_key({"balancer": "dtp", "seed": 0}) == record_key({"seed": 0, "balancer": "dtp"})
    True
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
