"""One data set for each task; each batch comes from one of them.

      for task, images, target in mixed(batches):        # each batch from one data set
          output = network(images, task)
          loss = F.cross_entropy(output, target)
    +     loss = balancer({task: loss}, {task: accuracy(output, target)})
          optimizer.zero_grad()
          loss.backward()
          optimizer.step()

Leave a task that is not in the batch out of both mappings. It keeps its average of KPIs, so the weights compare the tasks by
their latest KPIs. The larger set has more batches, and that counts too, because weights apply per batch. (The balancer has a
larger effect with SGD: Adam rescales the gradients of parameters that only one task trains.)
"""

from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

CLASSES = {"digit": 10, "turned": 4}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.heads = nn.ModuleDict({task: nn.Linear(64, classes) for task, classes in CLASSES.items()})

    def forward(self, images: Tensor, task: str) -> Tensor:
        return self.heads[task](self.trunk(images))


def data() -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, tuple[Tensor, Tensor]]]:
    """Return training and test sets, by task as images and targets: 400 images with digits, 1,000 with rotations.

    The images are real handwritten digits; no image is in both training sets. The remaining images are for the test.
    """
    pixels, digits = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    images = pixels.float().view(-1, 8, 8) / 16
    quarters = torch.randint(4, (len(images),))
    turned = torch.stack([image.rot90(int(turns)) for image, turns in zip(images, quarters, strict=True)])
    first, second, rest = slice(0, 400), slice(400, 1400), slice(1400, None)
    images, turned, digits = images.flatten(1), turned.flatten(1), digits.long()
    train = {"digit": (images[first], digits[first]), "turned": (turned[second], quarters[second])}
    return train, {"digit": (images[rest], digits[rest]), "turned": (turned[rest], quarters[rest])}


def main() -> dict[str, Any]:
    """Train for ten epochs of both sets, mixed."""
    torch.manual_seed(0)
    train, held_out = data()
    network, balancer = Network(), hardfirst.DTP(list(CLASSES))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    weights = [{task: float(weight) for task, weight in balancer.weights.items()}]
    order = []
    for _ in range(10):
        batches = [(task, rows) for task, (images, _) in train.items() for rows in torch.randperm(len(images)).split(50)]
        for index in torch.randperm(len(batches)).tolist():
            task, rows = batches[index]
            images, target = (values[rows] for values in train[task])
            output = network(images, task)
            loss = balancer({task: F.cross_entropy(output, target)}, {task: accuracy(output, target)})
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            order.append(task)
            weights.append({task: float(weight) for task, weight in balancer.weights.items()})
    with torch.no_grad():
        test_kpis = {task: float(accuracy(network(images, task), target)) for task, (images, target) in held_out.items()}
    print(f"batches:  { ({task: order.count(task) for task in CLASSES}) }")
    print(f"accuracy: {test_kpis}")
    print(f"weights:  {weights[-1]}")
    return {"accuracy": test_kpis, "order": order, "weights": weights}


if __name__ == "__main__":
    main()
