"""Dynamic Weight Average against independent values and trajectories worked by hand (Liu et al., CVPR 2019)."""

import json
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hardfirst.balancers import DWA

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["dwa"]
TASKS = ["a", "b", "c"]
means = st.lists(st.floats(0.01, 100), min_size=3, max_size=3)


def epoch(balancer: DWA, *steps: dict[str, float]) -> None:
    for step in steps:
        balancer({task: torch.tensor(loss) for task, loss in step.items()})
    balancer.end_epoch()


def weights(balancer: DWA) -> Tensor:
    return torch.stack(list(balancer.weights.values()))


def after(*epochs: list[float], temperature: float = 2.0) -> Tensor:
    balancer = DWA(TASKS[: len(epochs[0])], temperature=temperature)
    for losses in epochs:
        epoch(balancer, dict(zip(TASKS, losses, strict=False)))
    return weights(balancer)


def test_independent_values() -> None:
    balancer = DWA(TASKS, temperature=CASE["temperature"])
    for losses, expected in zip(CASE["epoch_mean_losses"], CASE["weights_in_epoch"], strict=True):
        torch.testing.assert_close(weights(balancer), torch.tensor(expected), rtol=1e-5, atol=0)
        # three steps with this mean, the middle one of which has the weights of the whole epoch
        epoch(balancer, *({t: m * part for t, m in zip(TASKS, losses, strict=True)} for part in (0.2, 1.0, 1.8)))


def test_a_task_unseen_in_an_epoch_has_r_1() -> None:
    balancer = DWA(TASKS)
    epoch(balancer, {"a": 4.0, "b": 2.0, "c": 1.0})
    epoch(balancer, {"b": 3.0, "c": 1.0})
    expected = torch.tensor([0.5, 0.75, 0.5]).softmax(0) * 3
    torch.testing.assert_close(weights(balancer), expected)
    epoch(balancer, {"a": 1.0, "b": 3.0, "c": 1.0})  # a was unseen the epoch before: still no rate
    torch.testing.assert_close(weights(balancer), torch.ones(3))
    epoch(balancer, {"a": 3.0, "b": 3.0, "c": 1.0})
    torch.testing.assert_close(weights(balancer), torch.tensor([1.5, 0.5, 0.5]).softmax(0) * 3)


def test_a_mean_that_rises_from_nothing_leaves_finite_weights() -> None:
    torch.testing.assert_close(after([1e-38, 1.0], [1e19, 1.0], temperature=1e-3), torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(after([1e-38, 1e-38], [1e30, 1e30], temperature=1e-3), torch.ones(2))


@given(means, means, st.floats(0.01, 100))
def test_scale_invariance(first: list[float], second: list[float], scale: float) -> None:
    def scaled(losses: list[float]) -> list[float]:
        return [losses[0] * scale, *losses[1:]]

    torch.testing.assert_close(after(scaled(first), scaled(second)), after(first, second), rtol=1e-2, atol=1e-5)
