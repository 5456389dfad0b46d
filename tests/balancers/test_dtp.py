"""DTP against independent values, hand-worked ones, and its equations (Guo et al., ECCV 2018)."""

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import DTP, MovingKPI, functional
from hardfirst.errors import InputError
from operations import Operations

VECTORS = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())


@pytest.mark.parametrize("case", VECTORS["dtp"])
def test_weights_after_each_update(case: dict) -> None:
    tasks = ["a", "b", "c"]
    options = {name: case[name] for name in ("alpha", "normalize", "floor", "priority") if name in case}
    if "potential" in case:
        options["potential"] = dict(zip(tasks, case["potential"], strict=True))
    balancer = DTP(tasks, gamma=dict(zip(tasks, case["gamma"], strict=True)), **options)
    for kpis, expected in zip(case["kpis"], case["weights_after_each_update"], strict=True):
        balancer.update({task: math.nan if kpi is None else kpi for task, kpi in zip(tasks, kpis, strict=True)})
        weights = torch.stack(list(balancer.weights.values()))
        torch.testing.assert_close(weights, torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_paper_by_hand() -> None:
    balancer = DTP.paper(["a"])
    balancer.update({"a": 0.5})
    balancer.update({"a": 0.9})  # average .75·.9 + .25·.5 = .8
    assert float(balancer.weights["a"]) == pytest.approx(-(1 - 0.8) * math.log(0.8), rel=1e-5)


def test_focal_weight_by_hand() -> None:
    kpi = torch.tensor([0.25, 0.5], dtype=torch.float64)
    expected = torch.tensor([0.75**2 * math.log(4), 0.25 * math.log(2)], dtype=torch.float64)
    torch.testing.assert_close(functional.focal_weight(kpi, 2.0), expected, rtol=1e-12, atol=0)


def test_weights_are_one_until_a_task_is_measured() -> None:
    balancer = DTP(["a", "b", "c"])
    assert all(weight == 1 for weight in balancer.weights.values())
    balancer.update({"a": 0.5, "b": 0.9})
    assert balancer.weights["c"] == 1
    assert balancer.weights["a"] + balancer.weights["b"] == pytest.approx(2)


def test_a_large_gamma_stays_finite() -> None:
    balancer = DTP(["a", "b"], gamma=8.0, floor=1e-6)
    balancer.update({"a": 1.0, "b": 1.0})
    assert [float(weight) for weight in balancer.weights.values()] == [1.0, 1.0]


def test_uniform_mixes_with_equal_weights() -> None:
    plain, mixed = DTP(["a", "b"]), DTP(["a", "b"], uniform=0.8)
    for balancer in (plain, mixed):
        balancer.update({"a": 0.2, "b": 0.8})
    assert mixed.weights["a"] == pytest.approx(0.2 * float(plain.weights["a"]) + 0.8)


probability = st.floats(0, 1, width=32)


@given(kpis=st.lists(probability, min_size=3, max_size=3), gamma=st.floats(0, 5))
def test_a_lower_kpi_never_gets_a_lower_weight(kpis: list[float], gamma: float) -> None:
    balancer = DTP(["a", "b", "c"], gamma=gamma)
    balancer.update(dict(zip("abc", kpis, strict=True)))
    ranked = [weight for _, weight in sorted(zip(kpis, map(float, balancer.weights.values()), strict=True))]
    assert all(lower >= higher - 1e-5 for lower, higher in pairwise(ranked))
    assert sum(ranked) == pytest.approx(3, rel=1e-5)


@given(kpi=probability)
def test_equal_kpis_give_equal_weights(kpi: float) -> None:
    balancer = DTP(["a", "b"])
    balancer.update({"a": kpi, "b": kpi})
    assert [float(weight) for weight in balancer.weights.values()] == pytest.approx([1, 1])


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_second_term_is_equation_5(gamma: float) -> None:
    """∂/∂κ of FL(κ̄)·L is α·FL'(κ̄)·L, and α is 1 at the first observation."""
    balancer = DTP(["a"], gamma=gamma, alpha=0.75, normalize=False, differentiable=True)

    def derivative(k: float) -> float:
        return gamma * (1 - k) ** (gamma - 1) * math.log(k) - (1 - k) ** gamma / k

    average = None
    for value in (0.3, 0.6):
        kpi = torch.tensor(value, requires_grad=True)
        loss = torch.tensor(2.0, requires_grad=True)
        balancer({"a": loss}, {"a": kpi}).backward()
        gain = 1.0 if average is None else 0.75
        average = value if average is None else 0.75 * value + 0.25 * average
        assert float(kpi.grad) == pytest.approx(gain * derivative(average) * 2.0, rel=1e-4)  # type: ignore[arg-type]
        assert float(loss.grad) == pytest.approx(-((1 - average) ** gamma) * math.log(average), rel=1e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"uniform": 0.3}, {"priority": "easy"}])
