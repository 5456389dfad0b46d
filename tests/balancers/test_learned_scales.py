"""Uncertainty weighting and IMTL's loss balance against independent values (Kendall et al., 2018; Liu et al., 2021)."""

import json
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import functional
from hardfirst.balancers import IMTLL, Uncertainty

VECTORS = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())


@pytest.mark.parametrize("name", ["uncertainty", "imtl_l"])
def test_total_and_gradient(name: str) -> None:
    losses, s, expected, slope = (
        torch.tensor(VECTORS[name][part], dtype=torch.float64) for part in ("losses", "s", "total", "grad_s")
    )
    total = getattr(functional, name)(losses, s.requires_grad_())
    total.backward()
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(s.grad, slope, rtol=1e-10, atol=0)


def test_the_first_step_by_hand() -> None:
    """Adam's first step is lr against the gradient's sign, e⁰·L − 1; at L = 1 there is none."""
    balancer = IMTLL(["high", "low", "one", "away"], lr=0.1)
    total = balancer({"high": torch.tensor(4.0), "low": torch.tensor(0.5), "one": torch.tensor(1.0)})
    assert total == 5.5
    torch.testing.assert_close(balancer.s, torch.tensor([-0.1, 0.1, 0.0, 0.0]))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-3, 3)), min_size=1, max_size=5))
def test_one_is_twice_the_other_of_the_opposite_s(pairs: list[tuple[float, float]]) -> None:
    losses, s = torch.tensor(pairs, dtype=torch.float64).T
    torch.testing.assert_close(functional.imtl_l(losses, s), 2 * functional.uncertainty(losses, -s))


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
