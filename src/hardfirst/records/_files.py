"""Files that are replaced as a whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file so that a reader sees the old content or the new, never a part.

    The block writes to the path that it gets, which is in the same folder and replaces `path` when the block ends. After
    an error `path` is as before, and the part is removed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "weights.txt")) as part:
        ...         _ = part.write_text("0.5 2.0")
        ...     Path(folder, "weights.txt").read_text()
        '0.5 2.0'
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
