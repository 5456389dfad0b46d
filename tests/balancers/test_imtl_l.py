"""IMTL's loss balance against independent values and torch's own Adam (Liu et al., ICLR 2021)."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import functional
from hardfirst.balancers import IMTLL
from hardfirst.errors import InputError

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["imtl_l"]


def test_total_and_gradient() -> None:
    losses = torch.tensor(CASE["losses"], dtype=torch.float64)
    s = torch.tensor(CASE["s"], dtype=torch.float64, requires_grad=True)
    total = functional.imtl_l(losses, s)
    total.backward()
    torch.testing.assert_close(total, torch.tensor(CASE["total"], dtype=torch.float64), rtol=1e-10, atol=0)
    torch.testing.assert_close(s.grad, torch.tensor(CASE["grad_s"], dtype=torch.float64), rtol=1e-10, atol=0)


def test_the_first_step_by_hand() -> None:
    """Adam's first step is lr against the gradient's sign, e⁰·L − 1; at L = 1 there is none."""
    balancer = IMTLL(["high", "low", "one", "away"], lr=0.1)
    total = balancer({"high": torch.tensor(4.0), "low": torch.tensor(0.5), "one": torch.tensor(1.0)})
    assert total == 5.5
    torch.testing.assert_close(balancer.s, torch.tensor([-0.1, 0.1, 0.0, 0.0]))


def test_learning_is_adam_on_the_total() -> None:
    """The closed-form step equals autograd and torch.optim.Adam; with a task away now and then, Adam per task."""
    tasks = ["a", "b", "c"]
    balancer = IMTLL(tasks, lr=0.1)
    s = [torch.zeros((), requires_grad=True) for _ in tasks]
    optimizers = [torch.optim.Adam([one], lr=0.1) for one in s]
    for step in range(30):
        losses = torch.rand(3) * torch.tensor([0.1, 1.0, 10.0])
        present = [position for position in range(3) if step % 3 or position]
        expected = torch.stack([s[p].exp() * losses[p] - s[p] for p in present]).sum()
        total = balancer({tasks[p]: losses[p] for p in present})
        torch.testing.assert_close(total, expected.detach(), rtol=1e-4, atol=1e-4)
        expected.backward()
        for position in present:
            optimizers[position].step()
            optimizers[position].zero_grad()
        torch.testing.assert_close(balancer.s, torch.stack(s).detach(), rtol=1e-4, atol=1e-5)


def test_it_brings_the_losses_to_one_size() -> None:
    """The total is least where e^s·L = 1."""
    balancer = IMTLL(["a", "b"], lr=0.05)
    for _ in range(500):
        balancer({"a": torch.tensor(0.5), "b": torch.tensor(3.0)})
    torch.testing.assert_close(balancer.s.exp(), torch.tensor([2.0, 1 / 3]), rtol=1e-2, atol=0)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-3, 3)), min_size=1, max_size=5))
def test_it_is_twice_uncertainty_weighting_of_the_opposite_s(pairs: list[tuple[float, float]]) -> None:
    losses, s = torch.tensor(pairs, dtype=torch.float64).T
    torch.testing.assert_close(functional.imtl_l(losses, s), 2 * functional.uncertainty(losses, -s))


@pytest.mark.parametrize("lr", [0.0, -0.1])
def test_the_learning_rate_is_above_0(lr: float) -> None:
    with pytest.raises(InputError, match=rf"Expected `lr` to be above 0; got {lr}\."):
        IMTLL(["a"], lr=lr)
