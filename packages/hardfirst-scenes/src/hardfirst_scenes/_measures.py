"""Losses and metrics of the dense tasks of `scenes`: surfaces, depth and normals.

The network predicts one value for each 2×2 pixels, and is compared with the first of them, on which its convolutions are
centred. That takes a quarter of the memory and time. It ignores three of four pixels, just as NYUv2's frames are resized for
the same tasks. Targets may have the frame's resolution or the output's, and the narrow types in which they are stored (int8,
float16).

All of them are sums over pixels, so that a split is evaluated batch by batch: see `hardfirst.kpi.streams`.

Unlabelled pixels do not count: a class below 0, a depth not above 0, a normal of length 0, or NaN. A loss is the mean over
the others, or 0 with a graph if there are none; a metric is then NaN.

References:
    Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019 (the three tasks together, on smaller
    frames, and their losses but for depth);
    Eigen, Puhrsch and Fergus, Depth map prediction from a single image using a multi-scale deep network, NIPS 2014 (depth
    in logarithms; δ and the relative error);
    Fouhey, Gupta and Hebert, Data-driven 3D primitives for single image understanding, ICCV 2013 (the metrics of normals).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst import kpi
from hardfirst.problems import IGNORE, Measure
from hardfirst_scenes._sums import add_sums, mean_or_0


def _streaming(measure: Measure) -> kpi.Streaming:
    form = kpi.streaming(measure)
    assert form is not None
    return form


_OVERLAP, _NEAR = _streaming(kpi.mean_iou), _streaming(kpi.delta)


def _mean_or_nan(sums: Tensor) -> Tensor:
    return (sums[0] / sums[1]).float()


@kpi.skips
@kpi.streams(mean_or_0, add_sums)
def segment_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute the cross-entropy.

    Args:
        output: logits [frames, classes, rows, columns].
        target: classes [frames, height, width], of any signed type; below 0 is unlabelled, e.g. -100.
    """
    classes = _classes(output, target)
    labelled = classes != IGNORE
    logits = torch.where(labelled.unsqueeze(1), output.float(), 0)  # an infinite one would have a gradient of NaN
    losses = F.cross_entropy(logits, classes, ignore_index=IGNORE, reduction="sum")
    return torch.stack([losses, labelled.sum().to(losses)])


@kpi.skips
@kpi.streams(_OVERLAP.finish, _OVERLAP.merge)
def mean_iou(output: Tensor, target: Tensor) -> Tensor:
    """Return the intersection over union, averaged over predicted or present classes: `hardfirst.kpi.mean_iou`.

    Args:
        output: as for `segment_loss`.
        target: as for `segment_loss`.
    """
    return _OVERLAP.state_of(output, _classes(output, target))


@kpi.skips
@kpi.streams(mean_or_0, add_sums)
def depth_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute |output − log depth|; in logarithms an error counts by its ratio, as in both metrics.

    Args:
        output: logarithms of depths [frames, 1, rows, columns].
        target: depths [frames, height, width]; NaN or not above 0 is unlabelled.
    """
    ratio, labelled = _log_ratio(output, target)
    return _sums(ratio.abs(), labelled)


@kpi.skips
@kpi.streams(_NEAR.finish, _NEAR.merge)
def delta(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of pixels with max(depth / target, target / depth) < 1.25: `hardfirst.kpi.delta`.

    Args:
        output: as for `depth_loss`.
        target: as for `depth_loss`.
    """
    return _NEAR.state_of(output.squeeze(1).float().exp(), _subsample(output, target))


@kpi.skips
@kpi.streams(_mean_or_nan, add_sums)
def relative_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean of |depth − target| / target, "abs-rel"; lower is better.

    Args:
        output: as for `depth_loss`.
        target: as for `depth_loss`.
    """
    ratio, labelled = _log_ratio(output.detach(), target)
    return _sums(ratio.expm1().abs(), labelled)


@kpi.skips
@kpi.streams(mean_or_0, add_sums)
def normals_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute 1 − the cosine of the angle between output and normal.

    Args:
        output: vectors of any length [frames, 3, rows, columns].
        target: normals [frames, 3, height, width]; NaN or 0 is unlabelled.
    """
    cosine, labelled = _cosine(output, target)
    return _sums(1 - cosine, labelled)


@kpi.skips
@kpi.streams(_mean_or_nan, add_sums)
def angle_within(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of pixels whose angle is within 30°, as `hardfirst.kpi.angle_within` up to rounding.

    Args:
        output: as for `normals_loss`. A zero vector counts as wrong.
        target: as for `normals_loss`.
    """
    cosine, labelled = _cosine(output.detach(), target)
    return _sums((cosine >= math.cos(math.radians(30))).float(), labelled)


@kpi.skips
@kpi.streams(_mean_or_nan, add_sums)
def mean_angle(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean angle between output and normal in degrees, accurate to a few hundredths; lower is better.

    Args:
        output: as for `normals_loss`.
        target: as for `normals_loss`.
    """
    cosine, labelled = _cosine(output.detach(), target)
    return _sums(cosine.clamp(-1, 1).acos().rad2deg(), labelled)


def _subsample(output: Tensor, target: Tensor) -> Tensor:
    """Return the target's pixels that correspond to the output: the first of each 2×2 if it has half the resolution."""
    step = round(target.shape[-1] / output.shape[-1])
    return target[..., ::step, ::step]


def _classes(output: Tensor, target: Tensor) -> Tensor:
    target = _subsample(output, target).long()
    return torch.where(target < 0, IGNORE, target)


def _log_ratio(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return log (depth / target), and which pixels are labelled."""
    target = _subsample(output, target).float()
    labelled = target > 0
    logarithms = torch.where(labelled, output.squeeze(1).float(), 0)
    return logarithms - torch.where(labelled, target, 1).log(), labelled


def _cosine(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine of each pixel's angle, and which pixels are labelled."""
    target, output = _subsample(output, target).float(), output.float()
    squared = target.square().sum(1)  # F.cosine_similarity and norm are tens of times slower on dim 1
    labelled = squared > 0
    output, target = (torch.where(labelled.unsqueeze(1), vectors, 0) for vectors in (output, target))
    lengths = (output.square().sum(1) * torch.where(labelled, squared, 1)).clamp(min=1e-8).sqrt()
    return (output * target).sum(1) / lengths, labelled


def _sums(values: Tensor, labelled: Tensor) -> Tensor:
    """Return the sum of labelled values, and their number."""
    return torch.stack([torch.where(labelled, values, 0).sum(), labelled.sum().to(values)])
