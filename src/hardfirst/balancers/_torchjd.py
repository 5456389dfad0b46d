"""The one file that knows TorchJD, which solves the small problems of most gradient balancers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hardfirst.errors import MissingPackage

INSTALL = "pip install 'hardfirst[gradient]'"
Weighting = Callable[[Tensor], Tensor]


def weighting(name: str, **options: object) -> Weighting:
    """One of TorchJD's weightings or aggregators, by its class's name.

    Raises:
        MissingPackage: TorchJD or a solver that it calls is not installed.
    """
    try:
        import torchjd.aggregation

        made: Weighting = getattr(torchjd.aggregation, name)(**options)
        return made
    except ImportError as error:
        method = name.removesuffix("Weighting")
        raise MissingPackage(f"{method} takes TorchJD and its solvers ({error}). To install them: {INSTALL}") from error


def solve(made: Weighting, gramian: Tensor) -> Tensor:
    """The weights [k] for inner products [k, k]; their scale does not matter, but TorchJD's constants suppose it near 1."""
    scale = gramian.diagonal().mean()
    return made(gramian / scale) if scale > 0 else torch.ones(len(gramian), dtype=gramian.dtype)


def rooted(gramian: Tensor) -> Tensor:
    """Rows [k, k] that have these inner products, for an aggregator that wants rows."""
    values, vectors = torch.linalg.eigh(gramian)
    rows: Tensor = vectors * values.clamp(min=0).sqrt()
    return rows


def vaccine(beta: float, cosine: Tensor) -> tuple[Weighting, Callable[[], Tensor]]:
    """GradVac's weighting with these averages of cosines [k, k], and a function that gives them afterwards.

    TorchJD neither saves the averages nor lets them be set, so this reaches for what it holds them in.
    """
    made: Any = weighting("GradVacWeighting", beta=beta)
    made._phi_t, made._state_key = cosine.clone(), (len(cosine), cosine.dtype)
    return made, lambda: made._phi_t
