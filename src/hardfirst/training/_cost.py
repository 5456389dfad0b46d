"""Measure the time of training steps, for several methods in one process."""

import time
from collections.abc import Mapping
from itertools import cycle, islice
from typing import Any

import torch

from hardfirst.recipes import Schedule
from hardfirst.training._devices import check_precision, setup_fabric
from hardfirst.training._divergence import Diverged
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._training import Training
from hardfirst.training._trial import Trial

_BATCHES = 16  # loaded once and repeated, so that loading data is not timed


def step_seconds(
    trials: Mapping[str, Trial], *, rounds: int = 21, steps: int = 10, accelerator: str = "cpu"
) -> dict[str, list[float]]:
    """Measure the seconds per training step, by trial and round.

    The trials take turns in each round, so that other load on the machine affects all of them equally.

    Args:
        trials: by name. A trial that diverges within these steps is left out of the result.
        rounds: the number of turns of each trial.
        steps: the number of training steps in a turn.
        accelerator: as in Lightning Fabric.

    Returns:
        By trial, seconds per step in each round.
    """
    seconds_by_trial: dict[str, list[float]] = {name: [] for name in trials}
    with forked_randomness():
        runs = {}
        for name, trial in trials.items():
            runs[name] = _begun(trial, accelerator)
        batches = {name: cycle(list(islice(run.batches(), _BATCHES))) for name, run in runs.items()}
        for turn in range(rounds + 1):
            for name in list(runs):
                try:
                    seconds = _time_steps(runs[name], batches[name], steps)
                except Diverged:
                    del runs[name], seconds_by_trial[name]
                    continue
                if turn:  # the first one is a warm-up
                    seconds_by_trial[name].append(seconds / steps)
    return seconds_by_trial


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
