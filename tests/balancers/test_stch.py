"""Smooth Tchebycheff scalarization against independent values and a run worked by hand (Lin et al., ICML 2024)."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hardfirst import functional
from hardfirst.balancers import STCH, task_weights
from hardfirst.errors import InputError

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["stch"]
pairs_of_losses = st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=6)


def step(balancer: STCH, **losses: float) -> float:
    return float(balancer({task: torch.tensor(loss) for task, loss in losses.items()}))


def shares(total: Tensor, losses: dict[str, Tensor]) -> dict[str, float]:
    return {task: weight.item() for task, weight in task_weights(total, losses).items()}


def test_independent_value() -> None:
    losses, nadir, expected = (torch.tensor(CASE[name], dtype=torch.float64) for name in ("losses", "nadir", "total"))
    torch.testing.assert_close(functional.stch(losses, nadir, CASE["mu"]), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(
        functional.stch(losses.float(), nadir.float(), CASE["mu"]), expected.float(), rtol=1e-5, atol=0
    )


def test_a_run_by_hand() -> None:
    balancer = STCH(["a", "b"], mu=0.5, warmup_epochs=2)
    assert step(balancer, a=100.0, b=100.0) == pytest.approx(2 * math.log(100))
    balancer.end_epoch()
    assert step(balancer, a=1.0, b=8.0) == pytest.approx(math.log(8))
    assert step(balancer, a=3.0, b=8.0) == pytest.approx(math.log(24))
    balancer.end_epoch()  # the nadir is that of the last epoch, (2, 8)
    assert balancer.nadir.tolist() == [2.0, 8.0]
    # L/n = (½, ¾), to the power 1/μ = 2: ¼ and 9/16; 2 · ½ · log(13/16)
    losses = {"a": torch.tensor(1.0, requires_grad=True), "b": torch.tensor(6.0, requires_grad=True)}
    total = balancer(losses)
    assert total.item() == pytest.approx(math.log(13 / 16))
    # shares (4, 9)/13 of 2, divided by L
    assert shares(total, losses) == {"a": pytest.approx(8 / 13), "b": pytest.approx(18 / 13 / 6)}
    balancer.end_epoch()
    assert balancer.nadir.tolist() == [2.0, 8.0]  # for good
    assert step(balancer, a=2.0, b=8.0) == pytest.approx(math.log(2))


def test_the_warm_up_is_four_epochs() -> None:
    balancer = STCH(["a", "b"])
    for _ in range(4):
        assert step(balancer, a=3.0, b=5.0) == pytest.approx(math.log(15))
        balancer.end_epoch()
    assert step(balancer, a=3.0, b=5.0) == pytest.approx(2 * math.log(2))


def test_in_the_warm_up_each_task_counts_by_its_logarithm() -> None:
    balancer = STCH(["a", "b", "away"])
    losses = {"a": torch.tensor(4.0, requires_grad=True), "b": torch.tensor(0.5, requires_grad=True)}
    assert shares(balancer(losses), losses) == {"a": pytest.approx(0.25), "b": pytest.approx(2.0)}
    assert [weight.item() for weight in balancer.weights.values()] == [pytest.approx(0.25), pytest.approx(2.0), 1.0]


def test_a_task_that_the_last_epoch_of_the_warm_up_did_not_see() -> None:
    balancer = STCH(["a", "b", "late"], warmup_epochs=2)
    step(balancer, a=4.0, b=8.0)
    balancer.end_epoch()
    step(balancer, a=2.0)
    balancer.end_epoch()
    assert balancer.nadir[:2].tolist() == [2.0, 8.0]  # b keeps the epoch that saw it
    assert balancer.nadir[2].isnan()
    # without a nadir it stands at its nadir, whatever its loss: 3 · log(½ + ½ + 1)
    assert step(balancer, a=1.0, b=4.0, late=7.0) == pytest.approx(3 * math.log(2))
    assert step(balancer, a=1.0, b=4.0, late=9.0) == pytest.approx(3 * math.log(2))
    balancer.end_epoch()
    assert balancer.nadir.tolist() == [2.0, 8.0, 8.0]  # the mean of its first epoch
    assert step(balancer, a=1.0, b=4.0, late=4.0) == pytest.approx(3 * math.log(1.5))


@pytest.mark.parametrize("warm", [True, False])
def test_absent_tasks_have_no_gradient_and_no_nan(warm: bool) -> None:
    balancer = STCH(["a", "b"], warmup_epochs=1)
    if not warm:
        step(balancer, a=2.0)  # b has no nadir
        balancer.end_epoch()
    for a in (1.0, 0.0):
        losses = {"a": torch.tensor(a, requires_grad=True), "b": torch.tensor(0.0, requires_grad=True)}
        with torch.autograd.set_detect_anomaly(True):
            balancer(losses).backward()
        assert losses["b"].grad == 0
        assert losses["a"].grad == (a and 1.0)  # T·softmax/L with T = 1


def test_the_task_that_progressed_least_weighs_most() -> None:
    balancer = STCH(["a", "b"], mu=0.1, warmup_epochs=1)
    step(balancer, a=1.0, b=100.0)
    balancer.end_epoch()
    losses = {"a": torch.tensor(0.9, requires_grad=True), "b": torch.tensor(50.0, requires_grad=True)}
    weights = task_weights(balancer(losses), losses)
    shares = {task: float(weights[task] * losses[task].detach()) for task in losses}
    assert shares["a"] > 1.9  # though b's loss is the larger by far
    assert sum(shares.values()) == pytest.approx(2)


@given(pairs_of_losses, st.floats(0.05, 5))
def test_it_is_a_smooth_maximum(pairs: list[tuple[float, float]], mu: float) -> None:
    losses, nadir = torch.tensor(pairs, dtype=torch.float64).T
    total = functional.stch(losses, nadir, mu).item() / len(pairs)
    worst = (losses / nadir).log().max().item()
    assert worst - 1e-9 <= total <= worst + mu * math.log(len(pairs)) + 1e-9


@given(pairs_of_losses, st.floats(1e-2, 1e2), st.data())
def test_the_unit_of_a_loss_does_not_matter(pairs: list[tuple[float, float]], scale: float, data: st.DataObject) -> None:
    losses, nadir = torch.tensor(pairs, dtype=torch.float64).T
    total = functional.stch(losses, nadir, 0.7)
    factor = torch.ones(len(pairs), dtype=torch.float64)
    factor[data.draw(st.integers(0, len(pairs) - 1))] = scale
    torch.testing.assert_close(functional.stch(losses * factor, nadir * factor, 0.7), total)


@given(pairs_of_losses.flatmap(lambda pairs: st.tuples(st.just(pairs), st.permutations(pairs))))
def test_order_of_the_tasks(orders: tuple[list[tuple[float, float]], list[tuple[float, float]]]) -> None:
    one, other = (functional.stch(*torch.tensor(pairs, dtype=torch.float64).T, 0.3) for pairs in orders)
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("mu", [0.0, -1.0])
def test_mu_is_above_0(mu: float) -> None:
    with pytest.raises(InputError, match=rf"Expected `mu` to be above 0; got {mu}\."):
        STCH(["a"], mu=mu)


def test_mu_is_finite() -> None:
    with pytest.raises(InputError, match=r"Expected `mu` to be below inf; got inf\."):
        STCH(["a"], mu=math.inf)


@pytest.mark.parametrize("epochs", [0, -1, 2.5, True])
def test_the_warm_up_is_at_least_an_epoch(epochs: object) -> None:
    message = rf"Expected `warmup_epochs` to be a whole number, at least 1; got {epochs}\."
    with pytest.raises(InputError, match=message):
        STCH(["a"], warmup_epochs=epochs)  # type: ignore[arg-type]
