"""The smallest change: a loop that sums its losses, and the same loop with DTP.

    + balancer = hardfirst.DTP(["digit", "zero"])
      for images, targets in batches:
          outputs = network(images)
          losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in outputs}
    -     loss = sum(losses.values())
    +     kpis = {task: accuracy(outputs[task], targets[task]) for task in outputs}
    +     loss = balancer(losses, kpis)
          optimizer.zero_grad()
          loss.backward()
          optimizer.step()

Recognizing the digit is hard; recognizing a zero is easy. DTP sees this in the KPIs and gives the digit more weight. Its
weights sum to the number of tasks, like those of a plain sum, so the learning rate need not change.
"""

from collections.abc import Callable
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
    """Return real handwritten digits [images, 64] and the targets of both tasks."""
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    return pixels.float() / 16, {"digit": digits.long(), "zero": (digits == 0).long()}


def main(balancer: Callable[..., Tensor] | None = None) -> dict[str, Any]:
    """Train for five epochs.

    Args:
        balancer: computes the total from losses and KPIs; default: DTP.
    """
    torch.manual_seed(0)
    balancer = hardfirst.DTP(TASKS) if balancer is None else balancer
    images, targets = data()
    network = Network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    history = []
    for _ in range(5):
        for rows in torch.randperm(len(images)).split(64):
            outputs = network(images[rows])
            losses = {task: F.cross_entropy(outputs[task], targets[task][rows]) for task in TASKS}
            kpis = {task: accuracy(outputs[task], targets[task][rows]) for task in TASKS}
            loss = balancer(losses, kpis)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append({task: float(value.detach()) for task, value in losses.items()})
    weights = {task: float(weight) for task, weight in getattr(balancer, "weights", {}).items()}
    print(f"losses, first step: {history[0]}")
    print(f"losses, last step:  {history[-1]}")
    print(f"weights:            {weights}")
    return {"losses": history, "weights": weights}


if __name__ == "__main__":
    main()
