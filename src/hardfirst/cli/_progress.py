"""The progress that commands show while runs go on."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hardfirst.records.names import GRID, ORDERS
from hardfirst.studies import Event, Job, Runner, counts
from hardfirst.training import Trial

LOG_EVERY = 60  # seconds between lines where the table cannot be drawn anew, in a log file for instance


class StudyProgress:
    """A table of how far each method is, a bar with the time left, and a line for whatever did not go well."""

    def __init__(self, console: Console, runner: Runner) -> None:
        self.console, self.runner = console, runner
        self.counts = counts(runner.plan)
        self.ends: dict[str, Counter[str]] = defaultdict(Counter)
        self.running: dict[Trial, int] = {}
        self._count(runner.jobs())
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
        trial, jobs = event.trial, self.runner.serves(event.trial)
        if event.what in ("finished", "diverged", "failed"):
            self.running.pop(trial, None)
            self._count(self.runner.wanted)
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
        ended = (jobs for key, jobs in wanted.items() if self.runner.store.find(key))
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
            if method in map(_row, self.runner.serves(trial)):
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
