"""No step of the loop waits for the device: operations that read a value on the host are counted, on the CPU."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from hardfirst.balancers import Spec, _gradient
from hardfirst.networks import HardSharing
from hardfirst.problems import PROBLEMS, Problem, Splits, Task, TensorTable
from hardfirst.recipes import Recipe
from hardfirst.training import Trial
from hardfirst.training._devices import setup_fabric
from hardfirst.training._training import Training


class Reads(TorchDispatchMode):
    """Counts the operations whose result depends on values that the host has to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masked = name.startswith("index") and any(
            isinstance(index, Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], list) else ())
        )
        if masked or name in ("_local_scalar_dense", "is_nonzero", "nonzero", "item", "masked_select", "equal"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def agreement(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) == target).float().mean()


def problem(accumulate: int) -> Problem:
    """`whole` has all labels, `gaps` lacks a third, and `rare` has none in most batches."""
    inputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    whole = (inputs[:, 0] > 0).long()
    gaps, rare = whole.clone(), inputs[:, 1].clone()
    gaps[::3] = -100
    rare[1:] = torch.nan
    data = TensorTable(inputs, {"whole": whole, "gaps": gaps, "rare": rare})
    heads = {"whole": nn.Linear(8, 2), "gaps": nn.Linear(8, 2), "rare": nn.Sequential(nn.Linear(8, 1), nn.Flatten(0))}
    return Problem(
        "syncs",
        tasks=(
            Task("whole", F.cross_entropy, agreement),
            Task("gaps", F.cross_entropy, agreement),
            Task("rare", F.mse_loss, lambda output, target: 1 / (1 + F.l1_loss(output, target)), scale=0.5),
        ),
        network=lambda: HardSharing(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), heads),
        data=lambda: Splits(data, data, data),
        batch_size=8,
        epochs=1,
        learning_rate=0.01,
        recipe=Recipe(accumulate=accumulate),
    )


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The reads of a gradient method: its one transfer, and not what it then does with matrices on the host."""
    found: list[int] = []
    transfer, combine = _gradient.to_host, _gradient.GradientBalancer._gradient_by_leaf

    def combined(*arguments: Any) -> Any:
        with _disable_current_modes():
            return combine(*arguments)

    def transferred(*tensors: Tensor) -> Any:
        found.append(len(tensors))
        return transfer(*tensors)

    monkeypatch.setattr(_gradient, "to_host", transferred)
    monkeypatch.setattr(_gradient.GradientBalancer, "_gradient_by_leaf", combined)
    return found


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(("spec", "most"), [("equal", 0), ("dtp", 0), ("uncertainty", 0), ("upgrad", 1)])
def test_a_step_reads_nothing(
    monkeypatch: pytest.MonkeyPatch, transfers: list[int], spec: str, most: int, accumulate: int
) -> None:
    monkeypatch.setitem(PROBLEMS.loaded, "syncs", lambda: problem(accumulate))
    trial = Trial.plan("syncs", Spec.parse(spec))
    training = Training(trial, trial.load(), setup_fabric(1, "cpu"))
    training.begin()
    batches = list(training.batches())
    assert {len(batch.rows) for batch in batches} == {2, 3}, "a task is absent from some batches"
    for batch in batches:
        with Reads() as reads:
            training.step(batch)
        assert not reads.found
        training.position.step += 1
    assert len(transfers) == most * len(batches)
    training.read_log()
    assert training.position.sums.steps == {"whole": 5, "gaps": 5, "rare": 1}
