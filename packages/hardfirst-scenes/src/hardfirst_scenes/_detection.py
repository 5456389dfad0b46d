"""A one-stage detector's cells, loss and average precision.

The network says for each cell of a few maps which classes of objects are there, and the box of the object: one tensor
[frames, cells, C + 4], classes first. A cell is what an anchor is to other detectors. Which cells are to find which object
is a matter of geometry (`Grid.assign`), so that loss and figures are functions of this output and the boxes alone.

The loss of the classes is where focal loss comes from: some six cells of 1,500 have an object. It is a parameter, `example`,
a function (logits, target) → losses, all [frames, cells, C]; `EXAMPLE_LOSSES` has those that Lin et al. compare.

Boxes are [..., 4], x1, y1, x2, y2 in pixels, the second pair outside. Targets are [frames, objects, 5], with the class last,
rows of -1 where a frame has fewer objects.

References:
    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 ("RetinaNet");
    Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019 (a box for a cell, without anchors).
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import MissingPackage
from hardfirst.functional import sigmoid_focal_loss

Example = Callable[[Tensor, Tensor], Tensor]

FRAMES = 64  # at a time, where there is a whole split


@dataclass(frozen=True)
class Grid:
    """The cells: those of each map in turn, row by row.

    Args:
        height: of the frame, in pixels.
        width: of the frame, in pixels.
        strides: of the maps, finest first, in pixels.
        limits: an object is looked for on the first map whose limit its longer side is within, or on the last; one limit
            fewer than strides.
        radius: how far from an object's centre a cell may be, in strides, to be one of those that find it.
    """

    height: int = 120
    width: int = 160
    strides: tuple[int, ...] = (4, 8)
    limits: tuple[float, ...] = (24.0,)
    radius: float = 1.0

    @property
    def cells(self) -> Tensor:
        """[cells, 3]: the centre's x and y, and the stride, in pixels."""
        maps = []
        for stride in self.strides:
            rows, columns = (torch.arange(stride / 2, size + stride / 2, stride) for size in (self.height, self.width))
            y, x = torch.meshgrid(rows, columns, indexing="ij")
            maps.append(torch.stack([x, y, torch.full_like(x, stride)], dim=-1).flatten(0, 1))
        return torch.cat(maps)

    def boxes(self, output: Tensor) -> Tensor:
        """The boxes that an output means, [frames, cells, 4].

        The last four numbers of the output are how far the box's centre is from the cell's, in strides, and the logarithms
        of its width and height in strides. FCOS has the distances of the four sides, which cannot be said of a box so small
        that no cell's centre is in it.
        """
        cells = self.cells.to(output.device)
        offset, size = output[..., -4:].float().tensor_split(2, dim=-1)
        centre = cells[:, :2] + offset * cells[:, 2:]
        half = size.clamp(-4, 4).exp() * cells[:, 2:] / 2
        return torch.cat([centre - half, centre + half], dim=-1)

    def assign(self, target: Tensor) -> Tensor:
        """Which object each cell is to find: its place in the target, [frames, cells], -1 for none.

        A cell is to find an object if it is of the map for that size, and its centre is in the object's box and within
        `radius` strides of the box's centre ("centre sampling"), or nearest to that centre, which even the thinnest box has
        a cell for. Where that is so for several objects, it is to find the smallest.
        """
        return torch.cat([self._assign(some) for some in torch.split(target, FRAMES)])

    def _assign(self, target: Tensor) -> Tensor:
        cells, objects = self.cells.to(target.device)[:, None], target[:, None]  # [cells, 1, 3], [frames, 1, objects, 5]
        stride, low, high = cells[..., 2], objects[..., :2].float(), objects[..., 2:4].float()
        level = torch.bucketize((high - low).amax(-1), torch.tensor(self.limits, device=target.device))
        right_map = stride == torch.tensor(self.strides, device=target.device)[level]
        reach = ((high - low) / 2).clamp(max=self.radius * cells[..., 2:]).clamp(min=cells[..., 2:] / 2)
        near = ((cells[..., :2] - (low + high) / 2).abs() <= reach).all(-1)
        found = near & right_map & (objects[..., 4] >= 0)
        area, place = torch.where(found, (high - low).prod(-1), torch.inf).min(-1)
        return torch.where(area.isfinite(), place, -1)