def test_second_term_by_gradcheck(options: dict) -> None:
    """The gradient equals the numerical one of Σ c·FL(κ̄(κ))·L with the normaliser c held at its value."""
    tasks = ["a", "b"]
    history, now = {"a": 0.4, "b": 0.7}, torch.tensor([0.5, 0.6], dtype=torch.float64)
    losses = torch.tensor([1.5, 0.7], dtype=torch.float64)
    balancer = DTP(tasks, gamma=2.0, alpha=0.3, differentiable=True, **options)
    balancer.update(history)
    kpis = now.clone().requires_grad_()
    balancer(dict(zip(tasks, losses, strict=True)), dict(zip(tasks, kpis.unbind(), strict=True))).backward()

    def weight(kpi: torch.Tensor) -> torch.Tensor:
        average = 0.3 * kpi + 0.7 * torch.tensor([0.4, 0.7], dtype=torch.float64)
        return functional.focal_weight(1 - average if options.get("priority") == "easy" else average, 2.0)

    scale = 1.0 if options.get("normalize") is False else 2 / float(weight(now).sum())
    scale *= 1 - options.get("uniform", 0.0)

    def total(kpi: torch.Tensor) -> torch.Tensor:
        return (scale * weight(kpi) * losses).sum()

    leaf = now.clone().requires_grad_()
    assert torch.autograd.gradcheck(total, (leaf,))
    (expected,) = torch.autograd.grad(total(leaf), leaf)
    torch.testing.assert_close(kpis.grad, expected, rtol=1e-4, atol=1e-5)


def test_second_term_goes_through_forward_only_and_skips_missing_kpis() -> None:
    balancer = DTP(["a", "b"], differentiable=True)
    kpi = torch.tensor(0.5, requires_grad=True)
    balancer.update({"a": kpi, "b": 0.3})
    loss = torch.tensor(1.0, requires_grad=True)
    balancer({"a": loss, "b": loss}).backward()
    assert kpi.grad is None
    total = balancer({"a": loss, "b": loss}, {"a": kpi, "b": torch.tensor(math.nan)})
    total.backward()
    assert total.isfinite()
    assert kpi.grad is not None
    assert kpi.grad.isfinite()


def test_second_term_wants_a_gradient() -> None:
    balancer = DTP(["a"], differentiable=True)
    with pytest.raises(InputError, match="no KPI has a gradient"):
        balancer({"a": torch.tensor(1.0, requires_grad=True)}, {"a": 0.5})


@pytest.mark.parametrize("value", [93.0, torch.tensor(93.0), -0.5, torch.tensor(-0.5)])
@pytest.mark.parametrize("kind", [dict, MappingProxyType])
def test_a_percentage_is_refused(value: float | torch.Tensor, kind: type) -> None:
    with pytest.raises(InputError, match=r"KPI of task 'a' to be in \[0, 1\].*percentage"):
        DTP(["a", "b"]).update(kind({"a": value}))


