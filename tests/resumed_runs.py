"""Trains a problem for two epochs, at once and with a stop between."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from hardfirst import records
from hardfirst.balancers import Spec
from hardfirst.training import Interrupted, Trial, fit


class Stop:
    """Presses Ctrl-C after a step."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = epoch, step

    def step(self, epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == self.at:
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, epoch: int, tasks: dict[str, Any]) -> None: ...


def trained_and_resumed(problem: str, folder: Path, **settings: Any) -> records.Record:
    """Train a problem by DTP, and check that a run that is stopped and resumed has the same weights.

    Args:
        problem: a name or a file.
        folder: where records and checkpoints are written.
        settings: of the trial.
    """
    trial = Trial.plan(problem, Spec.parse("dtp"), epochs=2, **settings)

    def run(name: str, **options: Any) -> records.Record:
        files = {"record_file": folder / f"{name}.jsonl", "checkpoint": folder / f"{name}.pt"}
        return fit(trial, **files, accelerator="cpu", **options)

    record = run("straight")
    with pytest.raises(Interrupted, match="Stopped in epoch 2 after step 1"):
        run("stopped", watcher=Stop(2, 1))
    run("stopped", resume=True)
    straight, resumed = (torch.load(folder / f"{name}.pt", weights_only=True)["network"] for name in ("straight", "stopped"))
    assert straight.keys() == resumed.keys()
    for name, weights in straight.items():
        assert torch.equal(weights, resumed[name]), name
    return record
