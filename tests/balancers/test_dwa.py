"""Dynamic Weight Average against independent values and trajectories worked by hand (Liu et al., CVPR 2019)."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hardfirst.balancers import DWA
from hardfirst.errors import InputError

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


def test_by_hand() -> None:
    """r = (2/4, 3/2): softmax(.25, .75)·2, the ratio of the weights is e^.5."""
    one, other = after([4.0, 2.0], [2.0, 3.0])
    assert (other / one).item() == pytest.approx(math.exp(0.5))
    assert (one + other).item() == pytest.approx(2.0)


def test_the_first_two_epochs_are_uniform() -> None:
    assert after([4.0, 2.0]).tolist() == [1.0, 1.0]
    assert after([4.0, 2.0], [1.0, 3.0]).tolist() != [1.0, 1.0]


def test_weights_change_between_epochs_only() -> None:
    balancer = DWA(["a", "b"])
    epoch(balancer, {"a": 4.0, "b": 2.0})
    epoch(balancer, {"a": 2.0, "b": 3.0})
    before = weights(balancer)
    total = balancer({"a": torch.tensor(50.0), "b": torch.tensor(1.0)})
    assert total.item() == pytest.approx(float(before @ torch.tensor([50.0, 1.0])))
    assert torch.equal(weights(balancer), before)


def test_the_means_are_of_losses_without_weights() -> None:
    """In the third epoch the weights are far from 1; were they in the means, r would not be 1."""
    balancer = DWA(["a", "b"], temperature=0.5)
    for a in (8.0, 1.0, 1.0):
        epoch(balancer, {"a": a, "b": 1.0})
    torch.testing.assert_close(weights(balancer), torch.ones(2))


def test_a_mean_is_over_the_steps_that_had_the_task() -> None:
    balancer = DWA(["a", "b"])
    epoch(balancer, {"a": 2.0, "b": 4.0}, {"b": 6.0}, {"a": 0.0, "b": 5.0})  # means 2 and 5
    epoch(balancer, {"a": 1.0, "b": 5.0})
    one, other = weights(balancer)
    assert (other / one).item() == pytest.approx(math.exp((1 - 0.5) / 2))


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


def test_without_end_epoch_the_weights_stay_1() -> None:
    balancer = DWA(["a", "b"])
    for loss in (9.0, 3.0, 1.0):
        balancer({"a": torch.tensor(loss), "b": torch.tensor(1.0)})
    assert weights(balancer).tolist() == [1.0, 1.0]


def test_the_slower_task_weighs_more() -> None:
    """Two parabolas, one ten times flatter, under gradient descent."""
    balancer = DWA(["fast", "slow"])
    points = torch.ones(2, requires_grad=True)
    for _ in range(6):
        for _ in range(5):
            losses = points**2 * torch.tensor([1.0, 0.1])
            (gradient,) = torch.autograd.grad(balancer(dict(zip(balancer.tasks, losses, strict=True))), points)
            with torch.no_grad():
                points -= 0.1 * gradient
        balancer.end_epoch()
    fast, slow = weights(balancer)
    assert slow > 1.1
    assert fast < 0.9


def test_a_mean_that_rises_from_nothing_leaves_finite_weights() -> None:
    torch.testing.assert_close(after([1e-38, 1.0], [1e19, 1.0], temperature=1e-3), torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(after([1e-38, 1e-38], [1e30, 1e30], temperature=1e-3), torch.ones(2))


@given(means, means, st.floats(0.01, 100))
def test_scale_invariance(first: list[float], second: list[float], scale: float) -> None:
    def scaled(losses: list[float]) -> list[float]:
        return [losses[0] * scale, *losses[1:]]

    torch.testing.assert_close(after(scaled(first), scaled(second)), after(first, second), rtol=1e-2, atol=1e-5)


@given(means, means, st.permutations(range(3)))
def test_order_of_the_tasks(first: list[float], second: list[float], order: list[int]) -> None:
    moved = after([first[p] for p in order], [second[p] for p in order])
    torch.testing.assert_close(moved, after(first, second)[order], rtol=1e-5, atol=1e-6)


@given(means, means, st.floats(0.1, 100))
def test_weights_sum_to_the_number_of_tasks_in_the_order_of_the_rates(
    first: list[float], second: list[float], temperature: float
) -> None:
    found = after(first, second, temperature=temperature)
    assert float(found.sum()) == pytest.approx(3, rel=1e-5)
    rates = torch.tensor(second) / torch.tensor(first)
    assert (found[rates.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_the_temperature_is_above_0(temperature: float) -> None:
    with pytest.raises(InputError, match=rf"Expected `temperature` to be above 0; got {temperature}\."):
        DWA(TASKS, temperature=temperature)
