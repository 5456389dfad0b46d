"""Files that are replaced as a whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hardfirst.errors import writing


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which takes the name `path` when the `with` block ends without an error.

    A reader sees the old content or the new, never a part. The process id is in the temporary name, so that two processes
    do not write to the same file.

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
    try:
        with writing(path):
            yield part
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file by `replaced_file`.

    Raises:
        InputError: it cannot be written; the old content stays.
    """
    with replaced_file(path) as part:
        part.write_text(text, encoding="utf-8")
