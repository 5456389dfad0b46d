"""The equations in Python numbers, which eager mode on the CPU uses, are those in tensors."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import DTP, functional
from hardfirst.functional import _scalar

kpi = st.one_of(st.floats(0, 1), st.just(math.nan))


@given(value=kpi, new=kpi, alpha=st.floats(0.01, 1))
def test_moving_average(value: float, new: float, alpha: float) -> None:
    found = _scalar.moving_average(value, new, alpha)
    pair = (torch.tensor(number, dtype=torch.float64) for number in (value, new))
    assert found == pytest.approx(float(functional.moving_average(*pair, alpha=alpha)), nan_ok=True, abs=1e-12)


@given(value=kpi, gamma=st.floats(0, 8))
def test_log_focal_weight(value: float, gamma: float) -> None:
    found = _scalar.log_focal_weight(value, gamma, 1e-6)
    tensor = functional.log_focal_weight(torch.tensor(value, dtype=torch.float64), gamma, floor=1e-6)
    assert found == pytest.approx(float(tensor), nan_ok=True, rel=1e-9)


OPTIONS = [
    {},
    {"normalize": False},
    {"priority": "easy", "gamma": 3.0},
    {"uniform": 0.4},
    {"potential": {"a": 0.3, "b": 0.9}},
    {"gamma": 8.0, "floor": 1e-6},
]


@pytest.mark.parametrize("options", OPTIONS)
@given(kpis=st.lists(st.lists(kpi, min_size=3, max_size=3), max_size=4))
def test_dtp_is_the_same_either_way(options: dict, kpis: list[list[float]]) -> None:
    numbers, tensors = DTP(["a", "b", "c"], **options), DTP(["a", "b", "c"], **options)
    for values in kpis:
        numbers.update(dict(zip("abc", values, strict=True)))
        with patch("hardfirst.kpi._moving.on_host", return_value=False):
            tensors.update({task: torch.tensor(value) for task, value in zip("abc", values, strict=True)})
    torch.testing.assert_close(numbers.kpi.average, tensors.kpi.average, equal_nan=True, rtol=1e-5, atol=1e-7)
    tensors.kpi.average.copy_(numbers.kpi.average)  # near 1 a rounding of κ̄ is a large relative change of 1 − κ̄
    with patch("hardfirst.functional._scalar.on_host", return_value=False):
        expected = torch.stack(list(tensors.weights.values()))
    torch.testing.assert_close(torch.stack(list(numbers.weights.values())), expected, rtol=2e-3, atol=1e-5)
