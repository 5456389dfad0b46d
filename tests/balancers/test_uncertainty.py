"""Uncertainty weighting against independent values and torch's own Adam (Kendall et al., CVPR 2018)."""

import json
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from hardfirst import functional
from hardfirst.balancers import IMTLL, Uncertainty

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["uncertainty"]


def test_total_and_gradient() -> None:
    losses = torch.tensor(CASE["losses"], dtype=torch.float64)
    s = torch.tensor(CASE["s"], dtype=torch.float64, requires_grad=True)
    total = functional.uncertainty(losses, s)
    total.backward()
    torch.testing.assert_close(total, torch.tensor(CASE["total"], dtype=torch.float64), rtol=1e-10, atol=0)
    torch.testing.assert_close(s.grad, torch.tensor(CASE["grad_s"], dtype=torch.float64), rtol=1e-10, atol=0)


def test_learning_is_adam_on_the_total() -> None:
    """The closed-form step equals autograd and torch.optim.Adam; with a task away now and then, Adam per task."""
    tasks = ["a", "b", "c"]
    balancer = Uncertainty(tasks, lr=0.1)
    s = [torch.zeros((), requires_grad=True) for _ in tasks]
    optimizers = [torch.optim.Adam([one], lr=0.1) for one in s]
    for step in range(30):
        losses = torch.rand(3) * torch.tensor([0.1, 1.0, 10.0])
        present = [position for position in range(3) if step % 3 or position]
        expected = sum(functional.uncertainty(losses[p, None], s[p][None]) for p in present)
        total = balancer({tasks[p]: losses[p] for p in present})
        torch.testing.assert_close(total, expected.detach(), rtol=1e-4, atol=1e-4)  # type: ignore[union-attr]
        expected.backward()  # type: ignore[union-attr]
        for position in present:
            optimizers[position].step()
            optimizers[position].zero_grad()
        torch.testing.assert_close(balancer.s, torch.stack(s).detach(), rtol=1e-4, atol=1e-5)


def test_it_finds_the_variance() -> None:
    """The total is least where e^s = L."""
    balancer = Uncertainty(["a", "b"], lr=0.05)
    for _ in range(500):
        balancer({"a": torch.tensor(0.5), "b": torch.tensor(3.0)})
    torch.testing.assert_close(balancer.s.exp(), torch.tensor([0.5, 3.0]), rtol=1e-2, atol=0)
    assert balancer({"a": torch.tensor(0.01)}) < 0  # a negative total is right


@pytest.mark.parametrize("method", [Uncertainty, IMTLL])
def test_s_stays_where_its_exponential_is_finite(method: type[Uncertainty] | type[IMTLL]) -> None:
    """A loss that has come to nothing draws s by lr a step; an absent task's 0 times an infinite weight would be NaN."""
    balancer = method(["a", "b"], lr=100.0)
    for loss in (1e-42, 1e-42, 0.0):
        total = balancer({"a": torch.tensor(loss), "b": torch.tensor(1.0)})
        assert total.isfinite()
        assert all(weight.isfinite() for weight in balancer.weights.values())
    with patch("hardfirst.functional._scalar.on_host", return_value=False):
        balancer({"a": torch.tensor(1e-42), "b": torch.tensor(1.0)})
    assert abs(float(balancer.s[0])) == 80
