"""What the command line shows: tables and progress."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hardfirst.record import Record
from hardfirst.report import Row, Summary
from hardfirst.studies import GRID, ORDERS, Event, Job, Session, counts
from hardfirst.studies.schedule import SINGLE
from hardfirst.studies.statistics import Interval
from hardfirst.training import Trial

_SIDE_BY_SIDE = 4  # columns of figures that a terminal of 80 columns can show beside each other


def comparison_table(summary: Summary, name: str) -> Table:
    """Test KPIs in points with their 95% intervals over seeds: tasks × methods, or of many methods the last rows only.

    Single-task networks come first, as a reference.
    """
    table = Table(title=f"{name}: test KPI × 100, mean over seeds ± 95% interval", title_justify="left")
    if len(summary.methods) + bool(summary.single) > _SIDE_BY_SIDE:
        _methods_by_rows(table, summary)
    else:
        _rows_by_methods(table, summary)
    return table


def _methods_by_rows(table: Table, summary: Summary) -> None:
    tasks = [row for row in summary.rows if row.kind == "task"]
    last = [row for row in summary.rows if row.kind != "task" or len(tasks) == 1]
    for column in ("method", "n", *(row.name for row in last)):
        table.add_column(column, justify="left" if column == "method" else "right", overflow="fold")
    if summary.single:
        table.add_row(SINGLE, str(summary.single_n), *(_single(summary, row) for row in last))
        table.add_section()
    for method in summary.methods:
        points = (_points(row.cells[method].kpi) for row in last)
        table.add_row(method, str(summary.finished[method]), *points)


def _rows_by_methods(table: Table, summary: Summary) -> None:
    table.add_column("task")
    if summary.single:
        table.add_column(f"{SINGLE}, n = {summary.single_n}", justify="right")
    for method in summary.methods:
        table.add_column(f"{method}, n = {summary.finished[method]}", justify="right")
    for row in summary.rows:
        if row.kind == "worst":
            table.add_section()
        single = [_single(summary, row)] if summary.single else []
        table.add_row(row.name, *single, *(_points(row.cells[method].kpi) for method in summary.methods))


def _single(summary: Summary, row: Row) -> str:
    return _points(summary.single[row.name]) if row.name in summary.single else "–"


def _points(interval: Interval) -> str:
    """The mean and half the interval's width, which takes less room than its ends."""
    if not interval.n:
        return "–"
    mean = f"{interval.mean:z.1f}"
    return f"{mean} ± {interval.high - interval.mean:.1f}" if interval.n > 1 else mean


def run_table(record: Record) -> Table:
    """A single run's figures on the test split."""
    table = Table(title="Test split, at the epoch that was best on the validation split", title_justify="left")
    for column in ("task", "KPI", "metrics", "loss", "weight in the last epoch"):
        table.add_column(column, justify="left" if column in ("task", "metrics") else "right")
    for task in record.tasks:
        figures = record.test["tasks"][task] if record.test else {}
        metrics = ", ".join(f"{name} {value:.3g}" for name, value in figures.get("metrics", {}).items())
        values = (figures.get("loss", float("nan")), record.curve(task, "weight")[-1])
        table.add_row(task, f"{figures.get('kpi', float('nan')):.3f}", metrics, *(f"{value:.3f}" for value in values))
    return table


