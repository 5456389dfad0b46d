"""The progress that commands show during runs."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from hardfirst.cli._leaderboard import broken
from hardfirst.cli._tables import kpi_text
from hardfirst.report.text.next_step import duration
from hardfirst.studies import Event, Runner, StudyTrial, counts
from hardfirst.training import Trial

LOG_EVERY = 60  # seconds between lines where the table cannot be redrawn, as in a log file
_NAME = 24  # characters in a line of a method's name
_MOST_NOW = 2  # runs that are named


class StudyProgress:
    """A table of how far each method is, a bar with the time left, and a line for each run that did not go well."""

    def __init__(self, console: Console, runner: Runner) -> None:
        self.console, self.runner = console, runner
        self.counts, self.heads = counts(runner.plan), runner.cases[0].heads
        self.ends: dict[str, Counter[str]] = defaultdict(Counter)
        self.running: dict[str, Event] = {}
        self.reasons: set[str] = set()  # why runs are trained one by one
        self._count(runner.trials())
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
        self.bar = Progress(*columns, TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
        total = sum(map(sum, self.counts.values()))
        self.task = self.bar.add_task("", total=total, completed=self.done.total())
        self.live = Live(get_renderable=self._table, console=console, refresh_per_second=2)
        self.printed = time.monotonic()

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:  # a search may end with fewer runs than it could have taken
            wanted = Counter((trial.row, trial.tuning) for trials in self.runner.wanted.values() for trial in trials)
            self.counts = {row: (wanted[row, True], wanted[row, False]) for row in self.counts}
            self.bar.update(self.task, total=sum(map(sum, self.counts.values())))
        self.live.stop()
        if not self.console.is_terminal:  # the last view is all that is printed there, and it ends without a line break
            self.console.print()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        trials = self.runner.wanted.get(event.key, [])
        if event.what in ("finished", "diverged", "failed"):
            self.running.pop(event.key, None)
            self._count(self.runner.wanted)
            if event.what != "finished":
                for row in {trial.row for trial in trials}:
                    self.ends[row][event.what] += 1
        elif event.what in ("busy", "singly"):
            self.running.pop(event.key, None)
        else:
            self.running[event.key] = event
        if event.what == "singly" and event.reason:
            self._say_singly(event.reason)
        elif event.reason:
            self.console.print(f"{run_name(trials, event.trial)}: {event.what}: {event.reason}", markup=False)
        self.bar.update(self.task, completed=self.done.total())
        if not self.console.is_terminal and time.monotonic() - self.printed > LOG_EVERY:
            self.printed = time.monotonic()
            self.console.print(f"{self.done.total()} of {self.bar.tasks[0].total:.0f} runs{_left(self.bar)}")

    def _say_singly(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.add(reason)
            self.console.print(f"Runs are trained one by one: {reason}", markup=False)

    def _count(self, wanted: Mapping[str, Sequence[StudyTrial]]) -> None:
        """Count what has ended; a trial may serve several methods, some of which ask for it only later."""
        ended = (trials for key, trials in wanted.items() if self.runner.store.find(key))
        rows = ((trial.row, trial.tuning) for trials in ended for trial in trials)
        self.done = Counter(row for row in rows if row[0] in self.counts)  # others are part of one of these

    def _table(self) -> Group:
        table = Table()
        for column in (*self.heads, "now", "did not finish"):
            table.add_column(column, justify="right" if column in self.heads[1:] else "left")
        for method, (tuning, reported) in self.counts.items():
            ends = ", ".join(f"{count} {what}" for what, count in list(self.ends[method].items()))
            counts = (_of(self.done[method, True], tuning), _of(self.done[method, False], reported))
            table.add_row(broken(method, _NAME), *counts, self._now(method), ends)
        return Group(table, self.bar)

    def _now(self, method: str) -> str:
        """The trials of a row that run now; of many, their number."""
        running = list(self.running.items())  # the thread that redraws reads what events change
        events = [event for key, event in running if any(trial.row == method for trial in self.runner.wanted.get(key, []))]
        if len(events) > _MOST_NOW:
            epochs = [event.epoch for event in events]
            return f"{len(events)} runs, epoch {min(epochs)} of {events[0].trial.epochs}"
        texts = []
        for event in events:
            trial = event.trial
            seed = f"seed {trial.seed}" if trial.test else "tuning"
            texts.append(", ".join(filter(None, [trial.only, seed, f"epoch {event.epoch} of {trial.epochs}"])))
        return "; ".join(texts)


def _left(bar: Progress) -> str:
    """The time left, if it can be told yet."""
    left = bar.tasks[0].time_remaining
    return "" if left is None else f", about {duration(left)} left"


def _of(done: int, total: int) -> str:
    return f"{done}/{total}" if total else "–"


def run_name(trials: Sequence[StudyTrial], trial: Trial) -> str:
    """What a line about a trial calls it."""
    method = trials[0].method if trials else str(trial.balancer)
    only = f", {trial.only}" if trial.only else ""
    return f"{method}{only}, {f'seed {trial.seed}' if trial.test else f'tuning at learning rate {trial.learning_rate}'}"


class ShareProgress:
    """A bar for work that reports the share of it that is done, from its first report on."""

    def __init__(self, console: Console, text: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("left:"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self.task = self.bar.add_task(text, total=1.0)
        self.console, self.begun = console, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar.live.is_started:
            self.bar.stop()

    def __call__(self, share: float) -> None:
        """Show that this share of the work is done."""
        if not self.begun:
            self.begun = True
            if self.console.is_terminal:
                self.bar.start()
            else:
                self.console.print(self.bar.tasks[0].description)
        self.bar.update(self.task, completed=share)


class RunProgress:
    """A bar over the steps of all epochs, and the last epoch's figures for each task; from the first step on, so that an
    error before it is not drawn over.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        self.console, self.epochs = console, epochs
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
        self.bar = Progress(*columns, TimeRemainingColumn(), console=console)
        self.task = self.bar.add_task("")
        self.live = Live(self.bar, console=console)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.live.is_started:
            return
        self.live.stop()
        if not self.console.is_terminal:  # the last view is all that is printed there, and it ends without a line break
            self.console.print()

    def step(self, epoch: int, step: int, steps: int) -> None:
        """See `Watcher`."""
        if not self.live.is_started:
            self.live.start()
        done = (epoch - 1) * steps + step
        self.bar.update(self.task, completed=done, total=self.epochs * steps, description=f"epoch {epoch} of {self.epochs}")

    def epoch(self, epoch: int, tasks: Mapping[str, Mapping[str, Any]]) -> None:
        """See `Watcher`."""
        table = Table(title=f"epoch {epoch}", title_justify="left")
        for column in ("task", "loss", "KPI × 100", "weight", "validation KPI × 100"):
            table.add_column(column, justify="left" if column == "task" else "right")
        for task, line in tasks.items():
            loss, weight = (f"{line[what]:.3f}" for what in ("loss", "weight"))
            table.add_row(task, loss, kpi_text(line), weight, kpi_text(line, "validation_"))
        self.live.update(Group(table, self.bar))
