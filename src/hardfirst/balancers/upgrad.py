import torch
from torch import Tensor

from hardfirst.balancers._gradient import GramianBalancer

REGULARISATION = 1e-7  # relative to the trace: dependent gradients still have one solution
_BLOCK_STEPS = 3
_MOST_STEPS = 1000


class UPGrad(GramianBalancer):
    r"""UPGrad: the sum of the tasks' gradients, each projected on the directions that make no task worse.

    These directions are the dual cone of the gradients, :math:`\{d : g_t \cdot d \ge 0 \text{ for all } t\}`.

    When to use: the first gradient method to try if tasks conflict. No task gets worse, and each counts by the size of its
    gradient, so a task that has converged does not stop the others.

    Cost: one backward for each task and step, and T quadratic programs of T variables, well below a millisecond; T·n numbers
    of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.

    Raises:
        InputError: in a training step: `shared` is missing, sharded, or has no part in the losses; or the balancer is
            compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = UPGrad(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1] - shared[0]}, shared=[shared])
        >>> print(shared.grad.numpy().round(2))
        [0.8 2.4]

    Note:
        Solved for gradients of length 1, which leaves the problem as it is: TorchJD's implementation regularises by the
        longest gradient, which lets tasks with short ones get worse. The paper projects the parts of the mean, this the
        parts of the sum, T times as long, so that a learning rate found for equal weights still fits.

    References:
        Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, arXiv:2406.16232, 2024.
    """

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        return upgrad_weights(gramian)


def upgrad_weights(gramian: Tensor) -> Tensor:
    """UPGrad's weights [k] for gradients with these inner products [k, k]; float64."""
    lengths = gramian.diagonal().sqrt()
    lengths = torch.where(lengths > 0, lengths, 1)
    return lengths @ _projection_weights(gramian / lengths.outer(lengths)) / lengths


def _projection_weights(gramian: Tensor) -> Tensor:
    """Weights of the gradients whose sum is a gradient's projection on the dual cone, one gradient a row.

    Row t is the v that minimises vᵀGv with v ≥ eₜ. Let v = eₜ + w: the solution is the one w ≥ 0 whose products y = Gv are
    ≥ 0, and 0 wherever w is above 0. Block principal pivoting searches for the set where w is above 0: it solves for w on a
    candidate set, then moves every index with a negative w or y into the set or out of it. If that does not reduce the
    number of such indices for a few steps, it moves only the last one, which always terminates (Murty's rule).

    Args:
        gramian: the inner products [k, k], float64, of gradients whose length is 1 (or 0).

    References:
        Portugal, Júdice and Vicente, A Comparison of Block Pivoting and Interior-Point Algorithms for Linear Least Squares
        Problems with Nonnegative Variables, Mathematics of Computation 63, 1994.
    """
    identity = torch.eye(len(gramian), dtype=gramian.dtype)
    definite = gramian / gramian.trace().clamp(min=1) + REGULARISATION * identity
    positive = torch.zeros_like(gramian, dtype=torch.bool)  # row t: where w is above 0
    fewest = torch.full((len(gramian),), len(gramian) + 1)
    patience = torch.full_like(fewest, _BLOCK_STEPS)
    for _ in range(_MOST_STEPS):
        # one system for every row: G on its set, and w = 0 elsewhere
        on_set = positive.unsqueeze(2) & positive.unsqueeze(1)
        raised = torch.linalg.solve(torch.where(on_set, definite, identity), -torch.where(positive, definite, 0))
        negative = torch.where(positive, raised, (identity + raised) @ definite) < -1e-12
        count = negative.sum(1)
        if not count.any():
            break
        patience = torch.where(count < fewest, _BLOCK_STEPS, patience - 1)
        fewest = torch.minimum(count, fewest)
        last = negative & (negative.flip(1).cumsum(1).flip(1) == 1)
        positive = positive ^ torch.where(patience.unsqueeze(1) >= 0, negative, last)
    weights: Tensor = identity + raised.clamp(min=0)
    return weights
