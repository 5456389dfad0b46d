"""Losses, KPIs and metrics of a person's box, keypoints and mask.

A picture has at most one person, or no label, so a network predicts where the person is and how confident it is, and needs
no non-maximum suppression. All losses are of the order of 1 at the start of training. The box loss is a sum over cells per
cell that contains the person, as in RetinaNet. The heat map loss is the squared error relative to the maps' own squares, so
that a network with output 0 has a loss of 1.

References:
    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017 (the box's loss);
    Tompson et al., Joint Training of a Convolutional Network and a Graphical Model for Human Pose Estimation, NIPS 2014
    (heat maps);
    Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; https://cocodataset.org/#keypoints-eval (AP, OKS).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.functional import sigmoid_focal_loss
from hardfirst.kpi import skips, streams
from hardfirst.problems._data import IGNORE
from hardfirst.problems.fields._persons import SIZE

Matched = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(output, target) → the confidence of a network in its answer, and the answer's similarity to the label; NaN if none."""

ANCHOR = 64.0
"""The side of each cell's anchor, in pixels."""
SPREAD = 2 / 64
"""The standard deviation of a heat map's peak, relative to the map's side."""
NEAR = 0.1
"""The distance within which a keypoint counts as found, relative to the box's longer side."""
SIGMAS = tuple(each / 1000 for each in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89))
"""The standard deviations of people who mark keypoints, relative to the root of a person's area, from COCO."""


def _add(state: Tensor, other: Tensor) -> Tensor:
    """Add the sums of two batches in float64: those of a whole split would lose digits in float32."""
    return state.double() + other.double()


def _ratio_or_0(sums: Tensor) -> Tensor:
    return (sums[0] / torch.where(sums[1] > 0, sums[1], 1)).float()


def _ratio(sums: Tensor) -> Tensor:
    return (sums[0] / sums[1]).float()


def _sums(values: Tensor, labelled: Tensor) -> Tensor:
    return torch.stack([torch.where(labelled, values, 0).sum(), labelled.sum().to(values)])


# Boxes


def _axis(count: int, device: torch.device) -> Tensor:
    """Return the centres of cells along one side of the picture, in pixels."""
    return (torch.arange(count, device=device) + 0.5) * SIZE / count


def _centres(output: Tensor) -> Tensor:
    """Return the x and y of the centres of a map's cells in pixels, [2, rows, columns]."""
    rows, columns = output.shape[-2:]
    return torch.stack(torch.meshgrid(_axis(columns, output.device), _axis(rows, output.device), indexing="xy"))


@skips
@streams(_ratio_or_0, _add)
def box_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute the focal loss of whether a cell has the person, plus the smooth L1 of its box, per cell that has it.

    A cell has the person if its centre is within one cell of the box's, horizontally and vertically: usually four cells.

    Args:
        output: for each cell a logit, the offset of the box's centre from the cell's in cells, and the logarithms of the
            box's width and height relative to `ANCHOR`, [batch, 5, rows, columns].
        target: x1, y1, x2, y2 in pixels, [batch, 4]; NaN without a person.
    """
    labelled = ~target.isnan().any(1)
    low, high = torch.where(labelled.unsqueeze(1), target, 1.0).float().view(-1, 2, 2, 1, 1).unbind(1)
    stride = SIZE / output.shape[-1]
    offset = ((low + high) / 2 - _centres(output)) / stride
    has = (offset.abs() <= 1).all(1) & labelled.view(-1, 1, 1)
    size = ((high - low).clamp(min=1) / ANCHOR).log().expand_as(offset)
    expected = torch.cat([offset, size], dim=1)
    boxes = F.smooth_l1_loss(torch.where(has.unsqueeze(1), output[:, 1:].float(), 0), expected, reduction="none").mean(1)
    is_person = torch.where(labelled.view(-1, 1, 1), has.float(), torch.nan)
    total = sigmoid_focal_loss(output[:, 0], is_person).sum() + torch.where(has, boxes, 0).sum()
    return torch.stack([total, has.sum().to(total)])


def best_box(output: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box of the most confident cell, [batch, 4] in pixels, and its confidence, [batch].

    Args:
        output: as for `box_loss`.
    """
    cells = output.float().flatten(2)
    score, index = cells[:, 0].max(1)
    offset, size = cells.gather(2, index.view(-1, 1, 1).expand(-1, 5, 1)).squeeze(2)[:, 1:].tensor_split(2, dim=1)
    centre = _centres(output).flatten(1)[:, index].T + offset * SIZE / output.shape[-1]
    half = size.clamp(-4, 4).exp() * ANCHOR / 2
    return torch.cat([centre - half, centre + half], dim=1).clamp(0, SIZE), score.sigmoid()