def listing(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A plain table."""
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


LOG_EVERY = 60  # seconds between lines where the table cannot be drawn anew, in a log file for instance


class StudyProgress:
    """A table of how far each method is, a bar with the time left, and a line for whatever did not go well."""

    def __init__(self, console: Console, session: Session) -> None:
        self.console, self.session = console, session
        self.counts = counts(session.plan)
        self.ends: dict[str, Counter[str]] = defaultdict(Counter)
        self.running: dict[Trial, int] = {}
        self._count(session.jobs())
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
        total = sum(map(sum, self.counts.values()))
        self.task = self.bar.add_task("", total=total, completed=self.done.total())
        self.live = Live(get_renderable=self._table, console=console, refresh_per_second=2)
        self.said = time.monotonic()

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()
        if not self.console.is_terminal:  # where the last view is all there is, and ends without a line break
            self.console.print()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        trial, jobs = event.trial, self.session.serves(event.trial)
        if event.what in ("finished", "diverged", "failed"):
            self.running.pop(trial, None)
            self._count(self.session.wanted)
            if event.what != "finished":
                for method in set(map(_row, jobs)):
                    self.ends[method][event.what] += 1
        elif event.what == "busy":
            self.running.pop(trial, None)
        else:
            self.running[trial] = event.epoch
        if event.reason:
            self.console.print(f"{_what(jobs, trial)}: {event.what}: {event.reason}", markup=False)
        self.bar.update(self.task, completed=self.done.total())
        if not self.console.is_terminal and time.monotonic() - self.said > LOG_EVERY:
            self.said = time.monotonic()
            self.console.print(f"{self.done.total()}/{self.bar.tasks[0].total:.0f} runs")

    def _count(self, wanted: Mapping[str, Sequence[Job]]) -> None:
        """What has ended; one trial may serve several methods, some of which come to want it only later."""
        ended = (jobs for key, jobs in wanted.items() if self.session.store.find(key))
        found = ((_row(job), job.tuning) for jobs in ended for job in jobs)
        self.done = Counter(each for each in found if each[0] in self.counts)  # others count as one of these already

    def _table(self) -> Group:
        table = Table()
        for column in ("method", "tuning", "runs", "now", "did not finish"):
            table.add_column(column, justify="right" if column in ("tuning", "runs") else "left")
        for method, (tuning, reported) in self.counts.items():
            ends = ", ".join(f"{count} {what}" for what, count in list(self.ends[method].items()))
            counts = (_of(self.done[method, True], tuning), _of(self.done[method, False], reported))
            table.add_row(method, *counts, self._now(method), ends)
        return Group(table, self.bar)

    def _now(self, method: str) -> str:
        found = []
        for trial, epoch in list(self.running.items()):  # a thread that redraws reads what events change
            if method in map(_row, self.session.serves(trial)):
                what = [
                    trial.only or "",
                    f"seed {trial.seed}" if trial.test else "tuning",
                    f"epoch {epoch} of {trial.epochs}",
                ]
                found.append(", ".join(filter(None, what)))
        return "; ".join(found)


def _row(job: Job) -> str:
    """The row of the table that counts the job."""
    if job.role == "order" and not job.tuning:
        return ORDERS
    return GRID if job.role == "grid" else job.method


def _of(done: int, total: int) -> str:
    return f"{done}/{total}" if total else "–"


def _what(jobs: Sequence[Job], trial: Trial) -> str:
    method = jobs[0].method if jobs else str(trial.balancer)
    only = f", {trial.only}" if trial.only else ""
    return f"{method}{only}, {f'seed {trial.seed}' if trial.test else f'tuning at learning rate {trial.learning_rate}'}"


def duration(seconds: float) -> str:
    """In words: seconds below two minutes, else minutes, else hours.

    >>> duration(75), duration(600), duration(10_000)
    ('75 seconds', '10 minutes', '2.8 hours')
    """
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def plan_table(counts: Mapping[str, tuple[int, int]]) -> Table:
    """How many runs a study will have at most."""
    table = Table(title="Runs, at most", title_justify="left")
    for column in ("method", "tuning", "reported"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for method, (tuning, reported) in counts.items():
        table.add_row(method, str(tuning), str(reported))
    table.add_section()
    table.add_row("all", *(str(sum(column)) for column in zip(*counts.values(), strict=True)))
    return table


class RunProgress:
    """A bar over the steps of an epoch, and the last epoch's figures for each task."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console, self.epochs = console, epochs
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self.task = self.bar.add_task("")
        self.live = Live(self.bar, console=console)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()
        if not self.console.is_terminal:  # where the last view is all there is, and ends without a line break
            self.console.print()

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
