"""The restart within a third-party loop, without the loop."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hardfirst.balancers import HardFirst
from hardfirst.integrations._restart import Restart

TASKS = ("a", "b")


class Network(nn.Module):
    """A weight, and a buffer that each forward replaces."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("seen", torch.zeros(()))
        self.balancer = HardFirst(TASKS, steps=8, search=0.5)


class Loop:
    """A network with its optimizer and its restart."""

    def __init__(self, start: Any = None, network: Network | None = None) -> None:
        self.network = network or Network()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0, momentum=0.9)
        self.restart = Restart(self.network.balancer)
        self.restart.load_state_dict(start)
        self.restart.watch(self.network, [self.optimizer])

    def step(self, *, skipped: bool = False) -> None:
        """Subtract 1 from each weight, without momentum; a gradient scaler may skip the optimizer's step."""
        self.network.seen = self.network.seen + 1
        losses = dict(zip(TASKS, self.network.weight.unbind(), strict=True))
        self.network.balancer.backward(losses, {"a": 0.5, "b": 0.5})
        if not skipped:
            self.optimizer.step()
        self.optimizer.zero_grad()

    def resumed(self) -> "Loop":
        """The loop as another process has it, from its checkpoint."""
        network = Network()
        network.load_state_dict(self.network.state_dict())
        file = io.BytesIO()
        torch.save(self.restart.state_dict(), file)
        file.seek(0)
        loop = Loop(torch.load(file, weights_only=True), network)
        loop.optimizer.load_state_dict(copy.deepcopy(self.optimizer.state_dict()))
        return loop


@pytest.mark.parametrize("skipped", [(), (0,), (2, 3), (3, 4)])
@pytest.mark.parametrize("saved", [1, 3, 4, 5, 6, 7])
def test_a_restart_is_never_lost(skipped: tuple[int, ...], saved: int) -> None:
    """It follows the optimizer's fourth step, which comes later where a gradient scaler skips steps."""
    loop = Loop()
    for step in range(8):
        loop.step(skipped=step in skipped)
        if step + 1 == saved:
            loop = loop.resumed()
        if step + 1 == 4 + len(skipped):
            assert loop.network.weight.tolist() == [0, 0]
            assert not loop.optimizer.state_dict()["state"]
            assert loop.restart.state_dict() is None
    assert loop.network.weight[0] < 0


def test_a_buffer_that_forward_replaces_goes_back() -> None:
    loop = Loop()
    for _ in range(4):
        loop.step()
    assert loop.network.seen == 0
    assert loop.network.balancer.steps_done == 4


def test_a_balancer_at_step_0_starts_with_the_weights_of_now() -> None:
    loop = Loop()
    loop.step()
    loop.network.balancer.reset()
    again = Loop(loop.restart.state_dict(), loop.network)
    for _ in range(4):
        again.step()
    assert again.network.weight.tolist() == [-1, -1]
