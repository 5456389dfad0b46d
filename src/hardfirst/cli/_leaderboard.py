"""The ranked table of methods that commands print."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hardfirst.records.names import joined
from hardfirst.report.model.answer import Answer
from hardfirst.report.model.field_delta import deltas
from hardfirst.report.model.leaderboard import Effect, Leaderboard, Standing, effect
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.tables import ordered_tasks
from hardfirst.statistics import Interval, number_text, paired_interval

_STYLES: dict[Effect, str] = {"better": "green", "worse": "red", "unclear": "", "": ""}
_NARROWEST, _NARROW, _WIDEST = 11, 16, 30  # the column of names: at the least, with columns that may be left out, at most
_REQUIRED = 5  # columns that are always there
_CELL, _TASK_COLUMN = 7, 11  # characters of a difference, and of a method's name, in the table by task
_GAP = 2  # before each column but the first


class _Row(NamedTuple):
    """What stands in a row: a name, and a cell for each column; a rule may follow."""

    name: str
    cells: tuple[Text, ...]
    rule: bool = False


def leaderboard_table(facts: Answer, width: int) -> Table:
    """The methods, best first; below a rule the references, such as single-task networks; below another one the controls.

    Args:
        facts: what the runs say.
        width: of the terminal: at 80 characters there are the worst task, the mean over tasks, each with its difference from
            the baseline, and the numbers of better and worse tasks; with more room also the study's criterion if it is
            neither, Δm and the cost.
    """
    rows = list(_rows(facts))
    columns = _fitting(_columns(facts), rows, width)
    shown = plain_table()
    room = max(_NARROWEST, min(_WIDEST, width - _taken(columns, rows)))
    shown.add_column("method", no_wrap=True)
    widths = [_width(column, [row.cells[place] for row in rows]) for place, column in enumerate(columns)]
    for column, size in zip(columns, widths, strict=True):
        shown.add_column("\n".join(line.rjust(size) for line in column.splitlines()), no_wrap=True)
    for row in rows:
        cells = map(_right, row.cells, widths)
        shown.add_row(Text(broken(row.name, room)), *cells, end_section=row.rule)
    return shown


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


def _columns(facts: Answer) -> list[str]:
    board = facts.board
    several = len(board.rows[0].tasks) > 1
    measures = ["worst\ntask", "Δ worst task", "mean", "Δ mean"] if several else [next(iter(board.rows[0].tasks)), "Δ"]
    counts = ["tasks\n+ / −"] if several else []
    gain = ["Δm, %"] if any(row.delta_m for row in board.rows) else []
    field = ["Δm over\nmetrics, %"] if deltas(facts.case) else []
    chosen_by = ["criterion", "Δ criterion"] if board.rows[0].criterion else []
    return [*measures, *counts, *chosen_by, *field, *gain, f"cost\nof {board.cost_of}"]


def _fitting(columns: Sequence[str], rows: Sequence[_Row], width: int) -> list[str]:
    """The columns but for those at the end that do not fit."""
    shown = list(columns)
    needed = min(_NARROW, max(cell_len(row.name) for row in rows))
    while len(shown) > _REQUIRED and _taken(shown, rows) + needed > width:
        shown.pop()
    return shown


def _taken(columns: Sequence[str], rows: Sequence[_Row]) -> int:
    return sum(_width(column, [row.cells[place] for row in rows]) + _GAP for place, column in enumerate(columns))


def _width(column: str, cells: Sequence[Text]) -> int:
    return max(map(cell_len, [*column.splitlines(), *(cell.plain for cell in cells)]))


# Rows


def _rows(facts: Answer) -> Iterator[_Row]:
    board, references, controls = facts.board, facts.board.references, list(_controls(facts))
    field = deltas(facts.case)
    for row in board.rows:
        last = row is board.rows[-1]
        yield _Row(_name(row), tuple(_standing(board, row, field)), rule=last and bool(references or controls))
    for each in references:
        means = [each.worst, each.mean] if len(each.tasks) > 1 else [each.mean]
        cells = [cell for mean in means for cell in (Text(number_text(mean.mean, "z.1f")), Text("–"))]
        yield _Row(each.name, _filled(facts, cells), rule=each is references[-1] and bool(controls))
    yield from controls


def _name(row: Standing) -> str:
    """The names of a row with what a reader has to know about its runs."""
    lost = "" if row.finished == row.started else f" ({row.finished} of {row.started} runs)"
    return joined(row.names) + lost


def _standing(board: Leaderboard, row: Standing, field: Mapping[str, Interval]) -> Iterator[Text]:
    for scope in _scopes(row):
        yield from _measure(board, row, scope)
    if len(row.tasks) > 1:
        counts = row is not board.baseline and board.baseline is not None
        yield Text(f"{row.better} / {row.worse}" if counts else "–")
    if row.criterion:
        yield from _measure(board, row, board.scopes[0])
    if field:
        yield Text(number_text(field[row.name].mean, "+z.1f") if row.name in field else "–")
    if any(each.delta_m for each in board.rows):
        yield Text(number_text(row.delta_m.mean, "+z.1f") if row.delta_m else "–")
    yield Text(number_text(row.cost, ".2f"))


def _measure(board: Leaderboard, row: Standing, scope: Scope) -> Iterator[Text]:
    cell = row.of(scope)
    yield Text(number_text(cell.kpi.mean, "z.1f"))
    yield (
        Text("baseline")
        if row is board.baseline
        else _difference(cell.difference, row.effect(scope), _mark(board, row, scope))
    )


def _scopes(row: Standing) -> tuple[Scope, ...]:
    return (WORST, MEAN) if len(row.tasks) > 1 else (MEAN,)


def _mark(board: Leaderboard, row: Standing, scope: Scope) -> str:
    """What follows a difference: a star if it is significant; a space where others may have one."""
    return ("*" if row.decisions[scope.name] in ("better", "worse") else " ") if board.can_test else ""


def _difference(difference: Interval | None, how: Effect, mark: str) -> Text:
    return Text(f"{difference:+z.1f}{mark}" if difference else "–", _STYLES[how])


def _controls(facts: Answer) -> Iterator[_Row]:
    """The controls with their differences from the baseline, as the methods above have them."""
    case, board = facts.case, facts.board
    scopes = (WORST, MEAN) if len(case.tasks) > 1 else (MEAN,)
    for control, method in case.controls.items():
        cells = []
        for scope in scopes:
            points = scope.points(case, control)
            cells.append(Text(number_text(scope.interval(case, control).mean, "z.1f")))
            base = scope.points(case, case.baseline) if board.baseline else None
            difference = None if base is None else paired_interval(points, base).clipped(-100, 100)
            cells.append(_difference(difference, effect(difference), " " if board.can_test else ""))
        yield _Row(f"{method}, {control}", _filled(facts, cells))


def _filled(facts: Answer, cells: Sequence[Text]) -> tuple[Text, ...]:
    return (*cells, *[Text("–")] * (len(_columns(facts)) - len(cells)))


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
    needed = max(map(cell_len, tasks)) + sum(max(_CELL, _width(head, [])) + _GAP for head in heads)
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
