from torch import Tensor

from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers.upgrad import least_square
from hardfirst.functional._gradient_balancing import cosines


class MGDA(GramianBalancer):
    r"""MGDA: T times the shortest convex combination of the tasks' gradients.

    :math:`\min_w \lVert \sum_t w_t g_t \rVert^2` with :math:`w \ge 0, \sum_t w_t = 1`. A step along this direction improves
    all tasks; it is 0 where no task can improve without making another worse.

    When to use: Use when no task may get worse. Small gradients get the largest weights, so tasks that have converged, or
    whose losses are small, can stop the others: scale the losses, or prefer `upgrad`.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.

    Raises:
        InputError: in a training step: `shared` is missing, sharded, or does not affect the losses; or the balancer is
            compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = MGDA(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1.6000, 0.8000]), {'a': tensor(1.6000), 'b': tensor(0.4000)})

    Note:
        Solved by pivoting, as in `UPGrad`; Sener and Koltun, and TorchJD, take some steps of the Frank-Wolfe method, which
        may end before the shortest combination. The papers' weights sum to 1; here they sum to the number of tasks present,
        so a learning rate tuned for equal weights still fits. The papers' upper bound (MGDA-UB) is
        `balancer.backward(losses, features=...)`.

    References:
        Désidéri, Multiple-Gradient Descent Algorithm, Comptes Rendus Mathematique 350, 2012; Sener and Koltun, Multi-Task
        Learning as Multi-Objective Optimization, NeurIPS 2018, Algorithm 2.
    """

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        still = gramian.diagonal() == 0
        if still.any():  # a gradient of 0 is the shortest combination
            weights = still.to(gramian.dtype)
        else:
            between, lengths = cosines(gramian)
            # If v >= 0 minimizes vᵀGv / 2 - Σv, then v / Σv is the solution; here v is w / lengths.
            inverse = lengths.min() / lengths
            weights = least_square(between, inverse) * inverse
        return len(present) * weights / weights.sum()
