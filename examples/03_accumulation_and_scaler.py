"""Several micro-batches in a step, float16 autocast and a GradScaler.

      for number, (images, targets) in enumerate(micro_batches):
          with torch.autocast("cpu", dtype=torch.float16):
              outputs = network(images)
              losses = {task: F.cross_entropy(outputs[task], targets[task]) for task in outputs}
    -     scaler.scale(sum(losses.values()) / k).backward()
    +     balancer.train(number == k - 1)
    +     balancer.backward(losses, using=lambda total: scaler.scale(total / k).backward())
    +     kpis.append({task: accuracy(outputs[task], targets[task]) for task in outputs})
      scaler.step(optimizer)
      scaler.update()
    + balancer.update(mean of the micro-batches' KPIs)

All micro-batches of a step have the same weights, because no KPIs are passed with the losses; the KPIs of the whole batch
are passed once, after the step. `balancer.train(...)` makes methods that learn from losses learn from the last micro-batch
only. The balancer gets the losses themselves: scaling and the division by k belong to `using`. The scaler skips a step that
overflows, as always; this loop drops its KPIs too. On a GPU replace "cpu" with "cuda".
"""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

TASKS = ["digit", "zero"]
BROKEN = 10  # the step whose batch has a corrupt image


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


def main(k: int = 4) -> dict[str, Any]:
    """Train for 40 steps on 64 images each, in k micro-batches."""
    torch.manual_seed(0)
    images, targets = data()
    network, balancer = Network(), hardfirst.DTP(TASKS)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    history = []
    for step in range(40):
        rows = torch.randint(len(images), (64,))
        batch = images[rows]
        if step == BROKEN:
            batch[0] = 1e6  # too large for float16
        kpis, losses_of_step = [], []
        optimizer.zero_grad()
        for number, part in enumerate(torch.arange(64).chunk(k)):
            with torch.autocast("cpu", dtype=torch.float16):
                outputs = network(batch[part])
                losses = {task: F.cross_entropy(outputs[task], targets[task][rows[part]]) for task in TASKS}
            balancer.train(number == k - 1)
            balancer.backward(losses, using=lambda total: scaler.scale(total / k).backward())
            kpis.append({task: accuracy(outputs[task], targets[task][rows[part]]) for task in TASKS})
            losses_of_step.append(float(sum(losses.values()).detach()) / k)
        scale = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        skipped = scaler.get_scale() < scale
        if not skipped:
            balancer.update({task: torch.stack([kpi[task] for kpi in kpis]).nanmean() for task in TASKS})
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        history.append({"loss": sum(losses_of_step), "skipped": skipped, "network": state, **balancer.weights})
    print(f"loss: {history[0]['loss']:.3f} in the first step, {history[-1]['loss']:.3f} in the last")
    print(f"skipped: step {[step for step, entry in enumerate(history) if entry['skipped']]}")
    print(f"weights: {dict(balancer.weights)}")
    return {"history": history}


if __name__ == "__main__":
    main()
