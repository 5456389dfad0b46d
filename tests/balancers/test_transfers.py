"""How often a step of a balancer waits for the device: a gradient method once, to read the products of the gradients."""

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor

from gradient_steps import Bowls
from hardfirst import functional
from hardfirst.balancers import Balancer, GradientBalancer, Spec
from hardfirst.integrations._adapter import LoopAdapter
from table import EVERY, TASKS
from transfers import DEVICE, ON_HOST, Transfers

KPIS = dict(zip(TASKS, (0.2, 0.5, 0.9), strict=True))
TENSORS = {task: torch.tensor(kpi) for task, kpi in KPIS.items()}
STEPS = {
    "all": (TASKS, KPIS),
    "tensors": (TASKS, TENSORS),
    "zero": (TASKS, TENSORS),
    "absent": (TASKS[:2], {task: KPIS[task] for task in TASKS[:2]}),
    "nan": (TASKS, {**TENSORS, TASKS[1]: torch.tensor(torch.nan)}),
    "bare": (TASKS, None),
}


def losses_of(bowls: Bowls, kind: str, tasks: Iterable[str]) -> dict[str, Tensor]:
    losses = bowls.losses(1)
    if kind == "zero":
        losses[TASKS[1]] = losses[TASKS[1]] * 0
    return {task: losses[task] for task in tasks}


def expected(balancer: Balancer) -> list[str]:
    return ["cpu"] if isinstance(balancer, GradientBalancer) else []


@pytest.fixture(autouse=True)
def _as_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ON_HOST, "hardfirst.kpi._moving.on_host"):
        monkeypatch.setattr(name, lambda state: False)


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_a_step_waits_for_the_device_at_most_once(spec: Spec, kind: str) -> None:
    balancer, bowls = spec.build(TASKS), Bowls()
    for _ in range(2):  # the range of a KPI is checked where it first appears
        balancer.backward(bowls.losses(0), TENSORS, shared=bowls.shared)
    tasks, kpis = STEPS[kind]
    losses = losses_of(bowls, kind, tasks)
    with Transfers() as transfers:
        balancer.backward(losses, kpis, shared=bowls.shared)
    assert transfers.waits == expected(balancer)


def test_a_kpi_that_stays_nan_is_looked_at_ever_more_rarely() -> None:
    balancer, kpis = Spec.parse("dtp").build(TASKS), {**TENSORS, TASKS[1]: torch.tensor(torch.nan)}
    waits = []
    for step in range(1, 18):
        with Transfers() as transfers:
            balancer.update(kpis)
        waits += [step] * bool(transfers.waits)
    assert waits == [1, 2, 4, 8, 16]


@pytest.mark.parametrize("several", [False, True], ids=["step", "micro-batches"])
@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_a_step_of_a_host_adds_no_wait(spec: Spec, several: bool) -> None:
    balancer, bowls = spec.build(TASKS), Bowls()
    adapter = LoopAdapter(balancer, lambda: bowls.shared)
    for _ in range(2):
        adapter.total(bowls.losses(0), TENSORS, last=True, several=several).backward()
    losses = bowls.losses(1)
    with Transfers() as transfers:
        adapter.total(losses, KPIS, last=True, several=several).backward()
    assert transfers.waits == expected(balancer)


def test_the_counter_sees_each_kind_of_wait() -> None:
    """Else the tests above would hold of anything."""
    state = torch.tensor([1.0, 2.0])
    waits = {
        "item": state[0].item,
        "__bool__": lambda: bool(state.isnan().any()),
        "tolist": state.tolist,
        "cpu": state.cpu,
        "nonzero": state.nonzero,
        "__getitem__": lambda: state[state > 1],
        "tensor": lambda: torch.tensor([1.0], device=state.device),
        "to": lambda: torch.tensor([1.0]).to(state),
        "copy_": lambda: state.copy_(torch.tensor([1.0, 2.0])),
    }
    for name, wait in waits.items():
        with Transfers() as transfers:
            wait()
        assert transfers.waits == [name]
    with Transfers() as transfers:
        torch.tensor([1.0]).to(DEVICE, non_blocking=True)
        functional.focal_weight(state.clamp(0, 1), 1.0)
    assert transfers.waits == []
