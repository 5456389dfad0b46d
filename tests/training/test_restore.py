"""Checkpoints that are not those of the run: each gives one sentence, whatever was changed."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import PROBLEMS, Problem, Splits, Task, TensorTable
from hardfirst.training import Trial, fit

Change = Callable[[dict[str, Any]], object]
TASKS = ("a", "b")


def problem() -> Problem:
    inputs = torch.linspace(-1, 1, 128).reshape(32, 4)
    table = TensorTable(inputs, {task: (inputs[:, 0] > 0).long() for task in TASKS})
    return Problem(
        "tiny",
        tuple(Task(task, F.cross_entropy, accuracy) for task in TASKS),
        lambda: HardSharing(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), {task: nn.Linear(8, 2) for task in TASKS}),
        lambda: Splits(table, table, table),
        batch_size=16,
        epochs=3,
    )


@pytest.fixture(autouse=True)
def _builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBLEMS.loaded, "tiny", problem)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state after two of three epochs, with the sums of a step of the third."""

    class Stop:
        def step(self, epoch: int, step: int, steps: int) -> None:
            if (epoch, step) == (3, 1):
                raise StopIteration

        def epoch(self, epoch: int, tasks: dict[str, Any]) -> None: ...

    folder = tmp_path_factory.mktemp("run")
    files = {"record_file": folder / "r.jsonl", "checkpoint": folder / "c.pt"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROBLEMS.loaded, "tiny", problem)
        with pytest.raises(StopIteration):
            fit(trial(), **files, watcher=Stop(), accelerator="cpu")
    state = torch.load(folder / "c.pt", weights_only=True)
    figures = {name: dict.fromkeys(TASKS, 0.5) for name in ("loss", "kpi", "weight")}
    state["position"]["step"] = 1
    state["position"]["sums"] = figures | {name: dict.fromkeys(TASKS, 1) for name in ("count", "measured", "steps")}
    return {"state": state, "record": (folder / "r.jsonl").read_text()}


def trial() -> Trial:
    return Trial.plan("tiny", Spec.parse("dtp"), epochs=3)


def resume(folder: Path, checkpoint: dict[str, Any], change: Change = lambda state: None) -> str | None:
    state = copy.deepcopy(checkpoint["state"])
    change(state)
    torch.save(state, folder / "c.pt")
    (folder / "r.jsonl").write_text(checkpoint["record"])
    return fit(trial(), record_file=folder / "r.jsonl", checkpoint=folder / "c.pt", resume=True, accelerator="cpu").outcome


def put(*path: Any, value: Any) -> Change:
    """A change that sets one entry."""

    def change(state: dict[str, Any]) -> None:
        for name in path[:-1]:
            state = state[name]
        state[path[-1]] = value

    return change


def drop(*path: Any) -> Change:
    def change(state: dict[str, Any]) -> None:
        for name in path[:-1]:
            state = state[name]
        del state[path[-1]]

    return change


WEIGHT, GROUP, SUMS = "trunk.0.weight", ("optimizer", "param_groups", 0), ("position", "sums")
CHANGES = {
    **{f"without {name}": drop(name) for name in ("network", "best", "optimizer", "balancer", "rng", "position")},
    **{
        f"{name} is a list": put(name, value=[1]) for name in ("network", "best", "optimizer", "balancer", "rng", "position")
    },
    **{f"{name} is None": put(name, value=None) for name in ("network", "best", "optimizer", "balancer", "rng", "position")},
    "settings that hold a tensor": put("settings", "seed", value=torch.zeros(2)),
    "devices are a tensor": put("devices", value=torch.zeros(2)),
    **{f"{name} of another shape": put(name, WEIGHT, value=torch.zeros(2, 4)) for name in ("network", "best")},
    **{f"{name} of another type": put(name, WEIGHT, value=torch.zeros(8, 4).long()) for name in ("network", "best")},
    **{f"{name} without a weight": drop(name, WEIGHT) for name in ("network", "best")},
    **{f"{name} with one more": put(name, "more", value=torch.zeros(1)) for name in ("network", "best")},
    **{f"{name} with a number": put(name, WEIGHT, value=1.0) for name in ("network", "best")},
    "another learning rate": put(*GROUP, "lr", value=1e9),
    "a learning rate that is a word": put(*GROUP, "lr", value="fast"),
    "other betas": put(*GROUP, "betas", value=(2.0, 2.0)),
    "no parameters": put(*GROUP, "params", value=[]),
    "no groups": put("optimizer", "param_groups", value=[]),
    "an average of another shape": put("optimizer", "state", 0, "exp_avg", value=torch.zeros(3)),
    "an average that is missing": drop("optimizer", "state", 0, "exp_avg_sq"),
    "an average of no parameter": put("optimizer", "state", 99, value={}),
    "a negative count of steps": put("optimizer", "state", 0, "step", value=torch.tensor(-3.0)),
    "a count of steps that is NaN": put("optimizer", "state", 0, "step", value=torch.tensor(math.nan)),
    "a random state that is too short": put("rng", value=torch.zeros(3, dtype=torch.uint8)),
    **{f"epoch {value!r}": put("position", "epoch", value=value) for value in (-1, 10**9, 10**400, 1.0, "1", None, True)},
    **{f"step {value!r}": put("position", "step", value=value) for value in (-3, 10**9, 0.5, "1", None)},
    **{f"best_epoch {value!r}": put("position", "best_epoch", value=value) for value in (-1, 3, 1.0, "1")},
    **{f"best_kpi {value!r}": put("position", "best_kpi", value=value) for value in (math.nan, 5.0, -math.inf, "1", None)},
    **{f"seconds {value!r}": put("position", "seconds", value=value) for value in (-1.0, math.nan, "1", None)},
    "a position with one more": put("position", "more", value=1),
    "sums are a list": put(*SUMS, value=[1]),
    "sums with one more": put(*SUMS, "more", value={}),
    "sums of another task": put(*SUMS, "loss", "zz", value=1.0),
    "sums of fewer tasks": drop(*SUMS, "loss", "a"),
    "sums that are words": put(*SUMS, "loss", "a", value="1"),
    "sums that are NaN": put(*SUMS, "weight", "a", value=math.nan),
    "a count of 0": put(*SUMS, "count", "a", value=0),
    "a count that is no whole number": put(*SUMS, "steps", "a", value=1.5),
    "a KPI without its count": drop(*SUMS, "measured", "a"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_checkpoint_with_a_foreign_field_gets_a_sentence(
    tmp_path: Path, checkpoint: dict[str, Any], change: Change
) -> None:
    with pytest.raises(InputError, match=r"^The checkpoint .*(does not fit this run: |run with )"):
        resume(tmp_path, checkpoint, change)


def test_the_same_checkpoint_without_a_change_is_resumed(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    assert resume(tmp_path, checkpoint) == "finished"


def test_a_checkpoint_of_a_run_whose_record_is_gone(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    for lines in ([], checkpoint["record"].splitlines(keepends=True)[:2]):
        with pytest.raises(
            InputError, match=r"no longer in .*, or has fewer than the 2 epochs .*\. Restore it, or remove the checkpoint"
        ):
            resume(tmp_path, {**checkpoint, "record": "".join(lines)})


def test_what_a_killed_process_has_left_of_a_checkpoint_is_removed(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    (tmp_path / ".c.pt.12345.part").write_bytes(b"half of it")
    resume(tmp_path, checkpoint)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.pt", "r.jsonl"]
