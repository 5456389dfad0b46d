"""Network, losses, KPIs and balancer in one compiled graph.

      def loss_of(images: Tensor, targets: dict[str, Tensor]) -> Tensor:
          outputs = network(images)
          losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in outputs}
    -     return sum(losses.values())
    +     kpis = {task: accuracy(outputs[task], targets[task]) for task in outputs}
    +     return balancer(losses, kpis)

      loss_of = torch.compile(loss_of, fullgraph=True)

The balancer's state changes inside the graph from step to step, without recompilation. If labels vary from batch to batch,
keep every task (loss 0, KPI NaN): each set of tasks would compile another graph. Gradient methods and GradNorm run eagerly:
compile only the network with them.
"""

import sys
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

TASKS = ["digit", "zero"]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 16), nn.ReLU())
        self.heads = nn.ModuleDict({"digit": nn.Linear(16, 10), "zero": nn.Linear(16, 2)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


def data() -> tuple[Tensor, dict[str, Tensor]]:
    """Return real handwritten digits [images, 64], which digit it is, and whether it is a zero."""
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    return pixels.float() / 16, {"digit": digits.long(), "zero": (digits == 0).long()}


def main(backend: str | None = "aot_eager") -> dict[str, Any]:
    """Train for 60 steps.

    Args:
        backend: the backend of `torch.compile`; "inductor" gives the fastest steps, but needs a C++ compiler and seconds to
            compile. None trains without compilation.
    """
    torch.manual_seed(0)
    images, targets = data()
    network, balancer = Network(), hardfirst.DTP(TASKS)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    def loss_of(images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        outputs = network(images)
        losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in TASKS}
        kpis = {task: accuracy(outputs[task], targets[task]) for task in TASKS}
        return balancer(losses, kpis)

    compiled = loss_of if backend is None else torch.compile(loss_of, backend=backend, fullgraph=True)
    history = []
    for _ in range(60):
        rows = torch.randint(len(images), (64,))
        loss = compiled(images[rows], {task: target[rows] for task, target in targets.items()})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    print(f"loss: {history[0]:.3f} in the first step, {history[-1]:.3f} in the last")
    print(f"weights: {dict(balancer.weights)}")
    return {"losses": history, "weights": dict(balancer.weights), "network": network.state_dict()}


if __name__ == "__main__":
    main(*sys.argv[1:])
