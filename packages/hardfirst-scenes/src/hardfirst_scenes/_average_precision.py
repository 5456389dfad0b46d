"""Average precision of a detector: its detections after non-maximum suppression, evaluated by pycocotools.

Boxes, targets and outputs are as in `_detection`.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import MissingPackage
from hardfirst_scenes._detection import FRAMES_AT_ONCE, GRID, Grid, iou


def suppress(boxes: Tensor, *, threshold: float) -> Tensor:
    """Return which boxes non-maximum suppression keeps, bool [frames, K].

    A box is removed if it overlaps a better one that is kept. Whether a box is kept depends only on better boxes, so
    deciding all at once and repeating this settles them from the best one on. The number of rounds is the length of the
    longest chain of boxes in which each suppresses the next, which is short.

    Args:
        boxes: [frames, K, 4], best first in each frame.
        threshold: boxes overlap if their IoU is above it.
    """
    better = iou(boxes[:, :, None], boxes[:, None]).gt(threshold).tril(-1)  # [frames, box, better box that overlaps it]
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
    """Return the detected objects, [frames, K, 6]: box, class and score, best first; unused rows are -1.

    Args:
        output: [frames, cells, C + 4].
        grid: the cells.
        score: the lowest probability of an object, in [0, 1].
        overlap: of two boxes of one class whose IoU is above it, the better one is kept.
        candidates: K, the number of a frame's best candidates that enter the suppression.
    """
    chunks = torch.split(output, FRAMES_AT_ONCE)
    return torch.cat([_detections(chunk, grid, score, overlap, candidates) for chunk in chunks])


def _detections(output: Tensor, grid: Grid, score: float, overlap: float, candidates: int) -> Tensor:
    logits = output[..., :-4].float()
    best, index = logits.flatten(1).topk(min(candidates, logits[0].numel()))
    cell, kind = index // logits.shape[-1], index % logits.shape[-1]
    boxes = grid.boxes(output).gather(1, cell.unsqueeze(-1).expand(-1, -1, 4))
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([grid.width, grid.height] * 2))
    # shifted by class, so that boxes of two classes never overlap and one suppression serves all classes
    apart = boxes + (kind * 2 * max(grid.height, grid.width)).unsqueeze(-1)
    keep = suppress(apart, threshold=overlap) & (best.sigmoid() >= score)
    rows = torch.cat([boxes, kind.unsqueeze(-1), best.sigmoid().unsqueeze(-1)], dim=-1)
    return torch.where(keep.unsqueeze(-1), rows, -1)


class AveragePrecision:
    """The AP50 of the detected objects, see `precision_of`. It stores the detected objects of each frame, not the outputs.

    Args:
        threshold: the lowest IoU of a correct box; 0.5 for AP50.
        grid: the cells.
    """

    def __init__(self, *, threshold: float = 0.5, grid: Grid = GRID) -> None:
        self.threshold, self.grid = threshold, grid
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self.frames: list[tuple[Tensor, Tensor]] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        """Detect the objects of a batch.

        Args:
            output: [frames, cells, C + 4].
            target: [frames, objects, 5].
        """
        self.frames.append((detections(output, grid=self.grid).cpu(), target.cpu()))

    def compute(self) -> Tensor:
        """Return the average precision.

        Raises:
            MissingPackage: pycocotools is not installed.
        """
        detected, target = map(torch.cat, zip(*self.frames, strict=True))
        return precision_of(detected, target, threshold=self.threshold)


def precision_of(detected: Tensor, target: Tensor, *, threshold: float = 0.5) -> Tensor:
    """Return COCO's average precision, by pycocotools: the mean over 101 recalls and the classes in the target.

    At most 100 objects of a class per frame are counted, of any size. NaN if the target has no objects.

    Args:
        detected: [frames, K, 6]: box, class and score; rows of -1 are unused.
        target: [frames, objects, 5].
        threshold: the lowest IoU of a correct box.

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
        return detected.new_full((), torch.nan)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        both = COCO(), COCO()
        for side, rows in zip(both, (target, detected), strict=True):
            side.dataset = {"images": frames, "categories": classes, "annotations": list(_annotations(rows))}
            side.createIndex()
        evaluation = COCOeval(*both, iouType="bbox")
        evaluation.params.iouThrs = [threshold]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, float("inf")]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    return detected.new_tensor(evaluation.eval["precision"].mean())


def _annotations(rows: Tensor) -> Iterator[dict[str, Any]]:
    """Yield the objects in COCO's format. Their ids begin with 1: in pycocotools' tables 0 means "no match"."""
    used = rows[..., 4] >= 0
    for number, (frame, row) in enumerate(zip(used.nonzero()[:, 0].tolist(), rows[used].tolist(), strict=True), 1):
        x1, y1, x2, y2, kind, *score = row
        box = [x1, y1, x2 - x1, y2 - y1]
        annotation = {"id": number, "image_id": frame, "category_id": int(kind), "bbox": box, "area": box[2] * box[3]}
        yield annotation | {"iscrowd": 0, "score": score[0] if score else 1.0}
