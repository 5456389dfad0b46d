"""The cache of decoded data: written once and as a whole, and mapped."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hardfirst.errors import InputError
from hardfirst.problems.fields import _mapped
from hardfirst.problems.fields._mapped import Chunk, mapped

BYTES = torch.arange(24, dtype=torch.uint8).view(4, 3, 2)
NUMBERS = torch.arange(4.0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_text("one")
    return path


def chunks() -> Iterator[Chunk]:
    yield {"bytes": BYTES[:3], "numbers": NUMBERS[:1]}
    yield {"numbers": NUMBERS[1:]}
    yield {"bytes": BYTES[3:]}


def never() -> Iterator[Chunk]:
    raise AssertionError("the data is read again")


def fails() -> Iterator[Chunk]:
    yield {"bytes": BYTES[:3]}
    raise InputError("a picture is damaged")


def test_chunks_become_columns_that_are_read_once(cache: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = mapped("toy-1", [source], chunks, what="4 things")
    (folder,) = cache.iterdir()
    assert capsys.readouterr().err == f"Preparing 4 things once, in {folder}.\n"
    for columns in (first, mapped("toy-1", [source], never, what="4 things")):
        assert torch.equal(columns["bytes"], BYTES)
        assert torch.equal(columns["numbers"], NUMBERS)
    assert capsys.readouterr().err == ""


def test_changed_files_are_another_cache(cache: Path, source: Path) -> None:
    mapped("toy-1", [source], chunks, what="4 things")
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    mapped("toy-1", [source], chunks, what="4 things")
    source.write_text("another size")
    mapped("toy-1", [source], chunks, what="4 things")
    assert len(list(cache.iterdir())) == 3


def test_what_fails_or_is_killed_leaves_no_cache(cache: Path, source: Path) -> None:
    with pytest.raises(InputError, match="a picture is damaged"):
        mapped("toy-1", [source], fails, what="4 things")
    assert not list(cache.iterdir())
    mapped("toy-1", [source], chunks, what="4 things")
    (folder,) = cache.iterdir()
    parts = [folder.with_name(f".{folder.name}.{number}.part") for number in (1, 2)]
    for part in parts:  # of processes that were killed
        part.mkdir()
        (part / "bytes").write_bytes(b"cut")
    long_ago = folder.stat().st_mtime - 2 * _mapped._STALE
    for path in (parts[0] / "bytes", parts[0]):
        os.utime(path, (long_ago, long_ago))
    (folder / "bytes").write_bytes(b"cut")
    with pytest.warns(UserWarning, match=r"is created again: bytes has 3 bytes instead of 24"):
        columns = mapped("toy-1", [source], chunks, what="4 things")
    assert torch.equal(columns["bytes"], BYTES)
    assert sorted(cache.iterdir()) == [parts[1], folder], "the one that may still be written to stays"


def test_of_two_processes_the_first_to_end_gives_the_cache(cache: Path, source: Path) -> None:
    def meanwhile() -> Iterator[Chunk]:
        yield from chunks()
        mapped("toy-1", [source], chunks, what="4 things")

    with pytest.MonkeyPatch.context() as patch:
        pids = iter((1, 2))
        patch.setattr(_mapped.os, "getpid", lambda: next(pids))
        columns = mapped("toy-1", [source], meanwhile, what="4 things")
    assert torch.equal(columns["bytes"], BYTES)
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, cache: Path, source: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(InputError, match=r"toy-1-\w+ cannot be written: "):
        mapped("toy-1", [source], chunks, what="4 things")
