"""torchmetrics objects as KPIs.

    + kpi = {
    +     "digit": from_metric(MulticlassF1Score(num_classes=10, average="macro")),
    +     "ink": from_metric(MeanAbsoluteError(), high=0.5),
    + }
      for images, targets in batches:
          outputs = network(images)
          losses = {task: loss[task](outputs[task], targets[task]) for task in outputs}
    -     loss = sum(losses.values())
    +     loss = balancer(losses, {task: kpi[task](outputs[task], targets[task]) for task in outputs})

A KPI is in [0, 1], and 1 is best. Scores already are. Errors are converted so that 0 becomes 1 and `high` becomes 0; for
`high` use the error of an untrained network. torchmetrics objects know whether higher is better; for your own function pass
`higher_is_better=False`.
A metric used as a KPI is reset for each batch: to log over an epoch, use another object.
"""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torchmetrics.classification import MulticlassF1Score
from torchmetrics.regression import MeanAbsoluteError

import hardfirst
from hardfirst.kpi import from_metric

LOSS = {"digit": F.cross_entropy, "ink": F.l1_loss}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.heads = nn.ModuleDict({"digit": nn.Linear(32, 10), "ink": nn.Linear(32, 1)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {"digit": self.heads["digit"](features), "ink": self.heads["ink"](features).squeeze(1)}


def data() -> tuple[Tensor, dict[str, Tensor]]:
    """Return real handwritten digits [images, 64], the digit, and the tenths of the ink in the middle columns."""
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    images = pixels.float() / 16
    ink = 10 * images.view(-1, 8, 8)[:, :, 2:6].sum((1, 2)) / images.sum(1)
    return images, {"digit": digits.long(), "ink": ink}


def main() -> dict[str, Any]:
    """Train for five epochs, and log the epoch's F1 score with a separate metric object."""
    torch.manual_seed(0)
    images, targets = data()
    kpi = {
        "digit": from_metric(MulticlassF1Score(num_classes=10, average="macro")),
        "ink": from_metric(MeanAbsoluteError(), high=0.5),
    }
    logged = MulticlassF1Score(num_classes=10, average="macro")
    network, balancer = Network(), hardfirst.DTP(list(LOSS))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.03, momentum=0.9)
    history = []
    for epoch in range(5):
        for rows in torch.randperm(len(images)).split(64)[:-1]:
            outputs = network(images[rows])
            losses = {task: LOSS[task](outputs[task], targets[task][rows]) for task in LOSS}
            kpis = {task: kpi[task](outputs[task], targets[task][rows]) for task in LOSS}
            loss = balancer(losses, kpis)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            logged.update(outputs["digit"], targets["digit"][rows])
            seen = {task: (outputs[task].detach(), targets[task][rows]) for task in LOSS}
            history.append({"seen": seen, "kpis": {task: float(value) for task, value in kpis.items()}})
        print(f"epoch {epoch}: F1 {logged.compute():.3f}, KPIs of the last batch {history[-1]['kpis']}")
        logged.reset()
    return {"history": history, "weights": {task: float(weight) for task, weight in balancer.weights.items()}}


if __name__ == "__main__":
    main()
