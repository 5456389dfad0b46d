"""Products with the rows [k, n] of a Jacobian in float64, where a product of two float32 numbers is exact.

Rows are converted in parts: a float64 copy of all of them would take twice their memory.
"""

from collections.abc import Iterator
from functools import reduce

import torch
from torch import Tensor

from hardfirst._task_state import send
from hardfirst.balancers._host import wide

# Numbers per part: small enough for the cache of a CPU; large on other devices, since each part is a kernel launch.
_ON_CPU, _ELSEWHERE = 2**18, 2**22


def _columns(rows: Tensor) -> int:
    return max(1, (_ON_CPU if rows.is_cpu else _ELSEWHERE) // max(1, len(rows)))


def _parts(rows: Tensor) -> Iterator[Tensor]:
    """Yield the rows in float64, some columns at a time."""
    return map(wide, torch.split(rows, _columns(rows), dim=1))


def gramian(rows: Tensor) -> Tensor:
    """Compute the inner products [k, k] of the rows, float64. A diagonal entry is finite exactly if its row is."""
    return reduce(torch.add, (part @ part.T for part in _parts(rows)))


def lengths(rows: Tensor) -> Tensor:
    """Compute the lengths [k] of the rows, float64."""
    return reduce(torch.add, (part.square().sum(1) for part in _parts(rows))).sqrt()


def products(rows: Tensor, vector: Tensor) -> Tensor:
    """Compute the inner products [k] of the rows with a vector [n], float64."""
    both = zip(_parts(rows), torch.split(vector, _columns(rows)), strict=True)
    return reduce(torch.add, (part @ wide(piece) for part, piece in both))


def slopes_over(rows: Tensor, roots: Tensor) -> Tensor:
    """Sum the squared numbers of each row, divided by those of `roots` [k, n]: [k], float64. 0/0 counts as 0."""
    both = zip(_parts(rows), _parts(roots), strict=True)
    return reduce(torch.add, ((part * (part / root).nan_to_num(0)).sum(1) for part, root in both))


def update_memory(jacobian: Tensor) -> Tensor:
    """Return memory [n] for the update: on the CPU the first row, since new pages cost more than the sum itself.

    Other devices get new memory, so that they can free the Jacobian.
    """
    return jacobian[0] if jacobian.is_cpu else jacobian.new_empty(jacobian.shape[1])


def combine(weights: Tensor, rows: Tensor, update: Tensor) -> Tensor:
    """Compute the sum [n] of the rows times weights [k], float32, and write it to `update`, which may be one of the rows."""
    weights = wide(weights) if rows.device.type == "mps" else send(weights, rows.device, torch.float64)
    for piece, part in zip(torch.split(update, _columns(rows)), _parts(rows), strict=True):
        piece.copy_(weights @ part)
    return update


def clip(weights: Tensor, gramian: Tensor, max_norm: float) -> Tensor:
    """Scale weights [k] so that the length of the update is at most `max_norm`; 0 for no limit."""
    length = (weights @ gramian @ weights).clamp(min=1e-30).sqrt()  # rounding may make 0 negative
    return weights * (max_norm / length).clamp(max=1) if max_norm else weights


def tolerance(gramian: Tensor) -> float:
    """Return the threshold, relative to the largest eigenvalue, below which an eigenvalue of a Gramian [k, k] counts as 0.

    Linearly dependent gradients are dependent only up to float32 rounding. Their smallest singular value is then about
    2⁻²³ of the largest. k·2⁻²⁰ is above that, and eigenvalues are squares of singular values.
    """
    return (len(gramian) * 2.0**-20) ** 2
