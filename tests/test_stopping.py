"""Early stopping by task."""

import copy
import math

import pytest
import torch
from torch import nn

from hardfirst import DTP
from hardfirst.errors import InputError
from hardfirst.stopping import TaskEarlyStopping


def test_a_task_stops_after_its_patience_and_no_other() -> None:
    stopping = TaskEarlyStopping(["a", "b"], patience=2)
    for step, (a, b) in enumerate([(0.5, 0.1), (0.5, 0.2), (0.4, 0.3)]):
        assert stopping.stopped == (), step
        stopping.update({"a": a, "b": b})
    assert stopping.stopped == ("a",)
    stopping.update({"a": 0.9, "b": 0.4})
    assert stopping.stopped == ("a",), "what has stopped stays stopped"
    assert stopping.best.tolist() == pytest.approx([0.5, 0.4])


def test_a_rise_that_is_too_small_is_none() -> None:
    stopping = TaskEarlyStopping(["a"], patience=1, min_delta=0.1)
    stopping.update({"a": 0.5})
    stopping.update({"a": 0.59})
    assert stopping.stopped == ("a",)


def test_what_is_not_measured_does_not_wait() -> None:
    stopping = TaskEarlyStopping(["a", "b"], patience=1)
    for kpi in (0.5, math.nan, 0.6):
        stopping.update({"a": kpi})
    assert stopping.stopped == ()
    assert stopping.best[1].isnan()


def test_a_stopped_loss_is_absent_for_a_balancer_and_keeps_its_graph() -> None:
    stopping = TaskEarlyStopping(["a", "b"], patience=1)
    for _ in range(2):
        stopping.update({"a": 0.5})
    head = nn.Parameter(torch.tensor(2.0))
    losses = {"a": head * 7, "b": head * 3}
    found = stopping(losses)
    assert found["a"] == 0
    total = DTP(["a", "b"])(found)
    total.backward()
    assert float(total.detach()) == pytest.approx(6.0)
    assert head.grad == 3.0
    assert torch.autograd.grad(stopping({"a": head * 1, "b": head * 1})["a"], head)[0] == 0, "there is a graph"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_stopped_loss_that_is_not_finite_reaches_nothing(value: float) -> None:
    """0·∞ is NaN, in the total and in the gradients."""
    stopping = TaskEarlyStopping(["a", "b"], patience=1)
    stopping.update({"a": 0.5, "b": 0.5})
    stopping.update({"a": 0.6, "b": 0.5})
    shared = nn.Parameter(torch.tensor(2.0))
    found = stopping({"a": shared * 3, "b": shared * value})
    total = DTP(["a", "b"])(found)
    total.backward()
    assert found["b"] == 0
    assert total == 6
    assert shared.grad == 3
    assert not stopping({"a": shared * math.inf, "b": shared * 1})["a"].isfinite(), "a task that trains passes it on"


def test_the_state_is_in_the_checkpoint_and_no_parameter() -> None:
    stopping = TaskEarlyStopping(["a"], patience=1)
    stopping.update({"a": 0.5})
    other = TaskEarlyStopping(["a"], patience=1)
    other.load_state_dict(copy.deepcopy(stopping.state_dict()))
    other.update({"a": 0.5})
    assert other.stopped == ("a",)
    other.load_state_dict(TaskEarlyStopping(["a"], patience=1).state_dict())
    assert other.stopped == ()
    other.load_state_dict(stopping.state_dict())
    other.update({"a": 0.5})
    assert list(stopping.parameters()) == []
    other.reset()
    assert other.stopped == ()


def test_wrong_use_gets_a_sentence() -> None:
    with pytest.raises(InputError, match="Expected `patience` to be a whole number, at least 1; got 0"):
        TaskEarlyStopping(["a"], patience=0)
    with pytest.raises(InputError, match="did you mean 'depth'"):
        TaskEarlyStopping(["depth"]).update({"dept": 0.5})


@pytest.mark.parametrize("kpi", [12.0, -3.0, torch.tensor(71.0)])
def test_a_percentage_is_refused(kpi: float) -> None:
    stopping = TaskEarlyStopping(["a", "b"])
    with pytest.raises(InputError, match=r"Expected the KPI of task 'b' to be in \[0, 1\]"):
        stopping.update({"a": 0.5, "b": kpi})
    assert stopping.best.isnan().all()
