"""KPIs measured only on a validation set: call `update` after each validation, and pass only losses in a step.

      for epoch in range(epochs):
          for images, targets in batches:
              outputs = network(images)
              losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in outputs}
    -         loss = sum(losses.values())
    +         loss = balancer(losses)
              loss.backward()
              optimizer.step()
          kpis = validate(network)
    +     balancer.update(kpis)

Use this for KPIs that are expensive or undefined on a batch (AUC, average precision), or if the network memorizes its
training set. Weights then change once per validation, and are 1 before the first. Such KPIs are few and have little noise,
hence a moving average with α = 0.75 (the paper's) instead of 0.1. Do not validate on the data that you report on.
"""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

TASKS = ["digit", "zero"]
EPOCHS, TRAIN = 5, 1280


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


@torch.no_grad()
def validate(network: nn.Module, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
    network.eval()
    outputs = network(images)
    network.train()
    return {task: accuracy(outputs[task], targets[task]) for task in TASKS}


def main() -> dict[str, Any]:
    """Train on 1,280 images and validate on the others after each epoch."""
    torch.manual_seed(0)
    images, targets = data()
    held_out = {task: target[TRAIN:] for task, target in targets.items()}
    network, balancer = Network(), hardfirst.DTP(TASKS, alpha=0.75)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    weights, kpis = [], []  # per step, and per validation
    for epoch in range(EPOCHS):
        for rows in torch.randperm(TRAIN).split(64):
            outputs = network(images[rows])
            losses = {task: F.cross_entropy(outputs[task], targets[task][rows]) for task in TASKS}
            loss = balancer(losses)
            step_weights = hardfirst.task_weights(loss, losses)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            weights.append({task: float(weight) for task, weight in step_weights.items()})
        measured = validate(network, images[TRAIN:], held_out)
        balancer.update(measured)
        kpis.append({task: float(kpi) for task, kpi in measured.items()})
        print(f"epoch {epoch}: KPIs {kpis[-1]}, next weights {dict(balancer.weights)}")
    return {"weights": weights, "kpis": kpis}


if __name__ == "__main__":
    main()
