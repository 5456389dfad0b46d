"""The ranked table of methods that commands print."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from hardfirst.report.model.case import Case
from hardfirst.report.model.leaderboard import Effect, Leaderboard, Standing, effect
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.interval_text import count_text
from hardfirst.statistics import Interval, number_text, paired_interval

_STYLES: dict[Effect, str] = {"better": "green", "worse": "red", "unclear": "", "unknown": ""}
_NARROWEST, _NARROW, _WIDEST = 11, 16, 30  # the column of names: at the least, with columns that may be left out, at most
_REQUIRED = 5  # columns that are always there
_CELL, _TASK_COLUMN = 7, 11  # characters of a difference, and of a method's name, in the table by task
_GAP = 2  # before each column but the first


class _Row(NamedTuple):
    """What stands in a row: a name, and a cell for each column; a rule may follow."""

    name: str
    cells: tuple[Text, ...]
    rule: bool = False


def leaderboard_table(case: Case, board: Leaderboard, width: int) -> Table:
    """The methods, best first; below a rule the references, such as single-task networks; below another one the controls.

    Args:
        case: the runs.
        board: its leaderboard.
        width: of the terminal: at 80 characters there are the worst task, the mean over tasks, each with its difference from
            the baseline, and the numbers of better and worse tasks; with more room also Δm and the cost.
    """
    rows = list(_rows(case, board))
    columns = _fitting(_columns(board), rows, width)
    shown = _plain_table()
    room = max(_NARROWEST, min(_WIDEST, width - _taken(columns, rows)))
    shown.add_column("method", no_wrap=True)
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(Text(broken(row.name, room)), *row.cells[: len(columns)], end_section=row.rule)
    return shown


def _plain_table() -> Table:
    return Table(box=box.HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))


def title(case: Case, board: Leaderboard) -> str:
    """What the table has, and in which order."""
    seeds = f", {'mean over ' if board.seeds > 1 else ''}{count_text(board.seeds, 'seed')}"
    by = f"; best first by the {'worst task' if board.criterion == 'worst' else 'mean'}" if len(case.tasks) > 1 else ""
    return f"{case.name}: test KPI × 100{seeds}{by}"


def legend(board: Leaderboard) -> str:
    """What the columns are."""
    bounds = ", with a 95% interval" if board.seeds > 2 else ""
    return f"Δ is method − {board.against} in points, paired by seed{bounds}. Intervals are not corrected; tests are."


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


def _columns(board: Leaderboard) -> list[str]:
    several = len(board.rows[0].tasks) > 1
    measures = ["worst\ntask", "Δ worst task", "mean", "Δ mean"] if several else [next(iter(board.rows[0].tasks)), "Δ"]
    counts = ["tasks\n+ / −"] if several else []
    gain = ["Δm, %"] if any(row.delta_m for row in board.rows) else []
    return [*measures, *counts, *gain, f"cost\nof {board.cost_of}"]


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


def _rows(case: Case, board: Leaderboard) -> Iterator[_Row]:
    controls, methods, references = list(_controls(case, board)), board.rows, board.references
    for row in methods:
        yield _Row(_name(row), tuple(_standing(board, row)), rule=row is methods[-1] and bool(references or controls))
    for each in references:
        means = [each.worst, each.mean] if len(each.tasks) > 1 else [each.mean]
        cells = [cell for mean in means for cell in (Text(number_text(mean.mean, ".1f")), Text("–"))]
        yield _Row(each.name, _filled(board, cells), rule=each is references[-1] and bool(controls))
    yield from controls


def _name(row: Standing) -> str:
    """The names of a row with what a reader has to know about its runs."""
    lost = "" if row.finished == row.started else f" ({row.finished} of {row.started} runs)"
    return " = ".join(row.names) + lost


def _standing(board: Leaderboard, row: Standing) -> Iterator[Text]:
    for scope in _scopes(row):
        cell = row.of(scope)
        yield Text(number_text(cell.kpi.mean, ".1f"))
        yield Text("baseline") if row is board.baseline else _difference(cell.difference, row.effect(scope))
    if len(row.tasks) > 1:
        counts = row is not board.baseline and board.baseline is not None
        yield Text(f"{row.better} / {row.worse}" if counts else "–")
    if any(each.delta_m for each in board.rows):
        yield Text(number_text(row.delta_m.mean, "+.1f") if row.delta_m else "–")
    yield Text(number_text(row.cost, ".2f"))


def _scopes(row: Standing) -> tuple[Scope, ...]:
    return (WORST, MEAN) if len(row.tasks) > 1 else (MEAN,)


def _difference(difference: Interval | None, how: Effect) -> Text:
    return Text(f"{difference:+z.1f}" if difference else "–", _STYLES[how])


def _controls(case: Case, board: Leaderboard) -> Iterator[_Row]:
    """The controls with their differences from the baseline, as the methods above have them."""
    scopes = (WORST, MEAN) if len(case.tasks) > 1 else (MEAN,)
    for control, method in case.controls.items():
        cells = []
        for scope in scopes:
            points = scope.points(case, control)
            cells.append(Text(number_text(scope.interval(case, control).mean, ".1f")))
            base = scope.points(case, case.baseline) if board.baseline else None
            difference = None if base is None else paired_interval(points, base).clipped(-100, 100)
            cells.append(_difference(difference, effect(difference)))
        yield _Row(f"{method}, {control}", _filled(board, cells))


def _filled(board: Leaderboard, cells: Sequence[Text]) -> tuple[Text, ...]:
    return (*cells, *[Text("–")] * (len(_columns(board)) - len(cells)))


# By task


def task_table(board: Leaderboard, width: int) -> Table | None:
    """By task the KPIs under the baseline and of the references, and the differences of the methods.

    None where the leaderboard says all of it, there is no baseline, or the columns do not fit.
    """
    base, references, tasks = board.baseline, board.references, list(board.rows[0].tasks)
    if base is None or len(tasks) == 1:
        return None
    rows = [row for row in board.rows if row is not base]
    names = [*(row.name for row in (base, *rows)), *(each.name for each in references)]
    heads = [broken(name, _TASK_COLUMN) for name in names]
    needed = max(map(cell_len, tasks)) + sum(max(_CELL, _width(head, [])) + _GAP for head in heads)
    if needed > width:
        return None
    shown = _plain_table()
    shown.add_column("task")
    for head in heads:
        shown.add_column(head, justify="right", no_wrap=True)
    single = board.single
    for task in sorted(tasks, key=lambda task: base.tasks[task].kpi.mean - single.tasks[task].mean if single else 0.0):
        differences = [_task_difference(row.tasks[task].difference) for row in rows]
        others = [number_text(each.tasks[task].mean, ".1f") for each in references]
        shown.add_row(Text(task), number_text(base.tasks[task].kpi.mean, ".1f"), *differences, *others)
    return shown


def _task_difference(difference: Interval | None) -> Text:
    how = effect(difference)
    mean = number_text(difference.mean, "+z.1f") if difference else "–"
    return Text(f"({mean})" if how == "unclear" else mean, _STYLES[how])
