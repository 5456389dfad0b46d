"""The ranked table of a search's candidates that commands print."""

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hardfirst.cli._leaderboard import broken, plain_table
from hardfirst.report.text.tables import PlainTable

_NARROWEST, _WIDEST = 16, 34  # the column of names
_GAP = 2  # before each column but the first


def fitting_table(table: PlainTable, width: int) -> Table:
    """A table whose first columns after that of names are left out if they do not fit.

    Args:
        table: with names in the first column; the columns that matter most are last.
        width: of the terminal.
    """
    columns = list(zip(table.head, *table.rows, strict=True))
    names, others = columns[0], [[_head(column[0]), *column[1:]] for column in columns[1:]]
    needed = min(_NARROWEST, max(map(cell_len, names)))
    while len(others) > 3 and _taken(others) + needed > width:
        others.pop(0)
    room = max(_NARROWEST, min(_WIDEST, width - _taken(others)))
    shown = plain_table()
    shown.add_column(names[0].lower(), no_wrap=True)
    for column in others:
        shown.add_column(column[0], justify="left" if column[0] == "outcome" else "right", no_wrap=True)
    for name, *cells in zip(names[1:], *(column[1:] for column in others), strict=True):
        shown.add_row(Text(broken(name, room)), *map(Text, cells))
    return shown


def _head(text: str) -> str:
    """The heading in lower case, broken after a comma."""
    return text.lower().replace(", ", ",\n")


def _taken(columns: list[list[str]]) -> int:
    return sum(max(cell_len(line) for cell in column for line in cell.splitlines() or [""]) + _GAP for column in columns)