def box_overlap(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confidence of the predicted box, and its intersection over union with the person's: both [batch]."""
    box, score = best_box(output.detach())
    low, high = torch.maximum(box[:, :2], target[:, :2]), torch.minimum(box[:, 2:], target[:, 2:])
    both = (high - low).clamp(min=0).prod(1)
    areas = [(each[:, 2:] - each[:, :2]).prod(1) for each in (box, target)]
    return score, both / (areas[0] + areas[1] - both)


@skips
@streams(_ratio, _add)
def box_iou(output: Tensor, target: Tensor) -> Tensor:
    """Compute the mean intersection over union of the most confident cell's box and the person's.

    Args:
        output: as for `box_loss`.
        target: as for `box_loss`.
    """
    overlap = box_overlap(output, target)[1]
    return _sums(overlap, ~overlap.isnan())


# Keypoints


def heat_maps(target: Tensor, rows: int, columns: int) -> Tensor:
    """Return maps with a Gaussian peak of height 1 at each keypoint, [batch, 17, rows, columns]; NaN without a label.

    Args:
        target: as for `keypoints_loss`.
        rows: the rows of the maps.
        columns: the columns of the maps.
    """
    x, y = target[..., 0, None].float(), target[..., 1, None].float()
    across, down = (
        (-((_axis(count, target.device) - at) / (SPREAD * SIZE)).square() / 2).exp()
        for count, at in ((columns, x), (rows, y))
    )
    return down.unsqueeze(3) * across.unsqueeze(2)


@skips
@streams(_ratio_or_0, _add)
def keypoints_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute the squared error of the heat maps, relative to the squares of the target maps.

    Args:
        output: heat maps [batch, 17, rows, columns].
        target: x, y, the box's longer side and the root of the mask's area, in pixels, [batch, 17, 4]; NaN without a label.
    """
    labelled = ~target[..., :1, None].isnan().any(2, keepdim=True)
    expected = torch.where(labelled, heat_maps(target, *output.shape[-2:]), 0)
    error = torch.where(labelled, output.float(), 0) - expected
    return torch.stack([error.square().sum(), expected.square().sum()])


def peaks(output: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions of the heat maps' peaks, [batch, 17, 2] in pixels, and their heights, [batch, 17]."""
    height, index = output.float().flatten(2).max(2)
    return _centres(output).flatten(1)[:, index].movedim(0, 2), height


def _distance(output: Tensor, target: Tensor) -> Tensor:
    apart: Tensor = peaks(output.detach())[0] - target[..., :2]
    return apart.square().sum(2).sqrt()


@skips
@streams(_ratio, _add)
def keypoints_near(output: Tensor, target: Tensor) -> Tensor:
    """Compute the share of labelled keypoints found within 10% of the longer side of the person's box (PCK).

    Args:
        output: as for `keypoints_loss`.
        target: as for `keypoints_loss`.
    """
    return _sums((_distance(output, target) <= NEAR * target[..., 2]).float(), ~target[..., 0].isnan())


def keypoint_similarity(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confidence in the keypoints, and their similarity to the person's (OKS): both [batch].

    The similarity is the mean over labelled keypoints of exp(−d² / (2·A·(2σ)²)), with A the mask's area; NaN if none is.
    """
    spread = 2 * torch.tensor(SIGMAS, device=target.device) * target[..., 3]
    similar = (-(_distance(output, target) / spread).square() / 2).exp()
    return peaks(output.detach())[1].mean(1), similar.nanmean(1)


# Masks


def mask_overlap(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the confidence in the mask, and the mask's intersection over union with the person's: both [batch].

    Args:
        output: logits [batch, height, width].
        target: 1 or 0, [batch, height, width]; -100 without a label.
    """
    probability, labelled = output.detach().float().sigmoid(), target != IGNORE
    found, there = (probability > 0.5) & labelled, (target == 1) & labelled
    both, either = ((each).flatten(1).sum(1) for each in (found & there, found | there))
    score = (probability * found).flatten(1).sum(1) / found.flatten(1).sum(1).clamp(min=1)
    return score, torch.where(labelled.flatten(1).any(1), both / either.clamp(min=1), torch.nan)


# Average precision


class AveragePrecision:
    """COCO's average precision in percent of one answer per picture, over the pictures with a label.

    Precision is interpolated: at each of 101 recalls it is the highest at that recall or above. It stores two numbers per
    picture.

    Args:
        matched: (output, target) → the confidence of the network in its answer, and the answer's similarity to the label in
            [0, 1], NaN without a label: both [batch]. An answer is correct from a similarity of 0.5.

    Example:
        >>> precision = AveragePrecision(lambda output, target: (output, target))
        >>> precision.update(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.6, 0.2, 0.5]))
        >>> precision.compute()  # recall 1/3 at precision 1, recall 2/3 at 2/3
        tensor(55.4455)
    """

    def __init__(self, matched: Matched) -> None:
        self.matched = matched
        self.reset()

    def reset(self) -> None:
        """Forget all pictures."""
        self.pictures: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch."""
        self.pictures.append(torch.stack(self.matched(output, target), dim=1).cpu())

    def compute(self) -> Tensor:
        """Return the average precision in percent; NaN without a label."""
        pictures = torch.cat(self.pictures) if self.pictures else torch.zeros(0, 2)
        pictures = pictures[~pictures[:, 1].isnan()]
        if not len(pictures):
            return torch.tensor(torch.nan)
        score, similarity = pictures.T
        right = (similarity >= 0.5)[score.argsort(descending=True, stable=True)].cumsum(0).double()
        precision = (right / torch.arange(1, len(right) + 1)).flip(0).cummax(0).values.flip(0)
        recalls = 0.01 * torch.arange(101, dtype=torch.float64)  # with the rounding of pycocotools
        at = torch.searchsorted(right / len(right), recalls)
        return 100 * F.pad(precision, (0, 1))[at].mean().float()
