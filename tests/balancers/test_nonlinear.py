"""What holds for every method whose weights are a function of the losses of the very step."""

import pytest
import torch

from hardfirst.balancers import Spec, task_weights
from hardfirst.balancers._nonlinear import NonlinearLossBalancer
from table import SPECS, TASKS, make

CURRENT = [spec for spec in SPECS if isinstance(make(spec), NonlinearLossBalancer)]
STEPS = 12


def losses_of(step: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(2 * step)
    sizes = torch.tensor([0.3, 2.0, 5.0])
    return list((torch.rand(3, generator=generator) * sizes + 0.1).requires_grad_().unbind())


@pytest.mark.parametrize("spec", CURRENT, ids=str)
def test_weights_are_what_the_tasks_counted_in_the_latest_step(spec: Spec) -> None:
    balancer = make(spec)
    for step in range(STEPS):
        losses = dict(zip(TASKS, losses_of(step), strict=True))
        total = balancer(losses, dict.fromkeys(TASKS, 0.1 * (step % 7)))
        torch.testing.assert_close(dict(balancer.weights), task_weights(total, losses))
        if step % 3 == 2:
            balancer.end_epoch()


@pytest.mark.parametrize("spec", CURRENT, ids=str)
def test_float64_losses_are_balanced_in_float64(spec: Spec) -> None:
    balancer = make(spec)
    losses = {task: torch.tensor(1.0 + 1e-12 * number, dtype=torch.float64) for number, task in enumerate(TASKS)}
    assert balancer(losses, dict.fromkeys(TASKS, 0.5)).dtype == torch.float64
