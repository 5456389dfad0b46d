"""The figures that a report shows in large type, each with its label and a note."""

from typing import NamedTuple

from hardfirst.report.model.answer import Answer
from hardfirst.report.model.leaderboard import Effect, Leaderboard, Standing
from hardfirst.report.model.scopes import MEAN, WORST, Scope
from hardfirst.report.text.interval_text import bounds_text, count_text
from hardfirst.statistics import Interval, number_text


class Tile(NamedTuple):
    """A figure in large type.

    Args:
        label: what it is.
        value: the figure.
        note: its interval, or what else it takes to read it.
        tone: whether it is better or worse than the baseline.
    """

    label: str
    value: str
    note: str = ""
    tone: Effect = ""


def tiles(answer: Answer) -> tuple[Tile, ...]:
    """The gain, the cost, the tasks and the price of the method that the headline is about; empty if no run finished."""
    board = answer.board
    if not answer.finished:
        return ()
    if not answer.paired:
        return _absolute(next(row for row in board.rows if row.finished))
    row = answer.lead or max(board.methods, key=lambda row: row.change(WORST))
    if len(row.tasks) == 1:
        return _measure(WORST, next(iter(row.tasks)), row, board), _cost(row, board)
    return _measure(WORST, "Worst task", row, board), _measure(MEAN, "Mean", row, board), _tasks(row), _cost(row, board)


def _measure(scope: Scope, label: str, row: Standing, board: Leaderboard) -> Tile:
    difference = row.of(scope).difference
    assert difference is not None  # of a method that shares seeds with the baseline
    base = board.baseline.name if board.baseline else board.against
    return change_tile(f"{label}, {row.name} − {base}", difference, row.effect(scope))


def change_tile(label: str, difference: Interval, tone: Effect) -> Tile:
    """A difference from the baseline, in points."""
    seeds = count_text(difference.n, "seed")
    note = f"{bounds_text(difference, '+').strip()} points" if difference.bounded else f"points, {seeds}"
    return Tile(label, number_text(difference.mean, "+z.1f"), note, tone)


def _tasks(row: Standing) -> Tile:
    values = {task: cell.difference.mean for task, cell in row.tasks.items() if cell.difference and cell.difference.n}
    note = "by 95% intervals"
    if values:
        least, most = min(values, key=lambda task: values[task]), max(values, key=lambda task: values[task])
        task, what = (least, "largest loss") if values[least] < 0 else (most, "largest gain")
        note = f"{what}: {task} {number_text(values[task], '+z.1f')}"
    return Tile("Tasks better · worse · unclear", f"{row.better} · {row.worse} · {row.unclear}", note)


def _cost(row: Standing, board: Leaderboard) -> Tile:
    label = board.cost_of.capitalize()
    note = "measured in one process" if board.cost_of == "step" else "from the runs' own times"
    return Tile(f"{label}, × {board.against}", number_text(row.cost, ".2f"), note)


def _absolute(row: Standing) -> tuple[Tile, ...]:
    """The KPIs of a method that nothing is compared with."""
    note = count_text(row.finished, "finished run")
    if len(row.tasks) == 1:
        return (Tile(f"{next(iter(row.tasks))}, {row.name}", f"{row.worst.kpi.mean:.1f}", f"points, {note}"),)
    cells = {"Worst task": row.worst, "Mean": row.mean}
    return tuple(Tile(f"{name}, {row.name}", f"{cell.kpi.mean:.1f}", f"points, {note}") for name, cell in cells.items())
