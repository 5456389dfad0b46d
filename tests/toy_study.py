"""A study that takes a second, for tests of engines."""

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from hardfirst import records
from hardfirst.studies import Assignment, Drive, Ended, Event, Executor, Runner, Store
from hardfirst.training import Trial

Outcome = Callable[[Assignment, int], Ended]

PROBLEM = """
import os, signal, time
from pathlib import Path
import torch
from torch import nn
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing, number_head
from hardfirst.problems import Problem, Splits, Task, TensorTable

MARK, DIES = Path({mark!r}), {dies}
SECONDS = 0 if MARK.exists() else {seconds}

def data():
    if DIES and not MARK.exists():
        MARK.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(SECONDS)
    inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    table = TensorTable(inputs, {{"a": (inputs[:, 0] > 0).float(), "b": (inputs[:, 1] * inputs[:, 2] > 0).float()}})
    return Splits(table, table, table)

def network():
    return HardSharing(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), {{task: number_head(8) for task in "ab"}})

def problem():
    loss = nn.functional.binary_cross_entropy_with_logits
    return Problem("toy", tuple(Task(task, loss, accuracy) for task in "ab"), network, data, batch_size=16, epochs=3)
"""


def problem(folder: Path, *, seconds: float = 0.0, dies: bool = False) -> str:
    """The problem's file. Its data takes some seconds, or kills its process, until there is a file `mark` in the folder."""
    path = folder / "toy.py"
    path.write_text(PROBLEM.format(mark=str(folder / "mark"), seconds=seconds, dies=dies))
    return str(path)


def plan(path: str, **settings: Any) -> dict[str, Any]:
    return {
        "problems": path,
        "balancers": "equal,dtp",
        "baselines": False,
        "controls": False,
        "seeds": 2,
        "vectorize": False,
        **settings,
    }


def finished(assignment: Assignment, kpi: Callable[[Trial, str], float] = lambda trial, task: 0.5) -> Ended:
    """Trials that finish after an epoch with these KPIs, on the validation split and on the test split."""
    texts = {}
    for key, trial in assignment.trials.items():
        path, problem = assignment.folder / "record", trial.load()
        writer = records.Writer(path)
        writer.trial(trial.describe(problem), problem.measured, vectorized=len(assignment.trials))
        kpis = {task: kpi(trial, task) for task in problem.measured}
        writer.epoch(
            1,
            seconds=1.0,
            learning_rate=0.1,
            tasks={task: {"validation_kpi": value, "weight": 0.5 + value} for task, value in kpis.items()},
        )
        if trial.test:
            writer.test(1, {task: {"kpi": value, "loss": 0.5} for task, value in kpis.items()})
        writer.end("finished", seconds=1.0)
        texts[key] = path.read_text()
        path.unlink()
    return Ended(assignment.key, "recorded", records=texts)


def run(runner: Runner, outcome: Outcome) -> tuple["Scripted", list[Event]]:
    """Run a study to its end without training."""
    executor, events = Scripted(outcome), list[Event]()
    Drive(executor, runner.store, tell=events.append).run(
        lambda: {key: several[0] for key, several in runner.trials().items()}
    )
    return executor, events


def measured(store: Store) -> dict[str, Any]:
    """What the records say, but for times and memory."""
    contents = {}
    for path in sorted((store.folder / "trials").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        drop = ("seconds", "memory", "made_with")
        contents[path.stem] = [{name: value for name, value in line.items() if name not in drop} for line in lines]
    return contents


class Scripted(Executor):
    """Ends each trial as `outcome` says, which gets the number of the attempt."""

    attempts = 3
    room = 1
    pulse = 0.0

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.started: list[Assignment] = []
        self.running: list[Assignment] = []
        self.stopped = False

    def check(self, accelerator: str) -> None: ...

    def open(self, folder: Path, trials: Collection[Trial]) -> None: ...

    def start(self, assignment: Assignment) -> None:
        self.started.append(assignment)
        self.running.append(assignment)

    def ended(self, timeout: float) -> list[Ended]:
        running, self.running = self.running, []
        return [self.outcome(assignment, self.started.count(assignment)) for assignment in running]

    def close(self) -> None:
        self.stopped = True