GRID = Grid()


def ohem(logits: Tensor, target: Tensor, *, ratio: float = 3.0) -> Tensor:
    """Online hard example mining as in SSD: the cross-entropy of all cells with an object and the hardest of the others.

    In each frame so many of the others are kept as `ratio` times those with an object, or times one where there is none.

    Args:
        logits: [frames, cells, C].
        target: the same shape, 1 where the cell has an object of the class, else 0; NaN where there is no label.
        ratio: cells without an object to cells with one.

    Returns:
        [frames, cells, C], 0 for what is not kept.

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
    place = hardest.argsort(1)  # of each cell in that order
    return losses * (objects | (place < count)).unsqueeze(-1)


EXAMPLE_LOSSES: Mapping[str, Example] = {
    "cross_entropy": partial(sigmoid_focal_loss, gamma=0, alpha=None),
    "balanced": partial(sigmoid_focal_loss, gamma=0, alpha=0.75),
    "ohem": ohem,
    "focal_0.5": partial(sigmoid_focal_loss, gamma=0.5, alpha=0.5),
    "focal_1": partial(sigmoid_focal_loss, gamma=1, alpha=0.25),
    "focal_2": partial(sigmoid_focal_loss, gamma=2, alpha=0.25),
    "focal_5": partial(sigmoid_focal_loss, gamma=5, alpha=0.25),
}
"""What Lin et al. compare, each with the α that was best for it there (table 1)."""


def detection_loss(
    output: Tensor, target: Tensor, *, example: Example = EXAMPLE_LOSSES["focal_2"], grid: Grid = GRID
) -> Tensor:
    """The sum of the classes' losses and of 1 − GIoU over cells with an object, divided by the number of such cells.

    Args:
        output: [frames, cells, C + 4].
        target: [frames, objects, 5].
        example: the loss of the classes: (logits, target) → losses, all [frames, cells, C].
        grid: the cells.

    References:
        Rezatofighi et al., Generalized Intersection over Union, CVPR 2019.
    """
    place = grid.assign(target)
    found = place >= 0
    wanted = target[found.nonzero()[:, 0], place[found], :4]
    classes = example(output[..., :-4], _classes(output, target, place)).sum()
    boxes = (1 - generalized_iou(grid.boxes(output)[found], wanted)).sum()
    return (classes + boxes) / max(1, len(wanted))


@torch.no_grad()
def cell_losses(output: Tensor, target: Tensor, *, example: Example, grid: Grid = GRID) -> tuple[Tensor, Tensor]:
    """The losses of the classes one by one, and which of them are of an object: [frames, cells, C], and the same in bool.

    Their distribution, over objects and over background, is what Lin et al. show in figure 4.

    Args:
        output: as for `detection_loss`.
        target: as for `detection_loss`.
        example: as for `detection_loss`.
        grid: as for `detection_loss`.
    """
    classes = _classes(output, target, grid.assign(target))
    return example(output[..., :-4], classes), classes == 1


def _classes(output: Tensor, target: Tensor, place: Tensor) -> Tensor:
    """1 for the class of each cell's object, else 0: [frames, cells, C]."""
    kind = target[..., 4].gather(1, place.clamp(min=0))
    kinds = torch.arange(output.shape[-1] - 4, device=target.device)
    return ((kind.unsqueeze(-1) == kinds) & (place >= 0).unsqueeze(-1)).to(output.dtype)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes, pair by pair, [...]; 0 where both are empty."""
    return _overlap(a, b)[0]


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less the share of the smallest box around both that is in neither, [...], from -1 to 1 (Rezatofighi et al.)."""
    share, union = _overlap(a, b)
    around = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return share - (around - union) / around.clamp(min=1e-6)


def _overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and the union's area."""
    both = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - both
    return both / union.clamp(min=1e-6), union


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(-1)


