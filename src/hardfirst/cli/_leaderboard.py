"""The ranked tables of methods, and of a search's candidates, that commands print."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hardfirst.records.names import joined
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.field_delta import deltas
from hardfirst.report.model.leaderboard import Effect, Leaderboard, Standing, effect
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.tables import PlainTable, ordered_tasks
from hardfirst.statistics import Interval, number_text, paired_interval

_STYLES: dict[Effect, str] = {"better": "green", "worse": "red", "unclear": "", "": ""}
_NARROWEST, _NARROW, _WIDEST = 11, 16, 30  # the column of names: at the least, with columns that may be left out, at most
_WIDEST_CANDIDATE = 34
_REQUIRED = 5  # columns that are always there
_DASH = Text("–")
_CELL, _TASK_COLUMN = 7, 11  # characters of a difference, and of a method's name, in the table by task

_GAP = 2  # before each column but the first

Column = Sequence[Text]
"""A heading, which may have two lines, and a cell for each row."""


def leaderboard_table(facts: Answer, width: int) -> Table:
    """The methods, best first; below a rule the references, such as single-task networks; below another one the controls.

    Args:
        facts: what the runs say.
        width: of the terminal: at 80 characters there are the worst task, the mean over tasks, each with its difference from
            the baseline, and the numbers of better and worse tasks; with more room also the study's criterion if it is
            neither, Δm and the cost.
    """
    board, controls = facts.board, facts.case.controls
    names = [*map(_name, board.rows), *(each.name for each in board.references)]
    names += [f"{method}, {control}" for control, method in controls.items()]
    columns = [[Text(head), *cells, *[_DASH] * (len(names) - len(cells))] for head, cells in _columns(facts)]
    needed = min(_NARROW, max(map(cell_len, names)))
    while len(columns) > _REQUIRED and needed + taken(columns) > width:
        columns.pop()
    shown = plain_table()
    room = max(_NARROWEST, min(_WIDEST, width - taken(columns)))
    shown.add_column("method", no_wrap=True)
    widths = [_width(column) for column in columns]
    for column, size in zip(columns, widths, strict=True):
        shown.add_column("\n".join(line.rjust(size) for line in column[0].plain.splitlines()), no_wrap=True)
    rules = {len(board.rows), len(board.rows) + len(board.references)}
    for number, (name, *cells) in enumerate(zip(names, *(column[1:] for column in columns), strict=True), start=1):
        shown.add_row(Text(broken(name, room)), *map(_right, cells, widths), end_section=number in rules)
    return shown


def taken(columns: Iterable[Column]) -> int:
    """The characters that columns take, with the gap before each."""
    return sum(_width(column) + _GAP for column in columns)


def _width(column: Column) -> int:
    return max(cell_len(line) for cell in column for line in cell.plain.splitlines() or [""])


def _right(cell: Text, width: int) -> Text:
    """The cell at the right of its column, which the table itself would do without a space at the end."""
    return Text(" " * (width - cell.cell_len)) + cell


def plain_table() -> Table:
    """A table with a rule below its head."""
    return Table(box=box.HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))


def broken(name: str, width: int) -> str:
    """A method's name in lines of at most this width where that is possible, broken after ":", "," and spaces.

    >>> broken("dtp:alpha=0.05,uniform=0.8", 16).splitlines()
    ['dtp:alpha=0.05,', 'uniform=0.8']
    """
    lines = [""]
    for part in re.findall(r"[^:, ]*(?:[:,] ?| |$)", name):
        if lines[-1] and cell_len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _columns(facts: Answer) -> Iterator[tuple[str, list[Text]]]:
    """The columns, those that matter most first, each with the cells of its first rows; further rows have a dash."""
    board, field = facts.board, deltas(facts.case)
    several = len(facts.case.tasks) > 1
    if several:
        yield from _measure(facts, WORST, "worst\ntask", "Δ worst task")
    yield from _measure(facts, MEAN, *(("mean", "Δ mean") if several else (facts.case.tasks[0], "Δ")))
    if several:
        counts = [f"{row.better} / {row.worse}" if _is_compared(board, row) else "–" for row in board.rows]
        yield "tasks\n+ / −", [*map(Text, counts)]
    if board.rows[0].criterion:
        for head, cells in _measure(facts, board.scopes[0], "criterion", "Δ criterion"):
            yield head, cells[: len(board.rows)]
    if field:
        yield "Δm over\nmetrics, %", [_number(field[row.name].mean if row.name in field else math.nan) for row in board.rows]
    if any(row.delta_m for row in board.rows):
        yield "Δm, %", [_number(row.delta_m.mean if row.delta_m else math.nan) for row in board.rows]
    yield f"cost\nof {board.cost_of}", [_number(row.cost, ".2f") for row in board.rows]


def _measure(facts: Answer, scope: Scope, kpi: str, change: str) -> Iterator[tuple[str, list[Text]]]:
    """What methods, references and controls reach, and how methods and controls differ from the baseline."""
    case, board = facts.case, facts.board
    means = [*(row.of(scope).kpi for row in board.rows), *(each.of(scope) for each in board.references)]
    means += [scope.interval(case, control) for control in case.controls]
    yield kpi, [_number(each.mean, "z.1f") for each in means]
    cells = [
        Text("baseline")
        if row is board.baseline
        else _difference(row.of(scope).difference, row.effect(scope), _mark(board, row, scope))
        for row in board.rows
    ]
    cells += [_DASH] * len(board.references)
    if board.baseline:
        base = scope.points(case, case.baseline)
        for control in case.controls:
            found = paired_interval(scope.points(case, control), base).clipped(-100, 100)
            cells.append(_difference(found, effect(found), " " if board.can_test else ""))
    yield change, cells


def _number(value: float, spec: str = "+z.1f") -> Text:
    return Text(number_text(value, spec))


def _name(row: Standing) -> str:
    """The names of a row with what a reader has to know about its runs."""
    lost = "" if row.finished == row.started else f" ({row.finished} of {row.started} runs)"
    return joined(row.names) + lost


def _is_compared(board: Leaderboard, row: Standing) -> bool:
    return board.baseline is not None and row is not board.baseline


def _mark(board: Leaderboard, row: Standing, scope: Scope) -> str:
    """What follows a difference: a star if it is significant; a space where others may have one."""
    return ("*" if row.decisions[scope.name] in ("better", "worse") else " ") if board.can_test else ""


def _difference(difference: Interval | None, how: Effect, mark: str) -> Text:
    return Text(f"{difference:+z.1f}{mark}" if difference else "–", _STYLES[how])


# By task


def task_table(facts: Answer, width: int) -> Table | None:
    """By task the KPIs under the baseline and of the references, and the differences of the methods.

    None where the leaderboard says all of it, there is no baseline, or the columns do not fit.
    """
    board, tasks = facts.board, ordered_tasks(facts)
    base, references = board.baseline, board.references
    if base is None or len(tasks) == 1:
        return None
    rows = [row for row in board.rows if row is not base]
    names = [*(row.name for row in (base, *rows)), *(each.name for each in references)]
    heads = [broken(name, _TASK_COLUMN) for name in names]
    needed = max(map(cell_len, tasks)) + sum(max(_CELL, _width([Text(head)])) + _GAP for head in heads)
    if needed > width:
        return None
    shown = plain_table()
    shown.add_column("task")
    for head in heads:
        shown.add_column(head, justify="right", no_wrap=True)
    for task in tasks:
        differences = [_task_difference(row.tasks[task].difference) for row in rows]
        others = [number_text(each.tasks[task].mean, "z.1f") for each in references]
        shown.add_row(Text(task), number_text(base.tasks[task].kpi.mean, "z.1f"), *differences, *others)
    return shown


def _task_difference(difference: Interval | None) -> Text:
    how = effect(difference)
    mean = number_text(difference.mean, "+z.1f") if difference else "–"
    return Text(f"({mean})" if how == "unclear" else mean, _STYLES[how])


# Searches


def fitting_table(table: PlainTable, width: int) -> Table:
    """A table whose first columns after that of names are left out if they do not fit.

    Args:
        table: with names in the first column; the columns that matter most are last.
        width: of the terminal.
    """
    names, *others = zip(table.head, *table.rows, strict=True)
    columns = [[Text(_head(head)), *map(Text, cells)] for head, *cells in others]
    needed = min(_NARROW, max(map(cell_len, names)))
    while len(columns) > 3 and taken(columns) + needed > width:
        columns.pop(0)
    room = max(_NARROW, min(_WIDEST_CANDIDATE, width - taken(columns)))
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
