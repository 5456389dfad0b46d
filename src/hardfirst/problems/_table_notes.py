"""What a user should know of how a table was read, in sentences: what was guessed, what is missing and what was left out."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hardfirst.problems._table import column_inputs, load, read_table, split_rows
from hardfirst.problems._table_targets import class_cells, kinds_of, parse_targets, word_among_numbers

if TYPE_CHECKING:
    import pandas as pd

_WORDS_FOR_MISSING = {"na", "n/a", "nan", "none", "null", "nil", "missing", "unknown"}


def table_notes(problem: str) -> list[str]:
    """Say how a table was read, where that is not plain from its targets.

    Args:
        problem: a name from `table_name`.

    Raises:
        InputError: as in `load_problem`.
    """
    load(problem)
    file, _, query = problem.partition("?")
    path = Path(file)
    table = read_table(path, path.stat().st_mtime_ns)
    targets = parse_targets(path, query, table.columns)
    kinds = kinds_of(path, table, targets)
    labels = {
        column: table[column] if kind == "regression" else class_cells(path, table[column]) for column, kind in kinds.items()
    }
    guesses = [column for column, kind in targets.items() if not kind]
    return [
        *_guessed(guesses, labels, kinds),
        *_missing(labels, kinds),
        *_words(table.drop(columns=list(targets))),
        *_left_out(path, table.drop(columns=list(targets))),
        *_uneven(path),
    ]


def _guessed(columns: Sequence[str], labels: "dict[str, pd.Series[object]]", kinds: dict[str, str]) -> Iterator[str]:
    if columns:
        texts = [
            f"{column} is a regression"
            if kinds[column] == "regression"
            else f"{column} is a classification of {labels[column].nunique()} classes"
            for column in columns
        ]
        yield f"Guessed: {', '.join(texts)}. To say otherwise, write COLUMN:regression or COLUMN:classification."


def _missing(labels: "dict[str, pd.Series[object]]", kinds: dict[str, str]) -> Iterator[str]:
    counts = {column: int(cells.isna().sum()) for column, cells in labels.items()}
    if any(counts.values()):
        texts = [f"{column} in {count} of {len(labels[column])} rows" for column, count in counts.items() if count]
        yield f"Without a label: {', '.join(texts)}."
    for column, cells in labels.items():
        words = sorted({str(cell) for cell in cells.dropna().unique() if str(cell).lower() in _WORDS_FOR_MISSING})
        if words and kinds[column] == "classification":
            yield f"In {column}, {', '.join(map(repr, words))} is a class; leave a cell empty where there is no label."


def _words(features: "pd.DataFrame") -> Iterator[str]:
    """Inputs that are read as words, though most of their cells are numbers."""
    for name in features:
        if (word := word_among_numbers(features[name])) is not None:
            yield f"Most cells of {name} are numbers, but {word}: all are read as words. Write numbers as 1234.5."


def _left_out(path: Path, features: "pd.DataFrame") -> Iterator[str]:
    train = split_rows(features)["train"]
    columns = [str(name) for name in features if not column_inputs(path, features[name], train)]
    if columns:
        constant = [name for name in columns if features[name].iloc[train.numpy()].nunique() < 2]
        unique = [name for name in columns if name not in constant]
        reasons = {"constant": constant, "nearly all different, as names, identifiers and dates are": unique}
        texts = [f"{', '.join(names)} ({reason})" for reason, names in reasons.items() if names]
        yield f"No inputs: {'; '.join(texts)}."


def _uneven(path: Path) -> Iterator[str]:
    """Rows with fewer cells than the header, and a last row that looks like a footer."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = (row for row in csv.reader(file) if row)
    short = [number for number, row in enumerate(rows, start=1) if len(row) < len(header)]
    if short:
        yield (
            f"{len(short)} of the {len(rows)} rows have fewer cells than the header, row {short[0]} first; those that they "
            "lack count as empty."
        )
    filled = [sum(map(bool, row)) for row in (rows[-1], rows[len(rows) // 2])]
    if filled[0] <= len(header) / 2 < filled[1]:
        text = ", ".join(filter(None, rows[-1]))
        yield f"The last row is mostly empty ({text:.60}); if it is a footer, remove it."
