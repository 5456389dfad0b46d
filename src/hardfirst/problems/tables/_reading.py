"""Reads a table from a file: text with any usual separator and encoding, or one of the binary formats of data frames."""

import csv
import gzip
import hashlib
import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hardfirst.errors import InputError, MissingPackage
from hardfirst.problems.tables._cells import is_ambiguous, number_format, shows_decimal_comma
from hardfirst.problems.tables._checksum import sha256

if TYPE_CHECKING:
    import pandas as pd

TEXT = (".csv", ".tsv", ".txt")
SUFFIXES = (*TEXT, ".parquet", ".feather", ".xlsx", ".json", ".jsonl")
OTHERS = (".xls", ".ods", ".dta", ".sav", ".rds", ".pkl")
SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "bars", ",": "commas"}
_ERRORS = (ValueError, OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, csv.Error)
_LOOKED_AT = 2**20  # letters that show the separator
_SNIFFED = 100  # rows that show the separator


def suffix_of(file: str) -> str:
    """The suffix that says a file's format, in small letters and without .gz."""
    name = file.lower().removesuffix(".gz")
    return Path(name).suffix


def stem_of(path: Path) -> str:
    """A file's name without its suffixes."""
    return Path(path.name[:-3] if path.name.lower().endswith(".gz") else path.name).stem


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table as it was read.

    Args:
        frame: its cells, with the types that they show; names of columns are text, and a second column of one name has a
            number in its own.
        encoding: of text; "" for other formats.
        separator: of text, likewise.
        text: the text itself, if it is one.
        header: the names in the first line, with repetitions.
        parts: the tables that it is made of, if they are several.
    """

    frame: "pd.DataFrame"
    header: tuple[str, ...]
    encoding: str = ""
    separator: str = ""
    text: str | None = field(default=None, repr=False)
    parts: tuple["Sheet", ...] = ()

    def words(self, column: str, *, keep: bool = False) -> "pd.Series[object]":
        """A column's cells as they are written; an empty one is missing.

        Args:
            column: its name in the frame.
            keep: whether words such as NA and None stay words. They are missing otherwise.
        """
        import pandas as pd

        if self.parts:
            return pd.concat([part.words(column, keep=keep) for part in self.parts], ignore_index=True)
        if self.text is None:
            return self.frame[column]
        as_words = {"keep_default_na": False, "na_values": [""]} if keep else {}
        text = io.StringIO(self.text)
        return pd.read_csv(text, sep=self.separator, usecols=[column], dtype=str, index_col=False, **as_words)[column]

    def rows(self) -> Iterator[list[str]]:
        """The rows of text, without the header and without empty lines; none of other formats."""
        if self.text is not None:
            found = (row for row in csv.reader(io.StringIO(self.text, newline=""), delimiter=self.separator) if row)
            next(found, None)
            yield from found

    @cached_property
    def decimal(self) -> str:
        """The decimal mark where a number may be read either way: a comma if other numbers show it."""
        if self.separator in (";", "\t", "|"):
            for name in self.frame:
                cells = self.frame[name]
                if cells.dtype.kind not in "biufM" and shows_decimal_comma([str(c) for c in cells.dropna().unique()]):
                    return ","
        return "."

    @cached_property
    def thousands(self) -> tuple[str, ...]:
        """Columns whose points separate thousands, as all other numbers have decimal commas."""
        if self.decimal == ".":
            return ()
        found = []
        for name in self.frame:
            if self.frame[name].dtype.kind == "f":
                cells = [str(cell) for cell in self.words(str(name)).dropna().unique()]
                form = number_format(cells, ",")
                if form is not None and form.decimal == "," and is_ambiguous(cells):
                    found.append(str(name))
        return tuple(found)

    def column(self, name: str) -> "pd.Series[object]":
        """A column with the type that its cells show, or as text where a mark says that pandas would misread it."""
        return self.words(name) if name in self.thousands else self.frame[name]


def read(path: Path, digest: str | None = None) -> Sheet:
    """Read a table, once in a process unless the file changes.

    Args:
        path: the file.
        digest: the SHA-256 of its bytes, if it is known.

    Raises:
        InputError: there is no such file, it is not a table, or it has changed since its SHA-256 was computed.
    """
    return _read(path, digest or sha256(path))


@lru_cache(maxsize=4)
def _read(path: Path, digest: str) -> Sheet:
    try:
        import pandas as pd
    except ImportError:
        raise MissingPackage('Reading a table needs pandas: pip install "hardfirst[cli]".') from None
    suffix = suffix_of(path.name)
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise InputError(f"{path} has changed while it was read. Run the same command again.")
        if path.name.lower().endswith(".gz"):
            data = gzip.decompress(data)
        if suffix in TEXT:
            return _from_text(path, data)
        frame = _READERS[suffix](data)
    except ImportError:
        package = "openpyxl" if suffix == ".xlsx" else "pyarrow"
        raise MissingPackage(f'Reading {path.name} needs {package}: pip install "hardfirst[tables]".') from None
    except (*_ERRORS, pd.errors.ParserError) as error:
        if isinstance(error, InputError):
            raise
        raise _unreadable(path, error) from None
    header = tuple(map(str, frame.columns))
    return Sheet(frame.set_axis(_distinct(header), axis=1), header)


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).rstrip(".")
    if suffix_of(path.name) in TEXT:
        expected = " It should have a line of column names, and rows of as many cells, with commas between them."
    else:
        expected = f" It is no {suffix_of(path.name)} file of one table, or it is damaged."
    return InputError(f"{path} cannot be read as a table: {reason:.200}.{expected}")


def _from_text(path: Path, data: bytes) -> Sheet:
    import pandas as pd

    encoding = _encoding(data)
    text = data.decode(encoding)
    if any(letter < " " and letter not in "\t\r\n\f\v" for letter in text[:4096]):
        raise InputError(f"{path} cannot be read as a table: it is not text. Save it as CSV in UTF-8, .parquet or .xlsx.")
    separator = _separator(text)
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    if 0 < header.count("") == len(header):
        raise ValueError("its first line has no column names")
    _check_lengths(text, separator, len(header))
    frame = pd.read_csv(io.StringIO(text), sep=separator, index_col=False, low_memory=False)
    return Sheet(frame, tuple(header), encoding, separator, text)


def _encoding(data: bytes) -> str:
    """The name of a text's encoding."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return encoding
    start = data[:4096]
    if len(start) > 3 and start.count(0) > len(start) / 4:  # every second byte of Western text in UTF-16
        return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    for encoding in ("utf-8", "cp1252"):
        with suppress(UnicodeDecodeError):
            data.decode(encoding)
            return encoding
    return "latin-1"  # five bytes have no letter in cp1252


