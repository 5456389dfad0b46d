"""Achievement-based training against independent values and its equation (Yun & Cho, ICCV 2023)."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import functional
from hardfirst.balancers import Achievement, task_weights

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["achievement"]
TASKS = ["a", "b", "c"]
OPTIONS = {"margin": CASE["margin"], "gamma": CASE["gamma"]}


def test_weights() -> None:
    kpis, potential = (torch.tensor(CASE[name], dtype=torch.float64) for name in ("kpis", "potential"))
    found = functional.achievement(kpis, potential, **OPTIONS)
    torch.testing.assert_close(found, torch.tensor(CASE["weights"], dtype=torch.float64), rtol=1e-7, atol=0)


def test_total() -> None:
    balancer = Achievement(TASKS, potential=dict(zip(TASKS, CASE["potential"], strict=True)), **OPTIONS)
    losses = dict(zip(TASKS, torch.tensor(CASE["losses"], dtype=torch.float64), strict=True))
    total = balancer(losses, dict(zip(TASKS, CASE["kpis"], strict=True)))
    assert float(total) == pytest.approx(CASE["total"], rel=1e-6)


def test_by_hand() -> None:
    """Averages .4 and .8, potential 1, margin 0, γ = 1: logits .6 and .2, so the first exponent is 1/(1 + e^−.4)."""
    balancer = Achievement(["a", "b"], margin=0.0, gamma=1.0, alpha=0.5)
    balancer.update({"a": 0.2, "b": 0.7})
    losses = {"a": torch.tensor(2.0, requires_grad=True), "b": torch.tensor(5.0, requires_grad=True)}
    total = balancer(losses, {"a": 0.6, "b": 0.9})
    share = 1 / (1 + math.exp(-0.4))
    assert float(total.detach()) == pytest.approx(2**share * 5 ** (1 - share), rel=1e-5)
    expected = [share * float(total.detach()) / 2, (1 - share) * float(total.detach()) / 5]
    for found in (task_weights(total, losses), balancer.weights):
        assert [float(weight) for weight in found.values()] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 3.0])
def test_above_the_mark_a_task_has_the_lowest_weight(gamma: float) -> None:
    """(1 − 1/.5)² would be 1 again, and (1 − 1/.5)^½ is NaN."""
    weights = functional.achievement(torch.tensor([1.0, 0.5, 0.1]), 0.5, 0.0, gamma)
    assert weights.isfinite().all()
    assert weights[0] == weights[1] < weights[2]


def test_the_potential_is_no_cap_below_the_margin() -> None:
    """Above its potential and below the mark a task still loses weight as it gains."""
    balancer = Achievement(["a", "b"], potential={"a": 0.5, "b": 0.5}, margin=0.2)
    balancer.update({"a": 0.5, "b": 0.55})
    weights = functional.achievement(balancer.kpi.average, balancer.potential, 0.2, 2.0)
    assert weights[0] > weights[1]


def test_unmeasured_tasks_have_an_equal_share() -> None:
    nan = math.nan
    assert functional.achievement(torch.tensor([nan, nan]), 1.0, 0.0, 2.0).tolist() == [0.5, 0.5]
    weights = functional.achievement(torch.tensor([nan, 0.1, 0.9]), 1.0, 0.0, 2.0)
    assert weights[0] == pytest.approx(1 / 3)
    assert weights[1] > weights[2]
    assert float(weights.sum()) == pytest.approx(1)


def test_a_batch_with_labels_of_one_task_trains_on_its_own_loss() -> None:
    balancer = Achievement(TASKS)
    balancer.update({"a": 0.2, "b": 0.7, "c": 0.5})
    losses = {"a": torch.tensor(0.3, requires_grad=True), "b": torch.tensor(0.0, requires_grad=True)}
    total = balancer(losses)
    assert float(total.detach()) == pytest.approx(0.3, rel=1e-5)
    assert [float(weight) for weight in task_weights(total, losses).values()] == pytest.approx([1.0, 0.0], rel=1e-5)


probability = st.floats(0, 1, width=32)


@given(kpis=st.lists(probability, min_size=3, max_size=3), gamma=st.floats(0, 5), margin=st.floats(0, 1))
def test_a_lower_kpi_never_gets_a_lower_weight(kpis: list[float], gamma: float, margin: float) -> None:
    weights = functional.achievement(torch.tensor(kpis), 0.8, margin, gamma).tolist()
    ranked = [weight for _, weight in sorted(zip(kpis, weights, strict=True))]
    assert all(lower >= higher - 1e-6 for lower, higher in pairwise(ranked))
    assert sum(ranked) == pytest.approx(1, rel=1e-5)
    assert max(ranked) <= min(ranked) * math.e * (1 + 1e-5)
