"""How many operations a step of a loss balancer takes: on a device each one is a launch."""

from contextlib import nullcontext
from unittest.mock import patch

import pytest
import torch

from hardfirst.balancers import LossBalancer, Spec
from operations import Operations
from transfers import ON_HOST

# of forward and its learning: on the CPU; and in the form for a device, where nothing is computed in Python numbers
LIMITS = {
    "equal": (2, 2),
    "dtp": (2, 25),
    "dwa": (12, 12),
    "geometric": (20, 20),
    "imtl_l": (20, 20),
    "random": (20, 38),  # two hashes of 10 integer operations each, which any other form of them would change
    "uncertainty": (20, 20),
    "uw_so": (20, 20),
    "famo": (40, 40),
    "achievement": (40, 40),
    "stch": (40, 40),
    "hard_first:steps=1000": (110, 110),  # in the search
}


def operations(name: str, count: int) -> int:
    tasks = [f"task{number}" for number in range(count)]
    balancer = Spec.parse(name).build(tasks)
    assert isinstance(balancer, LossBalancer)
    shared = torch.ones((), requires_grad=True)
    losses = {task: shared * (number + 1) for number, task in enumerate(tasks)}
    kpis = {task: torch.tensor(1 / (number + 2)) for number, task in enumerate(tasks)}
    balancer(losses, kpis)
    with Operations() as counted:
        balancer(losses, kpis)
    return counted.count


@pytest.mark.parametrize("name", LIMITS)
def test_operations_of_a_step_do_not_grow_with_the_tasks(name: str) -> None:
    for limit, host in zip(LIMITS[name], (nullcontext(), patch(ON_HOST, return_value=False)), strict=True):
        with host:
            few, many = operations(name, 3), operations(name, 40)
        assert few == many
        assert few <= limit
