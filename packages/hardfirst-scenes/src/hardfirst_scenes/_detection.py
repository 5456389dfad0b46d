"""The cells and the loss of a one-stage detector.

For each cell of a few maps the network predicts the classes of objects and a box: one tensor [frames, cells, C + 4], classes
first. A cell corresponds to an anchor in other detectors. Which object a cell has to detect follows from geometry
(`Grid.assign`), so the loss and the metrics are functions of this output and the boxes alone.

The loss of the classes is the origin of focal loss: about six cells of 1,500 have an object. It is a parameter, `example`, a
function (logits, target) → losses, all [frames, cells, C]; `EXAMPLE_LOSSES` has the losses that Lin et al. compare.

Boxes are [..., 4]: x1, y1, x2, y2 in pixels with an exclusive end. Targets are [frames, objects, 5], with the class last and
rows of -1 where a frame has fewer objects.

References:
    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 ("RetinaNet");
    Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019 (one box per cell, without anchors).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from hardfirst.functional import sigmoid_focal_loss
from hardfirst.kpi import streams
from hardfirst_scenes._sums import add_sums, mean_or_0

Example = Callable[[Tensor, Tensor], Tensor]

FRAMES_AT_ONCE = 64  # to limit memory


@dataclass(frozen=True)
class Grid:
    """The cells of all maps, one map after another, row by row.

    Args:
        height: the height of the frame, in pixels.
        width: the width of the frame, in pixels.
        strides: the strides of the maps, finest first, in pixels.
        limits: an object belongs to the first map whose limit is at least the object's longer side, in pixels, or else to
            the last map; one limit fewer than strides.
        radius: the largest distance, in strides, from an object's centre to a cell that detects it.
    """

    height: int = 120
    width: int = 160
    strides: tuple[int, ...] = (4, 8)
    limits: tuple[float, ...] = (24.0,)
    radius: float = 1.0

    @property
    def cells(self) -> Tensor:
        """The centres' x and y and the strides, in pixels, [cells, 3]."""
        maps = []
        for stride in self.strides:
            rows, columns = (torch.arange(stride / 2, size + stride / 2, stride) for size in (self.height, self.width))
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            maps.append(torch.stack([x, y, torch.full_like(x, stride)], dim=-1).flatten(0, 1))
        return torch.cat(maps)

    def boxes(self, output: Tensor) -> Tensor:
        """Decode the boxes of an output, [frames, cells, 4].

        The last four numbers of the output are the offset of the box's centre from the cell's, in strides, and the
        logarithms of its width and height in strides. FCOS predicts the distances to the four sides instead, which does not
        work for a box so small that it contains no cell's centre.
        """
        cells = self.cells.to(output.device)
        offset, size = output[..., -4:].float().tensor_split(2, dim=-1)
        centre = cells[:, :2] + offset * cells[:, 2:]
        half = size.clamp(-4, 4).exp() * cells[:, 2:] / 2
        return torch.cat([centre - half, centre + half], dim=-1)

    def assign(self, target: Tensor) -> Tensor:
        """Return which object each cell has to detect: an index into the target, [frames, cells], -1 for none.

        A cell detects an object if it is on the map for objects of that size, and its centre is in the object's box and
        within `radius` strides of the box's centre ("centre sampling"), or nearest to that centre, so that even the thinnest
        box has a cell. Of several such objects it detects the smallest.
        """
        return torch.cat([self._assign(chunk) for chunk in torch.split(target, FRAMES_AT_ONCE)])

    def _assign(self, target: Tensor) -> Tensor:
        cells, objects = self.cells.to(target.device)[:, None], target[:, None]  # [cells, 1, 3], [frames, 1, objects, 5]
        stride, low, high = cells[..., 2], objects[..., :2].float(), objects[..., 2:4].float()
        level = torch.bucketize((high - low).amax(-1), torch.tensor(self.limits, device=target.device))
        right_map = stride == torch.tensor(self.strides, device=target.device)[level]
        # the box's half size, but no more than `radius` strides, and no less than half a stride: the nearest cell
        reach = ((high - low) / 2).clamp(max=self.radius * cells[..., 2:]).clamp(min=cells[..., 2:] / 2)
        near = ((cells[..., :2] - (low + high) / 2).abs() <= reach).all(-1)
        candidate = near & right_map & (objects[..., 4] >= 0)
        area, index = torch.where(candidate, (high - low).prod(-1), torch.inf).min(-1)  # the smallest object of each cell
        return torch.where(area.isfinite(), index, -1)


GRID = Grid()


