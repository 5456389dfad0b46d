"""ReLoBRaLo against its equation in Python numbers (Bischof and Kraus, 2021)."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from hardfirst.balancers import ReLoBRaLo

TASKS = ["a", "b", "c"]


def weights(balancer: ReLoBRaLo) -> Tensor:
    return torch.stack([*balancer.weights.values()])


def step(balancer: ReLoBRaLo, losses: list[float]) -> None:
    balancer({task: torch.tensor(loss) for task, loss in zip(balancer.tasks, losses, strict=True)})


def balanced(now: list[float], before: list[float], temperature: float) -> list[float]:
    powers = [math.exp(one / (temperature * other)) for one, other in zip(now, before, strict=True)]
    return [len(now) * power / sum(powers) for power in powers]


def history(count: int) -> list[list[float]]:
    numbers = torch.rand(count, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 2.0, 30.0]) + 0.01
    return [[float(number) * 0.9**row for number in numbers[row]] for row in range(count)]


@pytest.mark.parametrize("rho", [0.0, 1.0])
def test_the_equation(rho: float) -> None:
    """Where chance decides nothing; the losses of a step weigh the next one."""
    balancer, losses = ReLoBRaLo(TASKS, alpha=0.7, rho=rho, temperature=0.8), history(20)
    expected = [1.0] * 3
    step(balancer, losses[0])
    assert weights(balancer).tolist() == expected
    for before, now in pairwise(losses):
        kept = expected if rho else balanced(now, losses[0], 0.8)
        since_last = balanced(now, before, 0.8)
        expected = [0.7 * old + 0.3 * new for old, new in zip(kept, since_last, strict=True)]
        step(balancer, now)
        assert weights(balancer).tolist() == pytest.approx(expected, rel=1e-4)


def test_looks_back_as_often_as_it_says() -> None:
    """Against α = 1, where the weights change when it looks back alone."""
    balancer, changes = ReLoBRaLo(["a", "b"], alpha=1, rho=0.8), 0
    for number in range(400):
        before = weights(balancer)
        step(balancer, [2.0 + number / 400, 1.0])
        changes += not torch.equal(weights(balancer), before)
    assert 50 < changes < 110


def test_seeds_look_back_at_other_times() -> None:
    def trajectory(seed: int) -> list[float]:
        balancer = ReLoBRaLo(["a", "b"], alpha=1, rho=0.5, seed=seed)
        found = []
        for number in range(30):
            step(balancer, [2.0 + number, 1.0])
            found.append(float(balancer.weight[0]))
        return found

    assert trajectory(1) == trajectory(1) != trajectory(2)


def test_an_absent_task_keeps_its_weight_and_losses() -> None:
    balancer = ReLoBRaLo(TASKS, alpha=0.5)
    for losses in history(3):
        step(balancer, losses)
    weight, last = float(balancer.weight[1]), float(balancer.last[1])
    step(balancer, [0.5, 0.0, 7.0])
    assert float(balancer.weight[1]) == weight
    assert float(balancer.last[1]) == last


def test_a_task_that_comes_later_weighs_1_at_first() -> None:
    balancer = ReLoBRaLo(["a", "b"], alpha=0, rho=1)
    step(balancer, [2.0, 0.0])
    step(balancer, [1.0, 3.0])
    assert weights(balancer).tolist() == [1, 1]
    step(balancer, [1.0, 1.5])
    torch.testing.assert_close(weights(balancer), 2 * torch.tensor([1.0, 0.5]).softmax(0))


def test_a_loss_that_rises_from_nothing_leaves_finite_weights() -> None:
    balancer = ReLoBRaLo(["a", "b"], alpha=0, temperature=1e-3)
    step(balancer, [1e-38, 1e-38])
    step(balancer, [1e19, 1e19])
    torch.testing.assert_close(weights(balancer), torch.ones(2))
