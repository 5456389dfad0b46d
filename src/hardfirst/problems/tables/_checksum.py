"""The checksum of a table's file, computed once in a process."""

import hashlib
import time
from functools import lru_cache
from pathlib import Path

from hardfirst.errors import InputError

_SETTLED = 2.0  # seconds after which each change of a file also changes its time, on every file system


def sha256(path: Path) -> str:
    """Return the SHA-256 of a table's bytes, computed once in a process unless the file changes.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        stamp = path.stat()
        if path.is_dir():
            raise InputError(f"{path} is a folder; a table is a file.")
        if not path.is_file():
            raise InputError(f"{path} is not a regular file; a table is a file.")
        if time.time() - max(stamp.st_mtime, stamp.st_ctime) < _SETTLED:
            return _sha256_of(path)
        return _sha256(path, stamp.st_ino, stamp.st_size, stamp.st_mtime_ns, stamp.st_ctime_ns)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None


@lru_cache(maxsize=16)
def _sha256(path: Path, *stamp: int) -> str:
    return _sha256_of(path)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