@pytest.fixture(params=["numbers", "ranks", "device"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """The forms of an update: in Python numbers, in tensors on the CPU, and in tensors whose values wait for a device."""
    patches = {"numbers": [], "ranks": ["host_memory"], "device": ["host_memory", "on_host"]}[request.param]
    with ExitStack() as stack:
        for name in patches:
            stack.enter_context(patch(f"hardfirst.kpi._moving.{name}", return_value=None))
        yield request.param


def test_the_range_is_checked_of_each_task_where_its_kpi_first_appears(form: str) -> None:
    balancer = DTP(["a", "b"])
    balancer.update({"a": torch.tensor(0.4)})
    balancer.update({"a": torch.tensor(0.4), "b": torch.tensor(math.nan)})
    with pytest.raises(InputError, match=r"KPI of task 'b' to be in \[0, 1\]; got 12\.0\. Divide a percentage"):
        balancer.update({"a": torch.tensor(0.4), "b": torch.tensor(12.0)})
    torch.testing.assert_close(balancer.kpi.average, torch.tensor([0.4, math.nan]), equal_nan=True)


def test_the_range_of_later_kpis_is_checked_where_that_is_free(form: str) -> None:
    balancer = DTP(["a", "b"])
    balancer.update({"a": torch.tensor(0.4), "b": torch.tensor(0.0)})
    with pytest.raises(InputError, match="'b'") if form != "device" else nullcontext():
        balancer.update({"a": torch.tensor(0.4), "b": torch.tensor(71.0)})
    with pytest.raises(InputError, match="'b'"):
        balancer.update({"a": torch.tensor(0.4), "b": 71.0})


@pytest.mark.parametrize(
    "kpis", [{"a": 0.5, "b": 0.25}, {"a": torch.tensor(0.5), "b": 0.25}, {"a": 0.5}, {"a": 0.5, "b": None}]
)
def test_floats_as_kpis_take_no_operation(kpis: dict) -> None:
    balancer = DTP(["a", "b"])
    losses = {task: torch.ones((), requires_grad=True) for task in "ab"}
    with Operations() as counted:
        balancer(losses, kpis)
    assert counted.count == 2  # the losses are stacked, and multiplied by the weights


def test_kpis_of_any_number_type_and_none() -> None:
    balancer = DTP(["a", "b", "c"])
    numpy = pytest.importorskip("numpy")
    balancer.update({"a": numpy.float32(0.5), "b": None, "c": 1})
    torch.testing.assert_close(balancer.kpi.average, torch.tensor([0.5, math.nan, 1.0]), equal_nan=True)
    with pytest.raises(InputError, match="KPI of task 'a' to be a number or a 0-d tensor; got 'high'"):
        balancer.update({"a": "high"})  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"KPI of task 'a' to be a 0-d tensor; got shape \[2\]"):
        balancer.update({"a": torch.ones(2)})


def test_moving_kpi_by_hand() -> None:
    moving = MovingKPI(["a", "b"], alpha=0.25, potential={"b": 0.5})
    moving.update({"a": 0.4, "b": 0.2})
    moving.update({"a": 0.8, "b": torch.tensor(0.9)})  # b: .2/.5 = .4, then min(.9/.5, 1) = 1
    torch.testing.assert_close(moving.average, torch.tensor([0.5, 0.25 * 1 + 0.75 * 0.4]))


def test_an_average_in_float32_does_not_stall_after_a_cast() -> None:
    """A bfloat16 average would stay at 0.5 for ever: 0.501 is rounded away."""
    balancer = DTP(["a"], alpha=0.01).bfloat16()
    balancer.update({"a": 0.5})
    for _ in range(1000):
        balancer.update({"a": torch.tensor(0.6, dtype=torch.bfloat16)})
    assert float(balancer.kpi.average) == pytest.approx(0.6, abs=2e-3)
