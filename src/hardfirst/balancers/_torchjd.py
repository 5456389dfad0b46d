"""The interface to TorchJD, which solves CAGrad's small problem."""

from collections.abc import Callable

import torch
from torch import Tensor

from hardfirst.errors import MissingPackage

INSTALL = "pip install 'hardfirst[gradient]'"
Weighting = Callable[[Tensor], Tensor]


def weighting(name: str, **options: object) -> Weighting:
    """Make one of TorchJD's weightings or aggregators, by the name of its class.

    Raises:
        MissingPackage: TorchJD or a solver that it calls is not installed.
    """
    try:
        import torchjd.aggregation

        instance: Weighting = getattr(torchjd.aggregation, name)(**options)
        return instance
    except ImportError as error:
        method = name.removesuffix("Weighting")
        raise MissingPackage(f"{method} needs TorchJD and its solvers ({error}). To install them: {INSTALL}") from error


def solve(weighting: Weighting, gramian: Tensor) -> Tensor:
    """Compute the weights [k] for inner products [k, k] of any scale (TorchJD's constants assume one near 1)."""
    scale = gramian.diagonal().mean()
    return weighting(gramian / scale) if scale > 0 else torch.ones(len(gramian), dtype=gramian.dtype)
