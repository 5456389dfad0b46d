"""Interface to TorchJD, which solves CAGrad's small optimization problem."""

from collections.abc import Callable

import torch
from torch import Tensor

from hardfirst.errors import MissingPackage

INSTALL = "pip install 'hardfirst[gradient]'"
Weighting = Callable[[Tensor], Tensor]


def weighting(name: str, **options: object) -> Weighting:
    """Create one of TorchJD's weightings or aggregators from the name of its class.

    Raises:
        MissingPackage: TorchJD or one of its solvers is not installed.
    """
    try:
        import torchjd.aggregation

        instance: Weighting = getattr(torchjd.aggregation, name)(**options)
        return instance
    except ImportError as error:
        method = name.removesuffix("Weighting")
        raise MissingPackage(f"{method} needs TorchJD and its solvers ({error}). Install them with: {INSTALL}") from error


def solve(weighting: Weighting, gramian: Tensor) -> Tensor:
    """Compute the weights [k] for inner products [k, k] of any scale (TorchJD's constants assume one near 1)."""
    scale = gramian.diagonal().mean()
    return weighting(gramian / scale) if scale > 0 else torch.ones(len(gramian), dtype=gramian.dtype)
