"""Mistakes in a user's problem give one clear error before training starts."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, within
from hardfirst.problems import Problem, Splits, Task, TensorTable
from hardfirst.training import check_problem

INPUTS = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
TARGETS = {"kind": torch.arange(12) % 3, "value": INPUTS.sum(1)}
MISSING = {"kind": torch.full((12,), -100), "value": torch.full((12,), math.nan)}


class Net(nn.Linear):
    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        output = super().forward(inputs)
        return {"kind": output[:, :3], "value": output[:, 3]}


def own_problem(**targets: Tensor) -> Problem:
    table = TensorTable(INPUTS, TARGETS | targets)
    tasks = (
        Task("kind", F.cross_entropy, accuracy),
        Task("value", F.mse_loss, lambda output, target: within(output, target, threshold=1)),
    )
    return Problem("own", tasks, lambda: Net(3, 4), lambda: Splits(table, table, table), batch_size=12)


def test_a_valid_problem_passes_and_leaves_the_random_state() -> None:
    state = torch.get_rng_state()
    check_problem(own_problem(), "own")
    labelled, unlabelled = (TensorTable(INPUTS, targets) for targets in (TARGETS, MISSING))
    check_problem(replace(own_problem(), data=lambda: Splits(unlabelled, labelled, labelled)), "own")
    assert torch.equal(torch.get_rng_state(), state)


def test_no_label_of_the_only_task_in_the_validation_split() -> None:
    """Without one the initial weights would be the result."""
    with pytest.raises(InputError, match=r"No task of problem 'own' has a label in the validation split \(value\)"):
        check_problem(own_problem(value=MISSING["value"]).variant(only="value"), "own")


def test_a_class_below_0() -> None:
    with pytest.raises(InputError, match=r"where there is no label; got -1\."):
        check_problem(own_problem(kind=torch.arange(12) % 3 - 1), "own")


def test_an_error_in_the_users_file_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def data():\n    return {}['train']\n")
    scope: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    with pytest.raises(InputError, match=r"own\.py, line 2: KeyError: 'train'"):
        check_problem(replace(own_problem(), data=scope["data"]), str(file))
