"""A small problem for balancers, and steps with it."""

import torch
from torch import Tensor, nn

from hardfirst.balancers import Balancer, GradientBalancer, Spec
from table import TASKS


def make(spec: Spec, tasks: tuple[str, ...] = TASKS) -> GradientBalancer:
    balancer = spec.build(tasks)
    assert isinstance(balancer, GradientBalancer)
    return balancer


class Bowls:
    """For each task a loss that is quadratic in two shared parameters and in a head of its own."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.shared = [
            nn.Parameter(torch.randn(2, 3, generator=generator)),
            nn.Parameter(torch.randn(4, generator=generator)),
        ]
        self.heads = {task: nn.Parameter(torch.randn(3, generator=generator)) for task in TASKS}

    def losses(self, seed: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        found = {}
        for size, (task, head) in zip((0.1, 2.0, 30.0), self.heads.items(), strict=True):
            features = self.shared[0].sum(0) + self.shared[1].mean() - 5 * torch.randn(3, generator=generator)
            found[task] = size * ((features * head).square().mean() + 0.1)
        return found

    def gradients(self) -> dict[str, list[Tensor]]:
        """The gradients gathered so far, which are then forgotten."""
        return {"shared": list(map(self._taken, self.shared)), "heads": list(map(self._taken, self.heads.values()))}

    @staticmethod
    def _taken(parameter: nn.Parameter) -> Tensor:
        gradient = torch.full_like(parameter, 12345.0) if parameter.grad is None else parameter.grad
        parameter.grad = None
        return gradient

    def jacobian(self, losses: dict[str, Tensor]) -> Tensor:
        rows = [torch.autograd.grad(loss, self.shared, retain_graph=True) for loss in losses.values()]
        return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


def kpis(seed: int) -> dict[str, Tensor]:
    return dict(zip(TASKS, torch.rand(3, generator=torch.Generator().manual_seed(seed)), strict=True))


def step(balancer: Balancer, seed: int, bowls: Bowls | None = None) -> dict[str, list[Tensor]]:
    """The gradients and the total of a step."""

    def backward(total: Tensor) -> None:
        totals.append(total.detach().clone())
        total.backward()

    bowls, totals = bowls or Bowls(), list[Tensor]()
    balancer.backward(bowls.losses(seed), kpis(seed), shared=bowls.shared, using=backward)
    return {**bowls.gradients(), "total": totals}


def train(balancer: Balancer, count: int = 4, start: int = 0) -> list[dict[str, list[Tensor]]]:
    found = []
    for seed in range(start, start + count):
        found.append(step(balancer, seed))
        if seed % 2:
            balancer.end_epoch()
    return found


def flat(found: dict[str, list[Tensor]]) -> Tensor:
    return torch.cat([part.flatten() for part in found["shared"]])


def assert_equal(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def state(balancer: Balancer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in balancer.state_dict().items()}
