"""Soft optimal uncertainty weighting against independent values (Kirchdorfer et al., GCPR 2024)."""

import json
import math
from pathlib import Path

import pytest
import torch

from hardfirst import functional
from hardfirst.balancers import UWSO, task_weights

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["uw_so"]


def test_independent_values() -> None:
    losses, expected = (torch.tensor(CASE[name], dtype=torch.float64) for name in ("losses", "weights"))
    torch.testing.assert_close(functional.uw_so(losses, CASE["temperature"]), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(functional.uw_so(losses.float(), CASE["temperature"]), expected.float(), rtol=1e-4, atol=0)


def test_by_hand() -> None:
    """1/L = (2, 1) at τ = 2: weights 2·(e, e^½)/(e + e^½), and no gradient through them."""
    balancer = UWSO(["a", "b"], temperature=2.0)
    losses = {"a": torch.tensor(0.5, requires_grad=True), "b": torch.tensor(1.0, requires_grad=True)}
    total = balancer(losses)
    high, low = math.e, math.sqrt(math.e)
    expected = {"a": pytest.approx(2 * high / (high + low)), "b": pytest.approx(2 * low / (high + low))}
    assert task_weights(total, losses) == expected
    assert balancer.weights == expected
    assert total.item() == pytest.approx((high + 2 * low) / (high + low))


def test_an_absent_task_has_no_weight_and_no_place_in_the_sum() -> None:
    weights = functional.uw_so(torch.tensor([0.5, 0.0, 1.0]), 1.0)
    torch.testing.assert_close(weights[[0, 2]], functional.uw_so(torch.tensor([0.5, 1.0]), 1.0))
    assert weights[1] == 0
    assert functional.uw_so(torch.zeros(2), 1.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_smallest_losses_do_not_overflow(dtype: torch.dtype) -> None:
    """1/L of a denormal number is infinite in float32, and of most small ones in float16."""
    tiny = torch.finfo(dtype).smallest_normal / 4
    torch.testing.assert_close(functional.uw_so(torch.tensor([tiny, 1.0], dtype=dtype), 1e-3), torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(functional.uw_so(torch.tensor([tiny, tiny], dtype=dtype), 1e-3), torch.ones(2))


def test_the_temperature_goes_from_one_task_to_all() -> None:
    losses = torch.tensor([0.9, 1.0, 1.1])
    torch.testing.assert_close(functional.uw_so(losses, 1e-3), torch.tensor([3.0, 0.0, 0.0]))
    torch.testing.assert_close(functional.uw_so(losses, 1e4), torch.ones(3), rtol=1e-4, atol=0)
