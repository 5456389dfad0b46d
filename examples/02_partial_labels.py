"""Tasks without labels in some batches, handled in two ways.

      for images, targets in batches:                    # a target of -100 means no label
          outputs = network(images)
    -     loss = sum(F.cross_entropy(outputs[task], targets[task]) for task in outputs)    # NaN without any label
    +     losses = {task: mean_loss(outputs[task], targets[task]) for task in outputs}     # 0 without any label
    +     kpis = {task: accuracy(outputs[task], targets[task]) for task in outputs}        # NaN without any label
    +     loss = balancer(losses, kpis)

The first way is shown above. Without labels the mean of `F.cross_entropy` is 0/0 = NaN, and the total would be NaN too;
`mean_loss` divides the sum by at least 1 instead. The KPIs of `hardfirst.kpi` return NaN in this case. This way suits a GPU,
because nothing waits for the labels, and DDP, because every parameter has a gradient. The second way leaves the task out of
`losses` and `kpis` (here `leave_out=True`).

An absent task keeps its average of KPIs, and the weights of the other tasks do not change. Both ways give the same weights
and gradients, but optimizers treat them differently: momentum and weight decay still move a head whose gradient is 0, and
not one without a gradient. With plain SGD, as here, there is no difference.
"""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

CLASSES = {"digit": 10, "top": 2, "left": 2}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Linear(32, classes) for task, classes in CLASSES.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.trunk(images)
        return {task: head(features) for task, head in self.heads.items()}


def data() -> tuple[Tensor, dict[str, Tensor]]:
    """Return real handwritten digits from three sources, [3, images, 64]; one lacks the digit, one the brighter side."""
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    images, squares = pixels.float() / 16, pixels.view(-1, 8, 8)
    top = squares[:, :4].sum((1, 2)) > squares[:, 4:].sum((1, 2))
    left = squares[:, :, :4].sum((1, 2)) > squares[:, :, 4:].sum((1, 2))
    targets = {"digit": digits.long(), "top": top.long(), "left": left.long()}
    targets = {task: target.view(3, -1).clone() for task, target in targets.items()}
    targets["digit"][1] = -100
    targets["left"][2] = -100
    targets["top"][:, ::2] = -100  # half of the labels are missing everywhere, but a batch still has some
    return images.view(3, -1, 64), targets


def mean_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute the mean over labels; 0, with a graph, if there are none."""
    return F.cross_entropy(output, target, ignore_index=-100, reduction="sum") / (target != -100).sum().clamp(min=1)


def main(*, leave_out: bool = False) -> dict[str, Any]:
    """Train on batches of one source each; test on the last 99 images of each source."""
    torch.manual_seed(0)
    images, targets = data()
    network, balancer = Network(), hardfirst.DTP(list(CLASSES))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    history = []
    for step in range(480):
        source, rows = step % 3, torch.randint(500, (48,))
        outputs = network(images[source, rows])
        batch = {task: target[source, rows] for task, target in targets.items()}
        labelled = [task for task in CLASSES if not leave_out or (batch[task] != -100).any()]
        losses = {task: mean_loss(outputs[task], batch[task]) for task in labelled}
        kpis = {task: accuracy(outputs[task], batch[task]) for task in labelled}
        loss = balancer(losses, kpis)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        weights = {task: float(weight) for task, weight in balancer.weights.items()}
        measured = {task: float(kpi) for task, kpi in kpis.items()}
        history.append({"loss": float(loss.detach()), "kpis": measured, "weights": weights})
    with torch.no_grad():
        outputs = network(images[:, 500:].flatten(0, 1))
    test_kpis = {task: float(accuracy(outputs[task], targets[task][:, 500:].flatten())) for task in CLASSES}
    print(f"accuracy: {test_kpis}")
    print(f"weights:  {history[-1]['weights']}")
    return {"accuracy": test_kpis, "history": history}


if __name__ == "__main__":
    main()
