from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._rng import StepRNG


class PCGrad(GramianBalancer):
    r"""PCGrad: the sum of the tasks' gradients, each projected to remove its conflicts with the others.

    :math:`g_i \leftarrow g_i - (g_i \cdot g_j) / \lVert g_j \rVert^2 \, g_j` for each other task j with
    :math:`g_i \cdot g_j < 0`, in random order, with the original :math:`g_j`.

    When to use: Use when gradients conflict, so that the steps of easy tasks undo those of hard ones. Two gradients
    conflict if their inner product is negative. PCGrad does not change sizes: a task with a large gradient still
    dominates where the tasks agree.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T + 2 of state.

    Args:
        tasks: distinct non-empty strings.
        seed: the seed of the random order; see `RLW`.
        process_group: see `Balancer`.

    Raises:
        InputError: the seed is not a whole number. In a training step: `shared` is missing, sharded, or does not affect the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = PCGrad(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1] - shared[0]}, shared=[shared])
        >>> shared.grad
        tensor([0.8000, 2.4000])

    Note:
        The random order is the same on every rank and after a resume.

    References:
        Yu, Kumar, Gupta, Levine, Hausman and Finn, Gradient Surgery for Multi-Task Learning, NeurIPS 2020, Algorithm 1.
    """

    def __init__(self, tasks: Sequence[str], *, seed: int = 0, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.draws = StepRNG(self.tasks, seed)

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        generator = self.draws.generator(gramian.device)
        count = len(gramian)
        return pcgrad_weights(gramian, torch.stack([torch.randperm(count, generator=generator) for _ in range(count)]))


def pcgrad_weights(gramian: Tensor, orders: Tensor) -> Tensor:
    """Compute PCGrad's weights [k] for gradients with these inner products [k, k], each projected in its own order.

    Args:
        gramian: [k, k], float64.
        orders: [k, k] int64; row i is the order in which gradient i visits all gradients, skipping itself.
    """
    tasks = torch.arange(len(gramian))
    projected = torch.eye(len(gramian), dtype=gramian.dtype)  # row i: the weights of gradient i after its projections
    squares = gramian.diagonal()
    for others in orders.T:
        inner = (projected * gramian[others]).sum(1)
        conflicts = (inner < 0) & (others != tasks)
        projected[tasks, others] -= torch.where(conflicts, inner / squares[others], 0)
    return projected.sum(0)
