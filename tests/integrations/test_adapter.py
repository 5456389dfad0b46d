"""What adapters do for every host: totals, checks, and the summary over tasks, as the statistics of a report have it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import BALANCERS, Balancer
from hardfirst.errors import InputError
from hardfirst.integrations._adapter import LoopAdapter, summarize_tasks
from hardfirst.statistics import delta_m, worst_task

TASKS = ("a", "b", "c")
METHODS = [name for name in BALANCERS if isinstance(BALANCERS[name], type)]
HOST: dict[str, Any] = {"last": True, "several": False}


def losses_of(p: Tensor) -> dict[str, Tensor]:
    """Losses that conflict."""
    return {"a": p.square().sum(), "b": (p[0] - 3).square(), "c": 0.5 * (p[1] + 1).square()}


def make(name: str) -> tuple[LoopAdapter, Balancer, nn.Parameter, dict[str, Tensor]]:
    """An adapter, a balancer for a plain loop, a parameter, and its losses."""
    method: Any = BALANCERS[name]
    balancers = [method(TASKS, **method.example_options(TASKS)) for _ in range(2)]
    p = nn.Parameter(torch.tensor([1.0, 2.0]))
    return LoopAdapter(balancers[0], lambda: [p]), balancers[1], p, losses_of(p)


KPIS = {"a": 0.9, "b": 0.5, "c": 0.2}


@pytest.mark.parametrize("name", METHODS)
def test_any_expression_of_a_total_has_its_gradient(name: str) -> None:
    """As autograd has it: half of the balanced gradient, and that of the rest."""
    adapter, balancer, p, losses = make(name)
    (adapter.total(losses, KPIS, **HOST) / 2 + p.square().sum()).backward()
    gradient, p.grad = p.grad, None
    balancer.backward(losses_of(p), KPIS, shared=[p])
    assert gradient is not None
    assert p.grad is not None
    torch.testing.assert_close(gradient, p.grad / 2 + 2 * p.detach())


@pytest.mark.parametrize("name", ["dtp", "upgrad"])
def test_losses_are_checked_as_in_a_plain_loop(name: str) -> None:
    adapter, balancer, p, losses = make(name)
    bad = {"no loss": {**losses, "b": None}, "[1]": {**losses, "b": losses["b"].reshape(1)}, "name": {"x": losses["a"]}}
    for wrong in [*bad.values(), list(losses.values())]:
        with pytest.raises(InputError) as plain:
            balancer.backward(wrong, shared=[p])  # type: ignore[arg-type]
        for use in (lambda wrong=wrong: adapter.total(wrong, KPIS, **HOST), lambda wrong=wrong: adapter.plain_sum(wrong)):
            with pytest.raises(InputError) as hosted:
                use()
            assert str(hosted.value) == str(plain.value)
    with pytest.raises(InputError, match="Expected `kpis` to be a mapping by task"):
        adapter.total(losses, [0.5], **HOST)  # type: ignore[arg-type]
    adapter.total({}, None, **HOST).backward()
    assert p.grad is None


@pytest.mark.parametrize("name", ["dtp", "gradnorm", "pcgrad"])
def test_backward_passes_inside_a_step_are_outside_autocast(name: str) -> None:
    adapter, balancer, p, _ = make(name)

    def losses() -> dict[str, Tensor]:
        parts = {"a": p[0] * 1.001, "b": p[1] * 3.001 - p[0], "c": p.sum()}
        return {task: (part.reshape(1, 1) @ torch.full((1, 1), 1 + 2**-12)).sum().square() for task, part in parts.items()}

    in_float32 = losses()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = adapter.total(in_float32, KPIS, **HOST)
    total.backward()
    gradient, p.grad = p.grad, None
    balancer.backward(losses(), KPIS, shared=[p])
    assert gradient is not None
    assert p.grad is not None
    torch.testing.assert_close(gradient, p.grad, rtol=0, atol=0)


def test_the_mean_of_micro_batches_is_an_observation_whatever_the_last_one_has() -> None:
    adapter, _, _, losses = make("dtp")
    adapter.total(losses, {"a": 0.2, "b": 0.4}, last=False, several=True)
    adapter.total(losses, {"a": 0.4, "b": math.nan}, last=False, several=True)
    adapter.total(losses, None, last=True, several=True)
    assert adapter.balancer.kpi.average.tolist() == pytest.approx([0.3, 0.4, math.nan], nan_ok=True)  # type: ignore[union-attr,operator]


class Labelled(Tensor):
    """A tensor of a class of its own, as PINA has."""


@pytest.mark.parametrize("name", ["dtp", "uw_so", "gradnorm", "pcgrad"])
def test_losses_of_a_tensor_subclass_pass(name: str) -> None:
    adapter, balancer, p, losses = make(name)
    adapter.total({task: loss.as_subclass(Labelled) for task, loss in losses.items()}, KPIS, **HOST).backward()
    gradient, p.grad = p.grad, None
    balancer.backward(losses_of(p), KPIS, shared=[p])
    assert gradient is not None
    assert p.grad is not None
    torch.testing.assert_close(gradient, p.grad)
    assert adapter.pop_epoch()["a"]["loss"] == pytest.approx(5.0)


@pytest.mark.parametrize("kpis", [(0.5, 0.8, 0.2), (0.5, math.nan, 0.2), (math.nan, 0.8, 0.2)])
@pytest.mark.parametrize("baselines", [(0.6, 0.7, 0.3), (0.6, 0.0, 0.3), (0.6, -0.1, 0.3), (0.6, math.nan, 0.3)])
def test_a_summary_over_tasks_is_that_of_the_statistics(kpis: tuple[float, ...], baselines: tuple[float, ...]) -> None:
    summary = summarize_tasks(TASKS, dict(zip(TASKS, kpis, strict=True)), dict(zip(TASKS, baselines, strict=True)))
    expected = {
        "worst_task": float(worst_task([kpis])[0]),
        "mean_over_tasks": sum(kpis) / 3,
        "delta_m": float(delta_m([kpis], baselines)[0]),
    }
    assert summary == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_a_task_without_a_baseline_has_no_gain() -> None:
    assert math.isnan(summarize_tasks(["a", "b"], {"a": 0.5, "b": 0.8}, {"a": 0.5})["delta_m"])