def suppress(boxes: Tensor, *, threshold: float) -> Tensor:
    """Non-maximum suppression: which boxes to keep, [frames, K]. A box goes if it overlaps a better one that stays.

    Whether a box stays depends on the better ones alone, so that asking all at once, again and again, settles them from the
    first on; it ends after as many rounds as the longest chain of boxes, each suppressing the next, which is short.

    Args:
        boxes: [frames, K, 4], best first in each frame.
        threshold: an IoU above it is an overlap.
    """
    better = iou(boxes[:, :, None], boxes[:, None]).gt(threshold).tril(-1)
    keep = torch.ones(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    while True:
        settled = ~(better & keep[:, None]).any(-1)
        if settled.equal(keep):
            return keep
        keep = settled


@torch.no_grad()
def detections(
    output: Tensor, *, grid: Grid = GRID, score: float = 0.01, overlap: float = 0.5, candidates: int = 200
) -> Tensor:
    """The objects found, [frames, K, 6]: box, class and score, best first; rows of -1 where there are fewer.

    Args:
        output: [frames, cells, C + 4].
        grid: the cells.
        score: the least probability of an object.
        overlap: of two boxes of one class with a greater IoU, the better one stays.
        candidates: K, how many of a frame's best enter the suppression.
    """
    found = [_detections(some, grid, score, overlap, candidates) for some in torch.split(output, FRAMES)]
    return torch.cat(found)


def _detections(output: Tensor, grid: Grid, score: float, overlap: float, candidates: int) -> Tensor:
    logits = output[..., :-4].float()
    best, place = logits.flatten(1).topk(min(candidates, logits[0].numel()))
    cell, kind = place // logits.shape[-1], place % logits.shape[-1]
    boxes = grid.boxes(output).gather(1, cell.unsqueeze(-1).expand(-1, -1, 4))
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([grid.width, grid.height] * 2))
    apart = boxes + (kind * 2 * max(grid.height, grid.width)).unsqueeze(-1)  # boxes of two classes never overlap
    keep = suppress(apart, threshold=overlap) & (best.sigmoid() >= score)
    rows = torch.cat([boxes, kind.unsqueeze(-1), best.sigmoid().unsqueeze(-1)], dim=-1)
    return torch.where(keep.unsqueeze(-1), rows, -1)


def average_precision(output: Tensor, target: Tensor, *, threshold: float = 0.5, grid: Grid = GRID) -> Tensor:
    """AP50 of the objects found: see `precision_of`.

    Args:
        output: [frames, cells, C + 4].
        target: [frames, objects, 5].
        threshold: the least IoU of a box that is right; .5 for AP50.
        grid: the cells.

    Raises:
        MissingPackage: pycocotools is not installed.
    """
    return precision_of(detections(output, grid=grid), target, threshold=threshold)


def precision_of(found: Tensor, target: Tensor, *, threshold: float = 0.5) -> Tensor:
    """The average precision as COCO has it, by pycocotools: the mean over 101 recalls and the classes that are there.

    At most 100 objects of a class in a frame enter, and none is too small. NaN where there is no object at all.

    Args:
        found: [frames, K, 6]: box, class and score; rows of -1 are none.
        target: [frames, objects, 5].
        threshold: the least IoU of a box that is right.

    Raises:
        MissingPackage: pycocotools is not installed.

    References:
        Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; https://cocodataset.org/#detection-eval.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise MissingPackage("Average precision needs pycocotools: pip install pycocotools") from error
    frames = [{"id": frame} for frame in range(len(target))]
    classes = [{"id": int(kind)} for kind in set(target[..., 4].flatten().tolist()) if kind >= 0]
    if not classes:
        return found.new_full((), torch.nan)
    with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress
        both = COCO(), COCO()
        for side, rows in zip(both, (target, found), strict=True):
            side.dataset = {"images": frames, "categories": classes, "annotations": list(_annotations(rows))}
            side.createIndex()
        evaluation = COCOeval(*both, iouType="bbox")
        evaluation.params.iouThrs = [threshold]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, float("inf")]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    return found.new_tensor(evaluation.eval["precision"].mean())


def _annotations(rows: Tensor) -> Iterator[dict[str, Any]]:
    """Objects as COCO writes them; their numbers begin with 1, since 0 says "no match" in its tables."""
    there = rows[..., 4] >= 0
    for number, (frame, row) in enumerate(zip(there.nonzero()[:, 0].tolist(), rows[there].tolist(), strict=True), 1):
        x1, y1, x2, y2, kind, *score = row
        box = [x1, y1, x2 - x1, y2 - y1]
        about = {"id": number, "image_id": frame, "category_id": int(kind), "bbox": box, "area": box[2] * box[3]}
        yield about | {"iscrowd": 0, "score": score[0] if score else 1.0}
