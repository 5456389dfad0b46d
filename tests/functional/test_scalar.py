"""The equations in Python numbers, which eager mode on the CPU uses, are those in tensors."""

import math
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import DTP, functional
from hardfirst.balancers import Spec
from hardfirst.functional import _scalar

kpi = st.one_of(st.floats(0, 1), st.just(math.nan))


@given(pairs=st.lists(st.tuples(kpi, kpi), min_size=1, max_size=4), alpha=st.floats(0.01, 1))
def test_moving_averages(pairs: list[tuple[float, float]], alpha: float) -> None:
    averages, new = torch.tensor(pairs, dtype=torch.float64).T
    found = _scalar.moving_averages(averages.tolist(), new.tolist(), alpha)
    expected = functional.moving_average(averages, new, alpha=alpha).tolist()
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-12)


@given(pairs=st.lists(st.tuples(kpi, st.floats(0, 8)), min_size=1, max_size=4))
def test_log_focal_weights(pairs: list[tuple[float, float]]) -> None:
    kpis, gammas = torch.tensor(pairs, dtype=torch.float64).T
    found = _scalar.log_focal_weights(kpis.tolist(), gammas.tolist(), 1e-6)
    expected = functional.log_focal_weight(kpis, gammas, floor=1e-6).tolist()
    assert found == pytest.approx(expected, nan_ok=True, rel=1e-9)


def test_host_memory_is_the_tensor_of_the_moment_or_none() -> None:
    """A buffer may be replaced (`to`, `load_state_dict(assign=True)`), by a tensor that is no array of float32 as well."""
    balancer = DTP(["a", "b"], alpha=1.0)
    for dtype, stride in ((torch.float32, 1), (torch.float32, 2), (torch.float64, 1)):
        state = {**balancer.state_dict(), "kpi.average": torch.full((2 * stride,), 0.5, dtype=dtype)[::stride]}
        balancer.load_state_dict(state, assign=True)
        balancer.update({"a": 0.25})
        assert balancer.kpi.average.tolist() == [0.25, 0.5]
    assert _scalar.host_memory(torch.zeros(2, device="meta")) is None


def test_vmap_takes_the_tensor_form() -> None:
    """Balancers of two runs at once, their averages stacked: each as on its own."""
    balancer = DTP(["a", "b"])
    kpis, average = torch.tensor([[0.9, 0.6], [0.2, 0.3]]), torch.full((2, 2), 0.5)
    losses = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

    def total(state: torch.Tensor, loss: torch.Tensor, kpi: torch.Tensor) -> torch.Tensor:
        given = dict(zip("ab", loss.unbind(), strict=True)), dict(zip("ab", kpi.unbind(), strict=True))
        return torch.func.functional_call(balancer, {"kpi.average": state}, given)

    together = torch.func.vmap(total)(average.clone(), losses, kpis)
    alone = [total(*(tensor[run].clone() for tensor in (average, losses, kpis))) for run in range(2)]
    torch.testing.assert_close(together, torch.stack(alone))


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
        with patch("hardfirst.kpi._moving.host_memory", return_value=None):
            tensors.update({task: torch.tensor(value) for task, value in zip("abc", values, strict=True)})
    torch.testing.assert_close(numbers.kpi.average, tensors.kpi.average, equal_nan=True, rtol=1e-5, atol=1e-7)
    tensors.kpi.average.copy_(numbers.kpi.average)  # near 1 a rounding of κ̄ is a large relative change of 1 − κ̄
    with patch("hardfirst.kpi._moving.host_memory", return_value=None):
        expected = torch.stack(list(tensors.weights.values()))
    torch.testing.assert_close(torch.stack(list(numbers.weights.values())), expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("spec", ["uncertainty", "imtl_l", "famo", "random"])
def test_a_method_is_the_same_either_way(spec: str) -> None:
    """Adam and random weights, with a task that is absent and losses that are broken."""
    numbers, tensors = (Spec.parse(spec).build(["a", "b", "c"]) for _ in range(2))
    for step in range(12):
        values = [0.5 + math.sin(step) ** 2, 3.0 + step, (0.0, math.nan, 1e30, 2.0)[step % 4]]
        losses = dict(zip("abc", map(torch.tensor, values), strict=True))
        total = numbers(losses)
        with patch("hardfirst.functional._scalar.on_host", return_value=False):
            torch.testing.assert_close(tensors(losses), total, rtol=2e-5, atol=1e-5, equal_nan=True)
    torch.testing.assert_close(tensors.state_dict(), numbers.state_dict(), rtol=2e-5, atol=1e-5, equal_nan=True)
