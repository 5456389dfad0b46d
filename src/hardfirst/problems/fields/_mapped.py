"""Data that is decoded once, stored in the cache folder as plain arrays, and mapped into memory from there."""

import hashlib
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from hardfirst.errors import writing
from hardfirst.problems._folders import cache_folder

Chunk = Mapping[str, Tensor]
"""The next rows of some columns: tensors [rows, ...]."""

_INDEX = "columns.json"
_STALE = 600.0  # seconds after which no process still writes to an unfinished folder
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in (torch.uint8, torch.int32, torch.int64, torch.float32)}


def mapped(name: str, files: Iterable[Path], read: Callable[[], Iterator[Chunk]], *, what: str) -> dict[str, Tensor]:
    """Return the columns that `read` yields, mapped from the cache, after writing them there if necessary.

    All rows together may be larger than the memory. A process that is killed while it writes leaves no cache; its unfinished
    folder is removed by the next process that writes, at least ten minutes later.

    Args:
        name: the name of the folder in the cache. It should contain the problem's name and a number that increases with
            every change of `read`, e.g. "celeba-1"; a digest of the files is added.
        files: the files that `read` reads. If the size or date of one of them changes, another cache is written.
        read: yields chunks of rows, by column; a column has one dtype and one shape of a row.
        what: the data that is prepared, in words, for the sentence on standard error, e.g. "202,599 pictures".

    Raises:
        InputError: the cache cannot be written, or `read` raises an `InputError`.
    """
    folder = cache_folder() / f"{name}-{_digest(files)}"
    if folder.is_dir():
        try:
            return _open(folder)
        except (OSError, ValueError, LookupError, RuntimeError) as error:
            warnings.warn(f"The cache {folder} could not be read and is created again: {error}", stacklevel=2)
            shutil.rmtree(folder, ignore_errors=True)
    # This may take minutes. A progress bar would disturb the one that a command may show.
    print(f"Preparing {what} once, in {folder}.", file=sys.stderr, flush=True)
    with _new_folder(folder) as part:
        _write(part, read())
    return _open(folder)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        status = path.stat()
        digest.update(f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, and rename it to `folder` when the `with` block ends without an error."""
    _remove_stale(folder)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        with writing(folder):
            part.mkdir(parents=True, exist_ok=True)
            yield part
            try:
                part.rename(folder)
            except OSError:
                if not (folder / _INDEX).is_file():  # another process has finished the same cache
                    raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        with suppress(OSError):
            if time.time() - max(path.stat().st_mtime for path in (part, *part.iterdir())) >= _STALE:
                shutil.rmtree(part)


def _write(folder: Path, chunks: Iterator[Chunk]) -> None:
    columns: dict[str, tuple[str, list[int]]] = {}  # dtype, and shape with the number of rows
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for chunk in chunks:
            for column, rows in chunk.items():
                dtype, shape = columns.setdefault(column, (str(rows.dtype).removeprefix("torch."), [0, *rows.shape[1:]]))
                assert (_DTYPES[dtype], shape[1:]) == (rows.dtype, list(rows.shape[1:])), column
                if column not in files:
                    files[column] = stack.enter_context((folder / column).open("wb"))
                files[column].write(rows.contiguous().numpy().tobytes())
                shape[0] += len(rows)
    (folder / _INDEX).write_text(json.dumps(columns), encoding="utf-8")


def _open(folder: Path) -> dict[str, Tensor]:
    tensors = {}
    for column, (name, shape) in json.loads((folder / _INDEX).read_text(encoding="utf-8")).items():
        dtype, size, path = _DTYPES[name], torch.Size(shape).numel(), folder / column
        if path.stat().st_size != size * dtype.itemsize:
            raise ValueError(f"{column} has {path.stat().st_size:,} bytes instead of {size * dtype.itemsize:,}")
        tensors[column] = torch.from_file(str(path), shared=False, size=size, dtype=dtype).view(shape)
    return tensors
