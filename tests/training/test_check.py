"""Mistakes in a user's problem give one clear error before training starts."""

import math
from collections.abc import Callable
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


class Net(nn.Module):
    def __init__(self, value: Callable[[Tensor], Tensor] = lambda output: output[:, 3]) -> None:
        super().__init__()
        self.layer, self.value = nn.Linear(3, 4), value

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        output = self.layer(inputs)
        return {"kind": output[:, :3], "value": self.value(output)}


def own_problem(*, targets: dict | None = None, network: Callable[[], nn.Module] = Net, kpi: object = accuracy) -> Problem:
    table = TensorTable(INPUTS, TARGETS | (targets or {}))
    tasks = (
        Task("kind", F.cross_entropy, kpi),  # type: ignore[arg-type]
        Task("value", F.mse_loss, lambda output, target: within(output, target, threshold=1)),
    )
    return Problem("own", tasks, network, lambda: Splits(table, table, table), batch_size=12)


def error_of(**parts: object) -> str:
    with pytest.raises(InputError) as error:
        check_problem(own_problem(**parts), "own")  # type: ignore[arg-type]
    return str(error.value)


def test_a_valid_problem_passes_and_leaves_the_random_state() -> None:
    state = torch.get_rng_state()
    check_problem(own_problem(), "own")
    labelled, unlabelled = (TensorTable(INPUTS, targets) for targets in (TARGETS, MISSING))
    check_problem(replace(own_problem(), data=lambda: Splits(unlabelled, labelled, labelled)), "own")
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("only", [None, "value"])
def test_no_label_in_the_validation_split(only: str | None) -> None:
    """Without one the initial weights would be the result."""
    targets = MISSING if only is None else {only: MISSING[only]}
    sentence = "No task of problem 'own' has a label in the validation split"
    with pytest.raises(InputError, match=sentence):
        check_problem(own_problem(targets=targets).variant(only=only), "own")


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (
            {"targets": {"kind": torch.arange(12) % 4}},
            "Expected the classes of task 'kind' to be 0 to 2, as its output has 3, or -100 where there is no label; got 3.",
        ),
        ({"targets": {"kind": torch.arange(12) % 3 - 1}}, "where there is no label; got -1."),
        (
            {"network": lambda: Net(lambda output: output[:, 3:])},
            "Expected output and target of task 'value' to have the same shape; got [12, 1] and [12], which a loss would",
        ),
        (
            {"network": lambda: Net(lambda output: output[:6, 3])},
            "Expected as many outputs as targets for task 'value'; got [6] and [12].",
        ),
        (
            {"network": lambda: nn.Linear(3, 4)},
            "Expected the network of 'own' to return a dict with an output for each task; it returned Tensor.",
        ),
        (
            {"network": lambda: nn.Linear(5, 4)},
            "The network of 'own' failed on a batch of inputs [12, 3] torch.float32: RuntimeError: mat1 and mat2 shapes",
        ),
        ({"kpi": lambda output, target: torch.tensor(93.0)}, "Expected the KPI of task 'kind' to be in [0, 1]; got 93."),
        (
            {"kpi": lambda output, target: (output.argmax(1) == target).float()},
            "Expected the KPI of task 'kind' to be a 0-d tensor; got shape [12]. Reduce it first",
        ),
    ],
)
def test_parts_that_do_not_fit(parts: dict, sentence: str) -> None:
    assert sentence in error_of(**parts)


def test_a_target_without_a_task_while_a_task_lacks_its_target() -> None:
    table = TensorTable(INPUTS, {"kind": TARGETS["kind"], "valeu": TARGETS["value"]})
    problem = own_problem()
    own = Problem("own", problem.tasks, Net, lambda: Splits(table, table, table))
    with pytest.raises(InputError, match=r"Unknown task among the targets: 'valeu'; did you mean 'value'\?"):
        check_problem(own, "own")
    empty = TensorTable(INPUTS, {})
    own = Problem("own", problem.tasks, Net, lambda: Splits(empty, empty, empty))
    with pytest.raises(InputError, match=r"Expected items `\(inputs, {task: target}\)` in the data of 'own'"):
        check_problem(own, "own")


def test_an_error_in_the_users_file_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("def data():\n    return {}['train']\n")
    scope: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    problem = own_problem()
    own = Problem("own", problem.tasks, Net, scope["data"])
    with pytest.raises(InputError, match=r"own\.py, line 2: KeyError: 'train'"):
        check_problem(own, str(file))
