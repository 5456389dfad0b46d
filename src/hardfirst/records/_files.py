"""Files that are replaced as a whole, and the names of record files."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, remove it if the block fails.

    A reader sees the old content or the new, never a part.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "study.json"
    ...     with atomic_path(path) as part:
    ...         _ = part.write_text("{}")
    ...         path.exists()
    ...     path.read_text()
    False
    '{}'
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def record_key(content: Mapping[str, Any]) -> str:
    """The name of a record file: 16 hex digits of a hash of the settings that identify the run.

    >>> record_key({"balancer": "dtp", "seed": 0}) == record_key({"seed": 0, "balancer": "dtp"})
    True
    """
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
