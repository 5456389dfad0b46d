"""Measure the time of training steps, for several methods in one process."""

import math
import time
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import Any, NamedTuple

import torch

from hardfirst.recipes import Schedule
from hardfirst.training._devices import check_precision, setup_fabric
from hardfirst.training._divergence import Diverged
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._training import Training
from hardfirst.training._trial import Trial

_BATCHES = 16  # loaded once and repeated, so that loading data is not timed
_FEWEST_ROUNDS = 3


class StepTimes(NamedTuple):
    """Measured times of training steps.

    Args:
        seconds: by trial, the seconds per step in each round.
        steps: the number of steps that each trial took in a round.
    """

    seconds: dict[str, list[float]]
    steps: int


def step_seconds(
    trials: Mapping[str, Trial],
    *,
    rounds: int = 21,
    steps: int = 10,
    limit: float = math.inf,
    accelerator: str = "cpu",
    tell: Callable[[float], None] = lambda share: None,
) -> StepTimes:
    """Measure the seconds per training step, by trial and round.

    The trials take turns in each round, so that other load on the machine affects all of them equally.

    Args:
        trials: by name. A trial that diverges within these steps is left out of the result.
        rounds: number of turns of each trial.
        steps: training steps in a turn.
        limit: about how many seconds to spend on a trial, on average. Slow trials get fewer steps, then fewer rounds, but
            never fewer than one step and three rounds.
        accelerator: as in Lightning Fabric.
        tell: called with the share of the work that is done, in [0, 1].
    """
    with forked_randomness():
        tell(0.0)
        runs = {name: _begun(trial, accelerator) for name, trial in trials.items()}
        batches = {name: cycle(list(islice(run.batches(), _BATCHES))) for name, run in runs.items()}
        times: dict[str, list[float]] = {name: [] for name in trials}

        def turn(steps: int) -> None:
            for name in list(runs):
                try:
                    times[name].append(_time_steps(runs[name], batches[name], steps) / steps)
                except Diverged:
                    del runs[name], times[name]

        turn(1)  # the first step sets things up
        turn(1)
        step = sum(seconds[-1] for seconds in times.values())
        rounds, taken = _affordable(rounds, steps, limit * len(trials) / step if step else math.inf)
        if taken == steps:
            turn(steps)  # of short steps, the first ones are not typical
        measured = {name: len(seconds) for name, seconds in times.items()}
        for number in range(rounds):
            turn(taken)
            tell((number + 1) / rounds)
    return StepTimes({name: seconds[measured[name] :] for name, seconds in times.items()}, taken)


def _affordable(rounds: int, steps: int, most: float) -> tuple[int, int]:
    """As many of these rounds and steps as `most` steps in all allow.

    >>> _affordable(21, 10, 1000), _affordable(21, 10, 100), _affordable(21, 10, 7), _affordable(21, 10, 0.5)
    ((21, 10), (21, 4), (7, 1), (3, 1))
    """
    fewer = int(max(1, min(steps, most // rounds)))
    return int(max(_FEWEST_ROUNDS, min(rounds, most // fewer))), fewer


def _begun(trial: Trial, accelerator: str) -> Training:
    """Start the run, with a constant schedule, since more steps are timed than its schedule may have."""
    problem = trial.load()
    check_precision(problem.recipe.precision, accelerator)
    run = Training(trial, problem, setup_fabric(1, accelerator, problem.recipe.precision))
    run.begin()
    run.updates.schedule = Schedule(None)
    return run


def _time_steps(run: Training, batches: "cycle[Any]", steps: int) -> float:
    start = time.perf_counter()
    for batch in islice(batches, steps):
        run.step(batch)
        run.position.step = (run.position.step + 1) % run.steps  # several batches may form one step of the optimizer
    run.read_log()
    if run.fabric.device.type == "cuda":
        torch.cuda.synchronize(run.fabric.device)
    return time.perf_counter() - start


def trial_seconds(trial: Trial, *, steps: int = 30, accelerator: str = "cpu") -> float:
    """Estimate the trial's duration in seconds on one core, from a few training steps and one validation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with forked_randomness():
            start = time.perf_counter()
            run = _begun(trial, accelerator)
            setup = time.perf_counter() - start
            batches = cycle(list(islice(run.batches(), _BATCHES)))
            _time_steps(run, batches, steps // 3)
            step = _time_steps(run, batches, steps) / steps
            start = time.perf_counter()
            run.validate()
            return setup + trial.epochs * (step * run.steps + time.perf_counter() - start)
    except Diverged:
        return 0.0
    finally:
        torch.set_num_threads(threads)
