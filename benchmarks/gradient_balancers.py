"""Cost of gradient balancers: `python benchmarks/gradient_balancers.py [NAME …]`. The ratios of a row come from one run.

- "T=…": forward and `balancer.backward` of a small CNN with T heads, relative to one forward and a backward for each loss,
  measured alternately; the limit is 1.2;
- "passes": number of backward passes through the trunk in a step, for T = 3;
- "TorchJD": the same ratio for TorchJD's `mtl_backward` and its aggregator of the same name, T = 3, if it has one.
"""

import sys
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchjd import aggregation
from torchjd.autojac import jac_to_grad, mtl_backward

from balancers import ratio
from hardfirst.balancers import BALANCERS, GradientBalancer
from hardfirst.networks import HardSharing

COUNTS = (3, 8)
TORCHJD: Mapping[str, Callable[[], nn.Module]] = {
    "pcgrad": aggregation.PCGrad,
    "mgda": aggregation.MGDA,
    "cagrad": lambda: aggregation.CAGrad(c=0.4),
    "imtl_g": aggregation.IMTLG,
    "nash_mtl": lambda: aggregation.NashMTL(3),
    "aligned_mtl": aggregation.AlignedMTL,
    "upgrad": aggregation.UPGrad,
    "gradvac": aggregation.GradVac,
    "graddrop": aggregation.GradDrop,
    "config": aggregation.ConFIG,
}


class Step:
    """A training step: a batch of images and a network with a head for each task."""

    def __init__(self, tasks: int) -> None:
        torch.manual_seed(0)
        self.tasks = [f"task{number}" for number in range(tasks)]
        layers = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten()]
        self.network = HardSharing(nn.Sequential(*layers), {task: nn.Linear(16 * 36, 10) for task in self.tasks})
        self.images = torch.rand(64, 1, 28, 28)
        self.labels = torch.randint(10, (tasks, 64))
        self.passes = 0

    def forward(self) -> tuple[Tensor, dict[str, Tensor]]:
        self.network.zero_grad()
        features = self.network.trunk(self.images)
        features.register_hook(self._count)
        outputs = {task: head(features) for task, head in zip(self.tasks, self.network.heads.values(), strict=True)}
        return features, {task: F.cross_entropy(outputs[task], self.labels[n]) for n, task in enumerate(self.tasks)}

    def plain(self) -> None:
        """Run one forward, and a backward for each loss."""
        _, losses = self.forward()
        for loss in losses.values():
            loss.backward(retain_graph=True)

    def balanced(self, balancer: GradientBalancer) -> None:
        _, losses = self.forward()
        balancer.backward(losses, shared=self.network.shared_parameters())

    def torchjds(self, aggregator: nn.Module) -> None:
        features, losses = self.forward()
        mtl_backward(list(losses.values()), features=features)
        jac_to_grad(self.network.shared_parameters(), aggregator)

    def _count(self, gradient: Tensor) -> None:
        self.passes += 1


def cost(name: str, tasks: int) -> float:
    step = Step(tasks)
    balancer = make(name, step.tasks)
    return ratio(lambda: step.balanced(balancer), step.plain, calls=5, rounds=15)


def passes(name: str) -> int:
    step = Step(3)
    step.balanced(make(name, step.tasks))
    return step.passes


def rival(name: str) -> str:
    if name not in TORCHJD:
        return f"{'–':>9}"
    step, aggregator = Step(3), TORCHJD[name]()
    return f"{ratio(lambda: step.torchjds(aggregator), step.plain, calls=5, rounds=15):9.2f}"


def make(name: str, tasks: list[str]) -> GradientBalancer:
    balancer = BALANCERS[name](tasks)
    assert isinstance(balancer, GradientBalancer)
    return balancer


def main() -> None:
    torch.set_num_threads(1)
    gradient = [name for name, made in BALANCERS.items() if isinstance(made, type) and issubclass(made, GradientBalancer)]
    print("ratios to one forward and a backward for each loss")
    print("balancer           " + "".join(f"{f'T={count}':>7}" for count in COUNTS) + "  passes  TorchJD")
    for name in sys.argv[1:] or sorted(gradient):
        costs = "".join(f"{cost(name, count):7.2f}" for count in COUNTS)
        print(f"{name:19}{costs}{passes(name):8}{rival(name)}", flush=True)


if __name__ == "__main__":
    main()
