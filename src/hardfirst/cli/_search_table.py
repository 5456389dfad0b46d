"""The ranked table of a search's candidates that commands print."""

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hardfirst.cli._leaderboard import broken, plain_table, taken
from hardfirst.report.text.tables import PlainTable

_NARROWEST, _WIDEST = 16, 34  # the column of names


def fitting_table(table: PlainTable, width: int) -> Table:
    """A table whose first columns after that of names are left out if they do not fit.

    Args:
        table: with names in the first column; the columns that matter most are last.
        width: of the terminal.
    """
    names, *others = zip(table.head, *table.rows, strict=True)
    columns = [[Text(_head(head)), *map(Text, cells)] for head, *cells in others]
    needed = min(_NARROWEST, max(map(cell_len, names)))
    while len(columns) > 3 and taken(columns) + needed > width:
        columns.pop(0)
    room = max(_NARROWEST, min(_WIDEST, width - taken(columns)))
    shown = plain_table()
    shown.add_column(names[0].lower(), no_wrap=True)
    for head, *_ in columns:
        shown.add_column(head, justify="left" if head.plain == "outcome" else "right", no_wrap=True)
    for name, *cells in zip(names[1:], *(column[1:] for column in columns), strict=True):
        shown.add_row(Text(broken(name, room)), *cells)
    return shown


def _head(text: str) -> str:
    """The heading in lower case, broken after a comma."""
    return text.lower().replace(", ", ",\n")
