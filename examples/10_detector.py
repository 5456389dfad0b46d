"""A one-stage detector with the sigmoid focal loss, and a second task.

    + focal = hardfirst.SigmoidFocalLoss(gamma=2.0, alpha=0.25, reduction="sum")
    + nn.init.constant_(network.detect.bias[:1], -math.log((1 - 0.01) / 0.01))    # objects are rare: start at 1%
      for images, objects, boxes, count in batches:
          detections, counts = network(images)
    -     detect = F.binary_cross_entropy_with_logits(detections[:, 0], objects)
    +     detect = focal(detections[:, 0], objects) / objects.sum().clamp(min=1)
          losses = {"detect": detect + box_loss, "count": F.cross_entropy(counts, count)}
    -     loss = sum(losses.values())
    +     loss = balancer(losses, {"detect": iou_of_cells, "count": accuracy(counts, count)})

Noise images contain up to four bright squares; about 3 of 100 cells have one. As in RetinaNet (Lin et al.), the focal loss
is summed over all cells and divided by the number of cells with an object, and the bias starts at a low probability:
otherwise the many empty cells dominate the first steps. Focal loss weights examples, DTP weights tasks; the two combine.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hardfirst
from hardfirst.kpi import accuracy

SIZE, STRIDE = 32, 4  # side of an image and of a cell, in pixels: 8×8 cells
SURE = 0.3  # the lowest probability of a detected cell
CELLS = (torch.arange(SIZE // STRIDE) + 0.5) * STRIDE  # their centres


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 1, 1)]
        self.trunk = nn.Sequential(*layers, nn.ReLU())
        self.detect = nn.Conv2d(32, 5, 3, 1, 1)  # whether there is an object, and the distances to its four sides
        self.count = nn.Linear(32, 5)
        nn.init.constant_(self.detect.bias[:1], -math.log((1 - 0.01) / 0.01))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        return self.detect(features), self.count(features.sum((2, 3)) / 8)


def data(images: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return images [N, 1, 32, 32], boxes [N, 4, 4] as x1, y1, x2, y2, and whether each box is in the image [N, 4]."""
    sides = torch.randint(5, 10, (images, 4))
    present = torch.rand(images, 4) < 0.5
    corner = torch.tensor([[0, 0], [16, 0], [0, 16], [16, 16]])  # one box in each quarter, so that none overlap
    low = corner + (torch.rand(images, 4, 2) * (17 - sides).unsqueeze(-1)).long()
    boxes = torch.cat([low, low + sides.unsqueeze(-1)], -1)
    pixel = torch.arange(SIZE)
    across, down = ((pixel >= boxes[..., [k]]) & (pixel < boxes[..., [k + 2]]) for k in (0, 1))
    squares = (down.unsqueeze(-1) & across.unsqueeze(-2) & present[..., None, None]).any(1)
    return (squares + 0.3 * torch.randn(images, SIZE, SIZE)).unsqueeze(1), boxes.float(), present


def detection_targets(boxes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cells with a square's centre [N, 8, 8], and its sides from there [N, 4, 8, 8]."""
    objects, sides = torch.zeros(len(boxes), 8, 8), torch.zeros(len(boxes), 4, 8, 8)
    image, index = present.nonzero().T
    box = boxes[image, index]
    column, row = ((box[:, :2] + box[:, 2:]) / 2 / STRIDE).long().T
    objects[image, row, column] = 1.0
    sides[image, :, row, column] = (box - torch.stack([CELLS[column], CELLS[row]] * 2, 1)) / STRIDE
    return objects, sides


def main() -> dict[str, Any]:
    """Train for 150 steps, and test on 200 images generated with another seed."""
    torch.manual_seed(0)
    network, balancer = Network(), hardfirst.DTP(["detect", "count"])
    focal = hardfirst.SigmoidFocalLoss(gamma=2.0, alpha=0.25, reduction="sum")
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    history = []
    for _ in range(150):
        images, boxes, present = data(32)
        objects, sides = detection_targets(boxes, present)
        detections, counts = network(images)
        box = (F.smooth_l1_loss(detections[:, 1:], sides, reduction="none") * objects.unsqueeze(1)).sum()
        detect = (focal(detections[:, 0], objects) + box) / objects.sum().clamp(min=1)
        losses = {"detect": detect, "count": F.cross_entropy(counts, present.sum(1))}
        predicted, actual = detections[:, 0].sigmoid() > SURE, objects > 0
        kpis = {"detect": (predicted & actual).sum() / (predicted | actual).sum(), "count": accuracy(counts, present.sum(1))}
        loss = balancer(losses, kpis)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({task: float(value.detach()) for task, value in losses.items()})
    torch.manual_seed(1)
    images, boxes, present = data(200)
    with torch.no_grad():
        detections, counts = network(images)
    count_accuracy = float(accuracy(counts, present.sum(1)))
    print(f"losses: {history[0]} in the first step, {history[-1]} in the last")
    recall = (detections[:, 0].sigmoid() > SURE)[detection_targets(boxes, present)[0] > 0].float().mean()
    print(f"detected squares: {recall:.2f}; images with the correct count: {count_accuracy:.2f}")
    return {"losses": history, "detections": detections, "boxes": boxes, "present": present, "count": count_accuracy}


if __name__ == "__main__":
    main()
