"""The tables of `aliexpress`: finding, checking and reading them, and their columns in memory."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from hardfirst.errors import InputError, MissingPackage, short
from hardfirst.problems.fields import held_out, lacks
from hardfirst.problems.fields._mapped import Chunk, mapped

if TYPE_CHECKING:
    import numpy as np
    from pandas import DataFrame

REVISION = 1  # of the cached columns: increase it with every change of the reading
TASKS = ("click", "conversion")
SEARCH = "search_id"
ROWS = 2**17  # per chunk
TAIL = 2**16  # bytes


class Files(NamedTuple):
    """The paths of the tables."""

    train: Path
    test: Path


class Header(NamedTuple):
    """The names of a table's columns."""

    categories: list[str]
    numbers: list[str]


def files(folder: Path, country: str) -> Files:
    """Find the tables of a country.

    Raises:
        InputError: a table does not exist.
    """
    found = Files(*(folder / f"AliExpress_{country.upper()}" / f"{split}.csv" for split in Files._fields))
    for path in found:
        if not path.is_file():
            others = sorted(each.name for each in folder.glob("AliExpress_*") if each != path.parent)
            there = f". {folder} has {', '.join(others)}" if others else ""
            raise lacks(f"aliexpress:{country}", f"file {path}{there}")
    return found


def columns(folder: Path, country: str) -> dict[str, Tensor]:
    """Return the columns of each split, mapped into memory, by names such as "train.numbers"; and the category `sizes`.

    Raises:
        InputError: a table is invalid, or the cache cannot be written.
    """
    found = files(folder, country)
    what = f"the {_megabytes(*found)} of tables of AliExpress {country.upper()}"
    return mapped(f"aliexpress-{country}-{REVISION}", found, partial(_read, found), what=what)


def _megabytes(*paths: Path) -> str:
    return f"{sum(path.stat().st_size for path in paths) / 1e6:,.1f} MB"


def _read(found: Files) -> Iterator[Chunk]:
    header = _headers(found)
    sizes = torch.zeros(len(header.categories), dtype=torch.int64)
    seen = set()
    for path in found:
        for frame in _frames(path):
            chunk = _tensors(frame, header, path)
            sizes = sizes.maximum(1 + chunk["categories"].amax(0))
            searches = {name: path == found.train and held_out(name) for name in frame[SEARCH].unique()}
            held = torch.tensor([searches[name] for name in frame[SEARCH]])
            for split, rows in {"validation": held, path.stem: ~held}.items():
                if rows.any():
                    seen.add(split)
                    yield {f"{split}.{name}": column[rows] for name, column in chunk.items()}
    for split, path in (("train", found.train), ("validation", found.train), ("test", found.test)):
        if split not in seen:
            raise InputError(f"{path} has too few searches: there is none for {split}.")
    yield {"sizes": sizes}


def _headers(found: Files) -> Header:
    """Read the columns of both tables.

    Raises:
        InputError: the columns are not the expected ones.
    """
    header, of_test = map(_header, found)
    if alone := {*header.categories, *header.numbers} ^ {*of_test.categories, *of_test.numbers}:
        raise InputError(f"{found.train} and {found.test} should have the same columns; only one has {min(alone)}.")
    return header


def _header(path: Path) -> Header:
    with path.open(encoding="utf-8", errors="replace") as file:
        names = file.readline().strip().split(",")
    groups = [[name for name in names if name.startswith(kind)] for kind in ("categorical_", "numerical_")]
    missing = [name for name in (SEARCH, *TASKS) if name not in names]
    missing += [f"{kind}_1" for kind, group in zip(("categorical", "numerical"), groups, strict=True) if not group]
    if missing:
        raise InputError(
            f"The first line of {path} should name {SEARCH}, categorical_1, …, numerical_1, …, click and conversion; it "
            f"lacks {', '.join(missing)}. MTReclib's preprocess.py makes such a table of the original logs."
        )
    return Header(*groups)


