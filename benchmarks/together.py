"""Trials trained together, against trials one by one: `python benchmarks/together.py [PROBLEM[=BATCH,BATCH,...] ...]`.

Of each problem and batch size: the millions of operations of a training step of one trial, where those of convolutions count
four times; and the CPU time of a step, and of an evaluation of 1,024 examples, of 5 and 10 trials together over that of as
many single ones. The two are measured in turns, and the shortest time of each counts. `_MOST_OPERATIONS` in
`training/vectorized/_work.py` is where it no longer pays.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from typing import Any

from hardfirst.balancers import Spec
from hardfirst.problems import PROBLEMS, TensorTable, load_problem
from hardfirst.training import Trial
from hardfirst.training._cost import _begun
from hardfirst.training._devices import setup_fabric
from hardfirst.training._randomness import forked_randomness
from hardfirst.training.vectorized import _work
from hardfirst.training.vectorized._group import Group
from hardfirst.training.vectorized._rows import Rows

DEFAULT = ("digits=64,256,512,1024,2048", "census=256,1024", "mnist_fashion=2,8,256", "brown=2,8,128")
COUNTS = (5, 10)
STEPS, ROUNDS, BATCHES = 6, 4, 3


class Alive:
    """What an evaluation asks of a run."""

    ended = False


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def single(trial: Trial) -> tuple[Callable[[], Any], Callable[[], Any]]:
    run = _begun(trial, "cpu")
    batches = cycle(list(islice(run.batches(), BATCHES)))

    def steps() -> None:
        for batch in islice(batches, STEPS):
            run.step(batch)
        run.read_log()

    return steps, run.validate


def together(trials: list[Trial]) -> tuple[int, tuple[Callable[[], Any], Callable[[], Any]]]:
    group = Group(Rows(trials, load_problem(trials[0].problem)), setup_fabric(1, "cpu", "32-true"))
    group.begin()
    batches = cycle(list(islice(group.batches.epoch(0), BATCHES)))
    runs: Any = [Alive() for _ in trials]

    def steps() -> None:
        group.stack.template.train()
        for number, (batch, _) in enumerate(islice(batches, STEPS)):
            group.step(number, *batch)

    return group.work.operations, (steps, lambda: group._evaluate(group.splits.validation, None, runs))


def row(problem: str) -> str:
    columns, operations = [], 0
    for count in COUNTS:
        trials = [Trial.plan(problem, Spec("equal"), seed=seed, epochs=1) for seed in range(count)]
        one = single(trials[0])
        operations, all_ = together(trials)
        for pair in zip(one, all_, strict=True):
            rounds = [[seconds(work) for work in pair] for _ in range(ROUNDS)][1:]  # the first one is a warm-up
            columns.append(min(each for _, each in rounds) / (count * min(each for each, _ in rounds)))
    return f"{operations / 1e6:8.1f}" + "".join(f"{ratio:9.2f}" for ratio in columns)


def main(problems: list[str]) -> None:
    _work._MOST_OPERATIONS = sys.maxsize
    titles = "".join(f"{f'step {n}':>9}{f'eval {n}':>9}" for n in COUNTS)
    print(f"{'problem':16}{'batch':>6}{'million':>8}{titles}", flush=True)
    for name, _, sizes in (each.partition("=") for each in problems or DEFAULT):
        loaded = load_problem(name)
        splits = loaded.data()
        few = TensorTable(*splits.validation[slice(1024)])  # type: ignore[index]  # the built-in ones are tables
        splits = replace(splits, validation=few)
        loaded = replace(loaded, data=lambda splits=splits: splits)  # type: ignore[misc]
        for size in map(int, sizes.split(",")) if sizes else [loaded.batch_size]:
            PROBLEMS.loaded[name] = partial(replace, loaded, batch_size=size)
            with forked_randomness():
                print(f"{name:16}{size:6}{row(name)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
