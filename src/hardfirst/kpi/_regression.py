"""KPIs of regression: shares within a tolerance, and R²."""

import math

import torch
from torch import Tensor

from hardfirst.errors import InputError, number
from hardfirst.functional._labels import check_finite, label_mask
from hardfirst.kpi._common import counts_of, same_shape, share
from hardfirst.kpi._skipping import skips
from hardfirst.kpi._streaming import streams


def _values(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    output, target = same_shape(output, target)
    check_finite(target)
    return output, target


@skips
@streams(share)
def within(output: Tensor, target: Tensor, *, threshold: float) -> Tensor:
    """Compute the share of labelled values with `|output − target| ≤ threshold`.

    Args:
        output: [batch, ...].
        target: the output's shape; NaN where there is no label.
        threshold: in the target's unit, at least 0.

    Raises:
        InputError: the shapes differ, the threshold is negative, or (on the CPU) a target is infinite.

    Example:
        >>> within(torch.tensor([1.0, 2.0]), torch.tensor([1.5, 4.0]), threshold=0.5)
        tensor(0.5000)
    """
    threshold = number("threshold", threshold, least=0)
    output, target = _values(output, target)
    return counts_of((output - target).abs() <= threshold, label_mask(target))


@skips
@streams(share)
def within_relative(output: Tensor, target: Tensor, *, fraction: float = 0.25) -> Tensor:
    """Compute the share of labelled values with `|output − target| ≤ fraction · |target|`.

    Args:
        output: [batch, ...].
        target: the output's shape; NaN where there is no label. Where it is 0, only an output of 0 counts.
        fraction: above 0; 0.25 means within 25%.

    Raises:
        InputError: the shapes differ, the fraction is not above 0, or (on the CPU) a target is infinite.

    Example:
        >>> within_relative(torch.tensor([12.0, 14.0]), torch.tensor([10.0, 10.0]))
        tensor(0.5000)
    """
    fraction = number("fraction", fraction, above=0)
    output, target = _values(output, target)
    return counts_of((output - target).abs() <= fraction * target.abs(), label_mask(target))


@skips
@streams(share)
def delta(output: Tensor, target: Tensor, *, ratio: float = 1.25) -> Tensor:
    """Compute the share of labelled depths with max(output / target, target / output) < ratio: δ₁ of depth estimation.

    Args:
        output: depths [batch, ...]. A depth that is not positive is wrong.
        target: the output's shape and unit. NaN, or a depth that is not positive, marks a missing label.
        ratio: above 1; δ₂ and δ₃ are 1.25² and 1.25³.

    Raises:
        InputError: the shapes differ, the ratio is not above 1, or (on the CPU) a target is infinite.

    Example:
        >>> delta(torch.tensor([1.2, 2.0, 5.0]), torch.tensor([1.0, 1.0, 0.0]))
        tensor(0.5000)

    References:
        Eigen, Puhrsch and Fergus, Depth map prediction from a single image using a multi-scale deep network, NIPS 2014.
    """
    ratio = number("ratio", ratio, above=1)
    output, target = _values(output, target)
    near = torch.maximum(output / target, target / output) < ratio
    return counts_of(near & (output > 0), target > 0)


@skips
@streams(share)
def angle_within(output: Tensor, target: Tensor, *, degrees: float = 30.0) -> Tensor:
    """Compute the share of labelled vectors within an angle of the output. Lengths do not matter.

    With u and v the unit vectors, the angle is 2·atan2(‖u − v‖, ‖u + v‖), which is accurate for small angles; the arc
    cosine is not.

    Args:
        output: vectors on dim 1, [batch, 3, ...]. A zero vector is wrong.
        target: the output's shape. A zero vector, or one with a NaN, marks a missing label.
        degrees: above 0, at most 180.

    Raises:
        InputError: the shapes differ or have no dim 1, the angle is out of range, or (on the CPU) a target is infinite.

    Example:
        >>> normals = torch.tensor([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0]])
        >>> angle_within(normals, torch.tensor([[0.0, 0.1, 1.0], [0.0, 1.0, 0.0]]))
        tensor(0.5000)

    References:
        Fouhey, Gupta and Hebert, Data-driven 3D primitives for single image understanding, ICCV 2013 (the measure);
        Kahan, How futile are mindless assessments of roundoff, 2006, section 12 (the angle).
    """
    limit = math.radians(number("degrees", degrees, above=0, most=180))
    output, target = _values(output, target)
    if output.ndim < 2:
        raise InputError(f"Expected vectors on dim 1, [batch, 3, ...]; got shape {tuple(output.shape)}.")
    length = target.norm(dim=1)
    u, v = output / output.norm(dim=1, keepdim=True), target / length.unsqueeze(1)
    angle = 2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1))
    return counts_of(angle <= limit, length > 0)


def _precise(values: Tensor) -> Tensor:
    """Convert to float64 if the device supports it, so that sums over many batches round like those of one."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def _merge(first: Tensor, second: Tensor) -> Tensor:
    """Combine the sums of two batches, by the update of Chan, Golub and LeVeque."""
    count = first[0] + second[0]
    share = torch.where(count > 0, second[0] / count, 0)
    apart = second[1] - first[1]
    total = first[2] + second[2] + apart.square() * first[0] * share
    return torch.stack([count, first[1] + apart * share, total, first[3] + second[3]])


def _explained(sums: Tensor) -> Tensor:
    _, _, total, residual = sums
    return torch.where(total > 0, 1 - residual / total, math.nan).clamp(min=0).float()


@skips
@streams(_explained, _merge)
def r2(output: Tensor, target: Tensor) -> Tensor:
    """Compute the coefficient of determination, clamped at 0: max(0, 1 − Σ(output − target)² / Σ(target − mean)²).

    Labelled values are pooled over all dimensions. NaN if all are equal, since there is no variance to explain. It is noisy
    and biased on a small batch: compute it on the validation split (`Task.kpi_from`).

    Args:
        output: [batch, ...].
        target: the output's shape; NaN where there is no label.

    Raises:
        InputError: the shapes differ, or (on the CPU) a target is infinite.

    Example:
        >>> r2(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]))
        tensor(0.5000)
    """
    output, target = _values(output, target)
    if not target.numel():  # amin has no value for an empty tensor
        return _precise(target.new_zeros(4))
    labelled = label_mask(target)
    count = _precise(labelled.sum())
    # Rounding gives a constant some variance about its mean. Shifted by its minimum, it is 0 and has none.
    origin = torch.where(labelled, target, math.inf).amin()
    shifted = torch.where(labelled, _precise(target - origin), 0)
    mean = shifted.sum() / count
    total = torch.where(labelled, shifted - mean, 0).square().sum()
    residual = torch.where(labelled, _precise(output - target), 0).square().sum()
    return torch.where(count > 0, torch.stack([count, origin + mean, total, residual]), 0)