def _separator(text: str) -> str:
    """The mark that makes rows of as many cells as the header has; of several the one with most cells."""
    found: dict[str, tuple[float, int]] = {}
    start = text[:_LOOKED_AT]
    for separator in SEPARATORS:
        rows = csv.reader(io.StringIO(start, newline=""), delimiter=separator)
        try:
            lengths = [len(row) for row in islice((row for row in rows if row), _SNIFFED)]
        except csv.Error:
            continue
        if lengths and lengths[0] > 1:
            found[separator] = (sum(length == lengths[0] for length in lengths) / len(lengths), lengths[0])
    return max(found, key=lambda separator: found[separator]) if found else ","


def _check_lengths(text: str, separator: str, columns: int) -> None:
    """Raise `ValueError` if a row has more cells than the header; an empty one at the end of all rows does no harm."""
    for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator)):
        if len(row) > columns and any(row[columns:]):
            raise ValueError(f"row {number} has {len(row)} cells, and there are {columns} column names")


def _from_json(data: bytes) -> "pd.DataFrame":
    import pandas as pd

    content = json.loads(data)
    rows = content if isinstance(content, list | dict) else None
    if not rows or not all(isinstance(row, dict | list) for row in (rows.values() if isinstance(rows, dict) else rows)):
        raise ValueError("expected a list of rows, each a mapping of columns to values, or a mapping of columns to lists")
    return _flat(pd.DataFrame(rows))


def _from_lines(data: bytes) -> "pd.DataFrame":
    import pandas as pd

    return _flat(pd.DataFrame([json.loads(line) for line in data.decode("utf-8-sig").splitlines() if line.strip()]))


def _flat(frame: "pd.DataFrame") -> "pd.DataFrame":
    for name in frame:
        if frame[name].map(lambda cell: isinstance(cell, dict | list)).any():
            raise ValueError(f"column {name!r} holds lists or mappings")
    return frame


def _from_frame(name: str, data: bytes) -> "pd.DataFrame":
    """Read one of the binary formats by pandas' function of this name."""
    import pandas as pd

    frame: pd.DataFrame = getattr(pd, name)(io.BytesIO(data))
    return frame.reset_index() if frame.index.names != [None] else frame


_READERS: dict[str, Callable[[bytes], "pd.DataFrame"]] = {
    ".parquet": partial(_from_frame, "read_parquet"),
    ".feather": partial(_from_frame, "read_feather"),
    ".xlsx": partial(_from_frame, "read_excel"),
    ".json": _from_json,
    ".jsonl": _from_lines,
}


def _distinct(header: tuple[str, ...]) -> list[str]:
    """The names with a number behind the second of a name, as pandas has it."""
    seen: Counter[str] = Counter()
    names = []
    for name in header:
        names.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names
