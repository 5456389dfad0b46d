"""The loop's own cost: `python benchmarks/loop.py [BALANCER …]`.

Trains digits by `fit`, and by a bare loop with the same balancer, optimizer, KPIs and validation, in turns in one process.
Prints the CPU time of the one over that of the other, and what both run in a training step: calls of Python functions,
counted by `sys.setprofile`, and tensor operations that are not views. The limit of the ratio is 1.9.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from hardfirst.balancers import Spec
from hardfirst.problems import PROBLEMS, TensorTable
from hardfirst.training import Trial, fit
from operations import Operations

EPOCHS = 3
ROUNDS = 3


class Calls:
    """Counts the calls of Python functions in its context."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Calls":
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, _frame: FrameType, event: str, _argument: Any) -> None:
        self.count += event == "call"


def bare(spec: str, epochs: int) -> None:
    """The loop that one would write by hand."""
    torch.manual_seed(0)
    problem = PROBLEMS["digits"]()
    splits, network = problem.data(), problem.network()
    balancer = Spec.parse(spec).build(problem.task_names, seed=0)
    optimizer = problem.recipe.make_optimizer(network, problem.learning_rate)
    train, validation, shared = splits.train, splits.validation, network.shared_parameters()
    assert isinstance(train, TensorTable)
    assert isinstance(validation, TensorTable)
    for _ in range(epochs):
        network.train()
        for index in torch.randperm(len(train)).split(problem.batch_size):
            outputs, targets = network(train.inputs[index]), {task: t[index] for task, t in train.targets.items()}
            losses = {task.name: task.loss(outputs[task.name], targets[task.name]) for task in problem.tasks}
            kpis = {task.name: task.kpi(outputs[task.name], targets[task.name]) for task in problem.tasks}
            optimizer.zero_grad()
            balancer.backward(losses, kpis, shared=shared)
            optimizer.step()
        balancer.end_epoch()
        network.eval()
        with torch.no_grad():
            outputs = network(validation.inputs)
            for task in problem.tasks:
                pair = outputs[task.name], validation.targets[task.name]
                float(task.loss(*pair)), float(task.kpi(*pair))


def ours(spec: str, epochs: int) -> None:
    trial = Trial.plan("digits", Spec.parse(spec), epochs=epochs)
    with tempfile.TemporaryDirectory() as folder:
        fit(trial, record_file=Path(folder) / "record.jsonl", accelerator="cpu")


def cpu_seconds(run: Callable[[str, int], None], spec: str) -> float:
    """CPU seconds of the epochs, without the start: that of data and network is in both."""
    seconds = []
    for epochs in (1, 1 + EPOCHS):
        start = time.process_time()
        run(spec, epochs)
        seconds.append(time.process_time() - start)
    return seconds[1] - seconds[0]


def per_step(run: Callable[[str, int], None], spec: str, counter: type[Calls] | type[Operations]) -> float:
    """What the counter counts in an epoch, over its steps; of these the validation is a small part."""
    counts = []
    for epochs in (1, 2):
        with counter() as counted:
            run(spec, epochs)
        counts.append(counted.count)
    problem = PROBLEMS["digits"]()
    return (counts[1] - counts[0]) / -(-len(problem.data().train) // problem.batch_size)  # type: ignore[arg-type]


def main() -> None:
    torch.set_num_threads(1)
    print(f"`fit` on digits over a bare loop, {ROUNDS} rounds of {EPOCHS} epochs (limit 1.9)")
    print("balancer       CPU time  [least, most]   calls a step: fit  bare   operations: fit  bare")
    for spec in sys.argv[1:] or ["equal", "dtp", "uncertainty"]:
        cpu_seconds(ours, spec), cpu_seconds(bare, spec)
        ratios = [cpu_seconds(ours, spec) / cpu_seconds(bare, spec) for _ in range(ROUNDS)]
        counts = [per_step(run, spec, counter) for counter in (Calls, Operations) for run in (ours, bare)]
        print(
            f"{spec:14}{statistics.median(ratios):9.2f}  [{min(ratios):.2f}, {max(ratios):.2f}]"
            f"{counts[0]:22.0f}{counts[1]:6.0f}{counts[2]:18.0f}{counts[3]:6.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