def _frames(path: Path) -> "Iterator[DataFrame]":
    try:
        import pandas
    except ImportError:
        raise MissingPackage('Reading tables needs pandas: pip install "hardfirst[cli]"') from None
    try:
        yield from pandas.read_csv(path, chunksize=ROWS, dtype={SEARCH: str}, low_memory=False)
    except (ValueError, OSError) as error:  # pandas' ParserError is a ValueError
        raise InputError(f"{path} cannot be read as a table: {str(error).strip()}") from None


def _tensors(frame: "DataFrame", header: Header, path: Path) -> dict[str, Tensor]:
    """Check the columns of a chunk, and return them as tensors.

    Raises:
        InputError: a value is invalid; the message names the line.
    """
    if frame[SEARCH].isna().any():
        raise _wrong(frame, path, SEARCH, frame[SEARCH].isna().to_numpy(), "a search's name")
    whole = [*header.categories, *TASKS]
    values = {name: _numbers(frame, name, path) for name in (*whole, *header.numbers)}
    for name in header.categories:
        bad = (values[name] < 0) | (values[name] >= 2**31) | (values[name] % 1 != 0)
        if bad.any():
            raise _wrong(frame, path, name, bad, "a code, a whole number of at least 0")
    for task in TASKS:
        bad = (values[task] != 0) & (values[task] != 1)
        if bad.any():
            raise _wrong(frame, path, task, bad, "0 or 1")
    bad = values["conversion"] > values["click"]
    if bad.any():
        raise _wrong(frame, path, "conversion", bad, "0 where there is no click")

    def stacked(names: list[str], dtype: torch.dtype) -> Tensor:
        return torch.stack([torch.from_numpy(values[name]).to(dtype) for name in names], dim=1)

    return {
        "categories": stacked(header.categories, torch.int32),
        "numbers": stacked(header.numbers, torch.float32),
        **{task: torch.from_numpy(values[task]).float() for task in TASKS},
    }


def _numbers(frame: "DataFrame", name: str, path: Path) -> "np.ndarray":
    """Convert a column to float64.

    Raises:
        InputError: a value is missing, or is not a number.
    """
    import numpy as np
    import pandas

    column = frame[name]
    numbers: np.ndarray = pandas.to_numeric(column, errors="coerce").to_numpy(np.float64, copy=True)
    bad = ~np.isfinite(numbers)
    if bad.any():
        raise _wrong(frame, path, name, bad, "a number")
    return numbers


def _wrong(frame: "DataFrame", path: Path, name: str, bad: "np.ndarray", expected: str) -> InputError:
    row = int(bad.argmax())
    (value,) = frame[name].iloc[[row]].tolist()
    got = "nothing; the file may be truncated" if frame[name].isna().iloc[row] else short(value)
    return InputError(f"Line {frame.index[row] + 2} of {path}: `{name}` should be {expected}; got {got}.")


def check(folder: Path, country: str) -> list[str]:
    """Check the beginning and the end of each table, and return sentences about the contents.

    Args:
        folder: the folder above AliExpress_NL and the others.
        country: "nl", "es", "fr" or "us".

    Raises:
        InputError: a table is missing, or the part that was read is invalid.
    """
    found = files(folder, country)
    header = _headers(found)
    sentences = [f"{len(header.categories)} categories and {len(header.numbers)} numbers; tasks {' and '.join(TASKS)}."]
    for path in found:
        frame = next(_frames(path), None)
        if frame is None or not len(frame):
            raise InputError(f"{path} has no rows. It may be truncated: get it again.")
        chunk = _tensors(frame, header, path)
        _check_end(path)
        click, conversion = (float(chunk[task].mean()) for task in TASKS)
        sentences.append(
            f"{path.name}: {_megabytes(path)}; of the first {len(frame):,} rows {click:.2%} were clicked "
            f"and {conversion:.2%} bought. The rest is read before the first training."
        )
    return sentences


def _check_end(path: Path) -> None:
    with path.open("rb") as file:
        commas = file.readline().count(b",")
        file.seek(max(file.tell(), path.stat().st_size - TAIL))
        last = file.read().rstrip().splitlines()[-1]
    if last.count(b",") != commas:
        values = f"{last.count(b',') + 1} values of {commas + 1}"
        raise InputError(f"The last line of {path} has {values}: it is truncated. Get it again.")
