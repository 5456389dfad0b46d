"""Losses and measures of dense tasks, which accumulate over a split: classes, depths and normals of pixels.

A pixel has no label if its class is −100, its depth is NaN, or its normal contains a NaN.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from hardfirst import kpi
from hardfirst.problems._task import Measure

BIN = 0.01
"""The width of the histogram's bins of angles, in degrees."""
_BINS = round(180 / BIN) + 1


def in_percent(measure: Measure) -> Measure:
    """Multiply a measure that accumulates by 100.

    >>> in_percent(kpi.accuracy)(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([1, 0]))
    tensor(50.)
    """
    form = kpi.streaming(measure)
    assert form is not None
    return kpi.skips(kpi.streams(lambda state: 100 * form.finish(state), form.merge)(form.state_of))


def by_examples(measure: Measure) -> Measure:
    """Average a measure over batches, weighted by their numbers of examples, as LibMTL does; compare `batch_mean`.

    >>> form = kpi.streaming(by_examples(depth_loss))
    >>> batches = [torch.tensor([1.0]), torch.tensor([4.0, 4.0, 4.0])]
    >>> form.finish(sum(form.state_of(batch, torch.zeros_like(batch)) for batch in batches))
    tensor(3.2500)
    """

    def weighted(output: Tensor, target: Tensor) -> Tensor:
        value = _precise(measure(output, target))
        return torch.stack([value.nan_to_num(0.0), (~value.isnan()).to(value)]) * len(target)

    return kpi.streams(_mean)(weighted)


def _precise(values: Tensor) -> Tensor:
    """Convert to float64 if the device supports it, so that sums over a split keep their precision."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def _sums(values: Tensor, labelled: Tensor) -> Tensor:
    """Return the sum of the labelled values, and their number."""
    return torch.stack([_precise(torch.where(labelled, values, 0)).sum(), _precise(labelled.sum())])


def _mean(sums: Tensor) -> Tensor:
    return (sums[0] / sums[1]).float()


def _mean_over_split(sums_of: Measure) -> Measure:
    """Return the measure that is the mean, for a function of a batch that returns `_sums`."""
    return kpi.skips(kpi.streams(_mean)(sums_of))


def _mean_loss(values: Tensor, labelled: Tensor) -> Tensor:
    """Compute the mean over labelled pixels; 0 with a graph if there are none."""
    return torch.where(labelled, values, 0).sum() / labelled.sum().clamp(min=1)


# Depths


@kpi.skips
def depth_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute the mean of |output − target| over pixels with a depth.

    Args:
        output: depths [batch, 1, height, width].
        target: the same shape; NaN for no depth.

    Example:
        >>> depth_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.5, math.nan]))
        tensor(0.5000)
    """
    labelled = ~target.isnan()
    return _mean_loss((output.float() - torch.where(labelled, target, 0)).abs(), labelled)


def _depth_errors(output: Tensor, target: Tensor, *, relative: bool) -> Tensor:
    labelled = ~target.isnan()
    errors = (output.detach().float() - target).abs()
    return _sums(errors / target if relative else errors, labelled)


absolute_error: Measure = _mean_over_split(partial(_depth_errors, relative=False))
"""The mean of |output − target| over the pixels of a split, in the target's unit."""
relative_error: Measure = _mean_over_split(partial(_depth_errors, relative=True))
"""The mean of |output − target| / target over the pixels of a split."""

# Normals


@kpi.skips
def normals_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compute 1 − the mean dot product of output and target over pixels with a normal.

    Args:
        output: unit vectors [batch, 3, height, width].
        target: the same shape; NaN for no normal.

    Example:
        >>> up = torch.tensor([[[0.0]], [[0.0]], [[1.0]]]).expand(1, 3, 1, 2)
        >>> normals_loss(up, torch.tensor([[0.6, math.nan], [0.0, math.nan], [0.8, math.nan]]).view(1, 3, 1, 2))
        tensor(0.2000)
    """
    labelled = ~target.isnan()
    products = (output.float() * torch.where(labelled, target, 0)).sum(1)
    return _mean_loss(1 - products, labelled.all(1))


def angles(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the angle between output and target at each pixel in degrees, and whether the pixel has a normal.

    The angle of the unit vectors u and v is 2·atan2(‖u − v‖, ‖u + v‖), which is accurate for small angles.

    Args:
        output: vectors [batch, 3, height, width].
        target: the same shape; NaN, or 0, for no normal.
    """
    lengths = [vectors.square().sum(1, keepdim=True).sqrt() for vectors in (output.detach().float(), target)]
    labelled = (lengths[1] > 0).squeeze(1)
    u, v = output.detach().float() / lengths[0].clamp(min=1e-12), target / lengths[1]
    halves = torch.atan2((u - v).square().sum(1).sqrt(), (u + v).square().sum(1).sqrt())
    return torch.where(labelled, 2 * halves.rad2deg(), 0), labelled


def _angle_counts(output: Tensor, target: Tensor) -> Tensor:
    """Count the pixels with an angle in each bin."""
    angle, labelled = angles(output, target)
    bins = (angle / BIN).long().clamp(0, _BINS - 1).flatten()
    return bins.new_zeros(_BINS).scatter_add(0, bins, labelled.flatten().long())


def _middle(counts: Tensor) -> Tensor:
    """Compute the median of a histogram: the mean of the centres of the bins of the two middle values."""
    total, ends = counts.sum(), counts.cumsum(0)
    ranks = torch.stack([(total + 1) // 2, total // 2 + 1])  # of the middle values, which are one for an odd number
    found = (torch.searchsorted(ends, ranks).float() + 0.5).mean() * BIN
    return torch.where(total > 0, found, math.nan)


def _angle_sums(output: Tensor, target: Tensor) -> Tensor:
    return _sums(*angles(output, target))


mean_angle: Measure = _mean_over_split(_angle_sums)
"""The mean angle over the pixels of a split, in degrees."""
median_angle: Measure = kpi.skips(kpi.streams(_middle)(_angle_counts))
"""The median angle over the pixels of a split in degrees, from a histogram: within half a bin, 0.005°, of the exact one."""


def _near(output: Tensor, target: Tensor, *, degrees: float) -> Tensor:
    angle, labelled = angles(output, target)
    return torch.stack([((angle < degrees) & labelled).sum(), labelled.sum()])


def angle_below(degrees: float) -> Measure:
    """Return the measure of the share of pixels of a split with an angle below this many degrees.

    >>> up, aside = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1), torch.tensor([0.0, 0.5, 0.9]).view(1, 3, 1, 1)
    >>> angle_below(30)(up, aside), angle_below(22.5)(up, aside)
    (tensor(1.), tensor(0.))
    """
    share: Callable[[Tensor], Tensor] = lambda counts: counts[0].float() / counts[1].float()  # noqa: E731
    return kpi.skips(kpi.streams(share)(partial(_near, degrees=degrees)))
