"""Smooth Tchebycheff scalarization against independent values and a run worked by hand (Lin et al., ICML 2024)."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hardfirst import functional
from hardfirst.balancers import STCH, task_weights

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["stch"]


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
    assert functional.stch(torch.tensor([1.0, 6.0]), balancer.nadir, 0.5).item() == pytest.approx(math.log(13 / 16))
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
