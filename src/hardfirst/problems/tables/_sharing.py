"""Prepared tables in a study's folder: its workers read tensors there, and neither read nor fit the tables again."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

from hardfirst.errors import InputError
from hardfirst.problems.tables._data import TableData

_FOLDER: ContextVar[Path | None] = ContextVar("the folder of prepared tables", default=None)


@contextmanager
def kept_in(folder: Path, tables: Mapping[str, TableData]) -> Iterator[None]:
    """Keep prepared tables in a folder for the duration of the `with` block; `shared` finds them there.

    They are not kept longer, or in the user's cache, since they are a copy of data that may be private. Where the folder
    cannot be written to, each process prepares the tables itself.

    Args:
        folder: exists, and may have other files.
        tables: by digest.
    """
    try:
        with suppress(InputError, OSError, RuntimeError):  # torch reports a full disk as a RuntimeError
            for digest, data in tables.items():
                data.save(_file(folder, digest))
        yield
    finally:
        for path in folder.glob(_file(folder, "*").name):  # those of a killed process as well
            with suppress(OSError):
                path.unlink()


@contextmanager
def read_from(folder: Path) -> Iterator[None]:
    """Let `shared` look into a folder for the duration of the `with` block."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def shared(digest: str) -> TableData | None:
    """The prepared table with this digest that another process keeps; None also where its file is damaged."""
    folder = _FOLDER.get()
    if folder is not None:
        with suppress(Exception):  # a damaged file can raise anything, and the table itself is there
            return _read(_file(folder, digest))
    return None


def _file(folder: Path, digest: str) -> Path:
    return folder / f".{digest}.table"


@lru_cache(maxsize=4)
def _read(path: Path) -> TableData:
    return TableData.read(path)
