"""The Adam of methods with learned state, against torch's, and states from before its moments were in one tensor."""

from math import inf, nan
from unittest.mock import patch

import pytest
import torch

from hardfirst.balancers import IMTLL
from hardfirst.balancers._adam import Adam
from host_loops import adam_steps


@pytest.mark.parametrize("on_host", [True, False])
def test_the_steps_are_torchs_and_a_task_without_a_gradient_stands_still(on_host: bool) -> None:
    adam, value = Adam(["a", "b", "c"], 0.1, weight_decay=0.01), torch.ones(3)
    parameters = [torch.ones((), requires_grad=True) for _ in range(3)]
    optimizers = [torch.optim.Adam([parameter], 0.1, weight_decay=0.01) for parameter in parameters]
    with patch("hardfirst.functional._scalar.on_host", return_value=on_host):
        for step in range(300):
            gradient = torch.tensor([0.5, -2e-4 * step, nan if step % 3 else 1e3])
            adam.step(value, gradient)
            adam.step(value, torch.tensor([nan, 1e30, inf]))
            for parameter, optimizer, slope in zip(parameters, optimizers, gradient, strict=True):
                if not slope.isnan():
                    parameter.grad = slope
                    optimizer.step()
    torch.testing.assert_close(value, torch.stack(parameters).detach(), rtol=1e-5, atol=1e-5)
    assert adam_steps(adam) == [300, 300, 100]


def test_a_state_of_three_tensors_is_loaded() -> None:
    old, new = IMTLL(["a", "b"]), IMTLL(["b", "a"])
    for step in range(50):
        old({"a": torch.tensor(2.0), "b": torch.tensor(3.0)} if step % 2 else {"a": torch.tensor(5.0)})
    state = old.state_dict()
    moments = state.pop("adam.moments")
    state |= {"adam.first": moments[:, 0], "adam.second": moments[:, 1], "adam.steps": torch.tensor([50, 25])}
    new.load_state_dict(state)
    torch.testing.assert_close(new.adam.moments, moments.flip(0))
    assert adam_steps(new.adam) == [25, 50]
    assert "adam.first" in state
