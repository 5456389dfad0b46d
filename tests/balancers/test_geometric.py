"""The geometric mean of the losses against independent values (Chennupati et al., CVPR Workshops 2019)."""

import json
import math
from pathlib import Path

import pytest
import torch

from hardfirst import functional
from hardfirst.balancers import Geometric, task_weights

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["geometric"]


def test_independent_value() -> None:
    losses = torch.tensor(CASE["losses"], dtype=torch.float64)
    expected = torch.tensor(CASE["total"], dtype=torch.float64)
    torch.testing.assert_close(functional.geometric(losses), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(functional.geometric(losses.float()), expected.float(), rtol=1e-5, atol=0)


def test_value_and_gradient_by_hand() -> None:
    """√(2·8) = 4, and ∂/∂L = 4 / (2·L)."""
    balancer = Geometric(["a", "b"])
    losses = {"a": torch.tensor(2.0, requires_grad=True), "b": torch.tensor(8.0, requires_grad=True)}
    total = balancer(losses)
    assert total.item() == pytest.approx(4.0)
    assert task_weights(total, losses) == {"a": pytest.approx(1.0), "b": pytest.approx(0.25)}


@pytest.mark.parametrize("present", [[2.0, 8.0], [3.0], []])
def test_a_zero_is_left_out_of_the_product_and_of_the_count(present: list[float]) -> None:
    losses = torch.tensor([0.0, *present], requires_grad=True)
    with torch.autograd.set_detect_anomaly(True):
        total = functional.geometric(losses)
        total.backward()
    assert total.item() == pytest.approx(math.prod(present) ** (1 / len(present)) if present else 0.0)
    assert losses.grad is not None
    assert losses.grad[0] == 0
    assert losses.grad.isfinite().all()


def test_many_small_and_large_losses_do_not_overflow() -> None:
    """The product of 40 of each would be 1e-1200 and 1e1200."""
    for size in (1e-30, 1e30):
        torch.testing.assert_close(functional.geometric(torch.full((40,), size)), torch.tensor(size), rtol=1e-4, atol=0)


def test_a_negative_loss_is_told_by_nan() -> None:
    assert functional.geometric(torch.tensor([1.0, -1.0])).isnan()


def test_in_half_precision_the_mean_is_in_float32() -> None:
    losses = torch.tensor([300.0, 6e-5], dtype=torch.float16)
    torch.testing.assert_close(functional.geometric(losses), losses.double().prod().sqrt().float(), rtol=1e-5, atol=0)


def test_weights_are_kept_for_a_task_that_is_away() -> None:
    balancer = Geometric(["a", "b"])
    balancer({"a": torch.tensor(2.0), "b": torch.tensor(8.0)})
    balancer({"a": torch.tensor(5.0)})
    assert balancer.weights == {"a": pytest.approx(1.0), "b": pytest.approx(0.25)}
