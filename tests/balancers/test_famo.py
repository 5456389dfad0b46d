"""FAMO against its algorithm written out with torch's own Adam and softmax (Liu et al., NeurIPS 2023)."""

import math

import pytest
import torch
from torch import Tensor

from hardfirst.balancers import FAMO, task_weights

TASKS = ["a", "b", "c"]


def test_total_and_weights_by_hand() -> None:
    """ξ = (log 2, 0): z = (2/3, 1/3), D = (1, 2); Σ z/D = 5/6, so the total is (1/3·log 2)/(5/6) and w = (4/5, 1/5)."""
    balancer = FAMO(["a", "b"], min_losses={"a": 0.5})
    balancer.xi[0] = math.log(2)
    losses = {"a": torch.tensor(1.5, requires_grad=True), "b": torch.tensor(2.0, requires_grad=True)}
    total = balancer(losses)
    assert float(total.detach()) == pytest.approx(0.4 * math.log(2), rel=1e-5)
    for found in (task_weights(total, losses), balancer.weights):
        assert [float(weight) for weight in found.values()] == pytest.approx([0.8, 0.2], rel=1e-5)


@pytest.mark.parametrize("absent", [False, True])
def test_the_shares_learn_by_adam_through_the_softmax(absent: bool) -> None:
    """Losses after a step are those of the next batch; with a task away now and then, Adam per task."""
    least = torch.tensor([0.0, 0.02, -1.0])
    balancer = FAMO(TASKS, lr=0.1, decay=0.05, min_losses={"b": 0.02, "c": -1.0})
    xi = [torch.zeros((), requires_grad=True) for _ in TASKS]
    optimizers = [torch.optim.Adam([one], lr=0.1, weight_decay=0.05) for one in xi]
    last: dict[int, Tensor] = {}
    for step in range(30):
        losses = torch.rand(3) * torch.tensor([0.1, 1.0, 10.0]) + 0.05
        present = [position for position in range(3) if not (absent and step % 3 == position)]
        z = torch.stack([xi[p] for p in present]).softmax(0).detach()
        left = losses[present] - least[present] + 1e-8
        expected = (z * left.log()).sum() / (z / left).sum()
        total = balancer({TASKS[p]: losses[p] for p in present})
        torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-4)
        known = [p for p in present if p in last]
        if known:
            fall = torch.stack([(last[p] - least[p] + 1e-8).log() - (losses[p] - least[p] + 1e-8).log() for p in known])
            (torch.stack([xi[p] for p in known]).softmax(0) * fall).sum().backward()
            for p in known:
                optimizers[p].step()
                optimizers[p].zero_grad()
        last.update({p: losses[p] for p in present})
        torch.testing.assert_close(balancer.xi, torch.stack(xi).detach(), rtol=1e-4, atol=1e-5)


def test_a_loss_below_its_minimum_is_not_hidden() -> None:
    balancer = FAMO(["a", "b"], min_losses=1.0)
    assert balancer({"a": torch.tensor(0.5), "b": torch.tensor(2.0)}).isnan()
    balancer({"a": torch.tensor(2.0), "b": torch.tensor(2.0)})
    assert balancer.xi.isfinite().all()
