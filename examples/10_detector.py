"""A one-stage detector with the sigmoid focal loss, beside a second task.

    + focal = hardfirst.SigmoidFocalLoss(gamma=2.0, alpha=0.25, reduction="sum")
    + nn.init.constant_(network.detect.bias[:1], -math.log((1 - 0.01) / 0.01))    # an object is rare: begin with 1%
      for images, there, boxes, count in batches:
          found, counts = network(images)
    -     objects = F.binary_cross_entropy_with_logits(found[:, 0], there)
    +     objects = focal(found[:, 0], there) / there.sum().clamp(min=1)
          losses = {"detect": objects + box_loss, "count": F.cross_entropy(counts, count)}
    -     loss = sum(losses.values())
    +     loss = balancer(losses, {"detect": iou_of_cells, "count": accuracy(counts, count)})

Images of noise hold up to four bright squares; some 3 of 100 cells have one. As Lin et al. have it (RetinaNet), the focal
loss is summed over all cells and divided by the number of those with an object, and the bias begins at a rare object, or
else the many empty cells drown the first steps. Focal loss weighs examples, DTP tasks; they do not get in each other's way.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

SIZE, STRIDE = 32, 4  # pixels of an image's side, and of a cell's: 8×8 cells
SURE = 0.3  # the probability from which on a cell is said to have an object
CELLS = (torch.arange(SIZE // STRIDE) + 0.5) * STRIDE  # their centres


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1)]
        self.trunk = nn.Sequential(*layers, nn.ReLU())
        self.detect = nn.Conv2d(32, 5, 3, 1, 1)  # whether there is an object, and how far its four sides are
        self.count = nn.Linear(32, 5)
        nn.init.constant_(self.detect.bias[:1], -math.log((1 - 0.01) / 0.01))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        return self.detect(features), self.count(features.sum((2, 3)) / 8)


def data(images: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images [N, 1, 32, 32], their boxes [N, 4, 4] as x1, y1, x2, y2, and which of the four are there [N, 4]."""
    sides = torch.randint(5, 10, (images, 4))
    there = torch.rand(images, 4) < 0.5
    corner = torch.tensor([[0, 0], [16, 0], [0, 16], [16, 16]])  # one for each quarter, so that none overlap
    low = corner + (torch.rand(images, 4, 2) * (17 - sides).unsqueeze(-1)).long()
    boxes = torch.cat([low, low + sides.unsqueeze(-1)], -1)
    pixel = torch.arange(SIZE)
    across, down = ((pixel >= boxes[..., [k]]) & (pixel < boxes[..., [k + 2]]) for k in (0, 1))
    squares = (down.unsqueeze(-1) & across.unsqueeze(-2) & there[..., None, None]).any(1)
    return (squares + 0.3 * torch.randn(images, SIZE, SIZE)).unsqueeze(1), boxes.float(), there


def wanted(boxes: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Which cells have the centre of a square [N, 8, 8], and how far its sides are from the cell's centre [N, 4, 8, 8]."""
    objects, sides = torch.zeros(len(boxes), 8, 8), torch.zeros(len(boxes), 4, 8, 8)
    image, which = there.nonzero().T
    box = boxes[image, which]
    column, row = ((box[:, :2] + box[:, 2:]) / 2 / STRIDE).long().T
    objects[image, row, column] = 1.0
    sides[image, :, row, column] = (box - torch.stack([CELLS[column], CELLS[row]] * 2, 1)) / STRIDE
    return objects, sides


def main() -> dict[str, Any]:
    """Train for 150 steps, and try it on 200 images made with another seed."""
    torch.manual_seed(0)
    network, balancer = Network(), hardfirst.DTP(["detect", "count"])
    focal = hardfirst.SigmoidFocalLoss(gamma=2.0, alpha=0.25, reduction="sum")
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    history = []
    for _ in range(150):
        images, boxes, there = data(32)
        objects, sides = wanted(boxes, there)
        found, counts = network(images)
        box = (F.smooth_l1_loss(found[:, 1:], sides, reduction="none") * objects.unsqueeze(1)).sum()
        detect = (focal(found[:, 0], objects) + box) / objects.sum().clamp(min=1)
        losses = {"detect": detect, "count": F.cross_entropy(counts, there.sum(1))}
        said, so = found[:, 0].sigmoid() > SURE, objects > 0
        kpis = {"detect": (said & so).sum() / (said | so).sum(), "count": accuracy(counts, there.sum(1))}
        loss = balancer(losses, kpis)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({task: float(value.detach()) for task, value in losses.items()})
    torch.manual_seed(1)
    images, boxes, there = data(200)
    with torch.no_grad():
        found, counts = network(images)
    right = float(accuracy(counts, there.sum(1)))
    print(f"losses: {history[0]} at first, {history[-1]} at last")
    share = (found[:, 0].sigmoid() > SURE)[wanted(boxes, there)[0] > 0].float().mean()
    print(f"squares whose cell says so: {share:.2f}; images whose squares are counted rightly: {right:.2f}")
    return {"losses": history, "found": found, "boxes": boxes, "there": there, "count": right}


if __name__ == "__main__":
    main()
