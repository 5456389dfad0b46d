"""Losses and KPIs of a Python subclass of Tensor, such as the labelled tensors of other libraries."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hardfirst.balancers import GradientBalancer, LossBalancer, Spec
from table import EVERY, TASKS


class Labelled(Tensor):
    """Its `to`, `float` and `detach` copy an attribute that the results of other operations lack."""

    labels: list[str]

    def to(self, *args: Any, **options: Any) -> Tensor:
        made = super().to(*args, **options)
        made.labels = self.labels
        return made

    def float(self) -> Tensor:  # type: ignore[override]
        return self.to(torch.float32)

    def detach(self) -> Tensor:
        made = super().detach()
        made.labels = self.labels
        return made


def step(spec: Spec, kind: type[Tensor]) -> tuple[Tensor, Tensor | None]:
    """The gradient of a step, and the total where there is one."""
    shared = torch.nn.Parameter(torch.tensor([0.5, 2.0]))
    balancer = spec.build(TASKS)
    values = (shared.sum(), shared.prod(), shared[0] ** 2 + shared[1])
    losses = {task: value.as_subclass(kind) for task, value in zip(TASKS, values, strict=True)}
    kpis = {task: torch.tensor(0.1 + 0.2 * number).as_subclass(kind) for number, task in enumerate(TASKS)}
    if isinstance(balancer, GradientBalancer):
        balancer.backward(losses, kpis, shared=[shared])
        return shared.grad, None
    assert isinstance(balancer, LossBalancer)
    total = balancer(losses, kpis, shared=[shared])
    total.backward()
    return shared.grad, total


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_a_subclass_gives_the_plain_total_and_gradient(spec: Spec) -> None:
    (gradient, total), (expected, plain) = step(spec, Labelled), step(spec, Tensor)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)
    if total is not None:
        assert type(total) is Tensor
        assert total.item() == plain.item()
