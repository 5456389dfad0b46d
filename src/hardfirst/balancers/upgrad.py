from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._torchjd import upgrad_weighting


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
        InputError: TorchJD or its solver is not installed. In a training step: `shared` is missing, sharded, or has no part
            in the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = UPGrad(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1] - shared[0]}, shared=[shared])
        >>> print(shared.grad.numpy().round(2))
        [0.8 2.4]

    Note:
        Solved by TorchJD with quadprog, in terms of gradients of length 1: TorchJD regularises by the longest gradient,
        which would let tasks with short ones get worse. The paper projects the parts of the mean, this those of the sum, T
        times as long, so a learning rate tuned for equal weights still fits.

    References:
        Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, arXiv:2406.16232, 2024.
    """

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        upgrad_weighting(torch.ones(len(self.tasks)))

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        lengths = gramian.diagonal().sqrt()
        lengths = torch.where(lengths > 0, lengths, 1)
        return upgrad_weighting(lengths)(gramian / lengths.outer(lengths)) / lengths