def ohem(logits: Tensor, target: Tensor, *, ratio: float = 3.0) -> Tensor:
    """Compute the loss of online hard example mining: the cross-entropy of all cells with an object and the hardest others.

    As in SSD, each frame keeps `ratio` other cells for each cell with an object, or for one if it has none.

    Args:
        logits: [frames, cells, C].
        target: the same shape, 1 if the cell has an object of the class, else 0; NaN is unlabelled.
        ratio: the number of cells without an object for each cell with one, above 0.

    Returns:
        [frames, cells, C], 0 for cells that are not kept.

    Example:
        >>> logits = torch.tensor([[[2.0], [-2.0], [1.0], [0.0]]])
        >>> ohem(logits, torch.tensor([[[1.0], [0.0], [0.0], [0.0]]]), ratio=1.0).squeeze()
        tensor([0.1269, 0.0000, 1.3133, 0.0000])

    References:
        Shrivastava, Gupta and Girshick, Training Region-based Object Detectors with Online Hard Example Mining, CVPR 2016;
        Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2 (3 to 1).
    """
    losses = sigmoid_focal_loss(logits, target, gamma=0, alpha=None)
    objects = (target == 1).any(-1)
    count = ratio * objects.sum(1, keepdim=True).clamp(min=1)
    hardest = losses.detach().sum(-1).masked_fill(objects, -torch.inf).argsort(1, descending=True)
    rank = hardest.argsort(1)  # the inverse permutation: each cell's rank in that order
    return losses * (objects | (rank < count)).unsqueeze(-1)


EXAMPLE_LOSSES: Mapping[str, Example] = {
    "cross_entropy": partial(sigmoid_focal_loss, gamma=0, alpha=None),
    "balanced": partial(sigmoid_focal_loss, gamma=0, alpha=0.75),
    "ohem": ohem,
    "focal_0.5": partial(sigmoid_focal_loss, gamma=0.5, alpha=0.5),
    "focal_1": partial(sigmoid_focal_loss, gamma=1, alpha=0.25),
    "focal_2": partial(sigmoid_focal_loss, gamma=2, alpha=0.25),
    "focal_5": partial(sigmoid_focal_loss, gamma=5, alpha=0.25),
}
"""The losses that Lin et al. compare, each with its best α (table 1)."""


@streams(mean_or_0, add_sums)
def detection_loss(
    output: Tensor, target: Tensor, *, example: Example = EXAMPLE_LOSSES["focal_2"], grid: Grid = GRID
) -> Tensor:
    """Compute the sum of the classes' losses, plus 1 − GIoU of the cells with an object, per cell with an object.

    Args:
        output: [frames, cells, C + 4].
        target: [frames, objects, 5].
        example: the loss of the classes: (logits, target) → losses, all [frames, cells, C].
        grid: the cells.

    References:
        Rezatofighi et al., Generalized Intersection over Union, CVPR 2019.
    """
    assigned = grid.assign(target)
    has_object = assigned >= 0
    expected = target[has_object.nonzero()[:, 0], assigned[has_object], :4]
    classes = example(output[..., :-4], _classes(output, target, assigned)).sum()
    boxes = (1 - generalized_iou(grid.boxes(output)[has_object], expected)).sum()
    total = classes + boxes
    return torch.stack([total, total.new_tensor(len(expected))])


@torch.no_grad()
def cell_losses(output: Tensor, target: Tensor, *, example: Example, grid: Grid = GRID) -> tuple[Tensor, Tensor]:
    """Return the loss of each class and cell, and whether it is of an object: both [frames, cells, C].

    Lin et al. show their distribution over objects and over background in figure 4.

    Args:
        output: as for `detection_loss`.
        target: as for `detection_loss`.
        example: as for `detection_loss`.
        grid: as for `detection_loss`.
    """
    classes = _classes(output, target, grid.assign(target))
    return example(output[..., :-4], classes), classes == 1


def _classes(output: Tensor, target: Tensor, assigned: Tensor) -> Tensor:
    """Return 1 for the class of each cell's object, else 0: [frames, cells, C]."""
    kind = target[..., 4].gather(1, assigned.clamp(min=0))
    kinds = torch.arange(output.shape[-1] - 4, device=target.device)
    return ((kind.unsqueeze(-1) == kinds) & (assigned >= 0).unsqueeze(-1)).to(output.dtype)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union of pairs of boxes, [...]; 0 if both are empty."""
    return _overlap(a, b)[0]


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the generalized IoU of pairs of boxes, [...], in [-1, 1] (Rezatofighi et al.).

    It is the IoU minus the share of the smallest enclosing box that is in neither.
    """
    share, union = _overlap(a, b)
    around = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return share - (around - union) / around.clamp(min=1e-6)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return the intersection over union, and the union's area."""
    both = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - both
    return both / union.clamp(min=1e-6), union


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(-1)
