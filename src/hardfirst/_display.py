"""What the command line shows: tables and progress."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hardfirst.record import Record
from hardfirst.report import Summary
from hardfirst.studies import Event
from hardfirst.studies.statistics import Interval

_SIDE_BY_SIDE = 5  # methods that a terminal of 80 columns can show beside each other


def comparison_table(summary: Summary) -> Table:
    """Test KPIs in points with their 95% intervals over seeds: tasks × methods, or of many methods the last rows only."""
    table = Table(title="Test KPI × 100: mean over seeds ± 95% interval", title_justify="left")
    if len(summary.methods) > _SIDE_BY_SIDE:
        last = [row for row in summary.rows if row.kind != "task"]
        for column in ("method", "n", *(row.name for row in last)):
            table.add_column(column, justify="left" if column == "method" else "right", overflow="fold")
        for method in summary.methods:
            points = (_points(row.cells[method].kpi) for row in last)
            table.add_row(method, str(summary.finished[method]), *points)
        return table
    table.add_column("task")
    for method in summary.methods:
        table.add_column(f"{method}, n = {summary.finished[method]}", justify="right")
    for row in summary.rows:
        if row.kind == "worst":
            table.add_section()
        table.add_row(row.name, *(_points(row.cells[method].kpi) for method in summary.methods))
    return table


def _points(interval: Interval) -> str:
    """The mean and half the interval's width, which takes less room than its ends."""
    return f"{interval.mean:.1f} ± {interval.high - interval.mean:.1f}" if interval.n > 1 else f"{interval.mean:.1f}"


def run_table(record: Record) -> Table:
    """A single run's figures on the test split."""
    table = Table(title="Test split, at the epoch with the best mean validation KPI", title_justify="left")
    for column in ("task", "KPI", "loss", "weight in the last epoch"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task in record.tasks:
        figures = record.test["tasks"][task] if record.test else {}
        values = (figures.get("kpi", float("nan")), figures.get("loss", float("nan")), record.curve(task, "weight")[-1])
        table.add_row(task, *(f"{value:.3f}" for value in values))
    return table


def listing(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


class StudyProgress:
    """A bar over all epochs of all trials, and a line for whatever did not go well."""

    def __init__(self, console: Console, trials: int, epochs: int) -> None:
        self.console, self.left, self.epochs = console, trials, epochs
        self.done = 0
        self.running: dict[Any, int] = {}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self.task = self.bar.add_task("", total=trials * epochs)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        self.running[event.trial] = event.epoch
        if event.what in ("finished", "diverged", "failed"):
            self.left -= 1
            self.done += self.epochs
            del self.running[event.trial]
        elif event.what in ("retried", "busy"):
            self.running[event.trial] = 0
        if event.reason:
            self.console.print(
                f"{event.trial.balancer}, seed {event.trial.seed}: {event.what}: {event.reason}", markup=False
            )
        self.bar.update(self.task, completed=self.done + sum(self.running.values()), description=f"{self.left} trials to go")


class RunProgress:
    """A bar over the steps of an epoch, and the last epoch's figures for each task."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.epochs = epochs
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self.task = self.bar.add_task("")
        self.live = Live(self.bar, console=console)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def step(self, epoch: int, step: int, steps: int) -> None:
        """See `Watcher`."""
        done = (epoch - 1) * steps + step
        self.bar.update(self.task, completed=done, total=self.epochs * steps, description=f"epoch {epoch} of {self.epochs}")

    def epoch(self, epoch: int, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """See `Watcher`."""
        table = Table(title=f"epoch {epoch}", title_justify="left")
        for column in ("task", "loss", "KPI", "weight", "validation KPI"):
            table.add_column(column, justify="left" if column == "task" else "right")
        for task, line in tasks.items():
            table.add_row(task, *(f"{line[what]:.3f}" for what in ("loss", "kpi", "weight", "validation_kpi")))
        self.live.update(Group(table, self.bar))
