from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._torchjd import rows_of, solve, weighting


class ConFIG(GramianBalancer):
    r"""ConFIG: the direction with the same positive cosine to every task's gradient, as long as their projections on it.

    With :math:`u_t = g_t / \lVert g_t \rVert` the rows of U, the direction is that of :math:`d = U^{+} \mathbf 1`, and its
    length :math:`\sum_t g_t \cdot d / \lVert d \rVert`.

    When to use: gradients conflict and differ in size, as in physics-informed networks: the direction favours no task,
    and the step is shorter the more they disagree.

    Cost: one backward for each task and step; T·n numbers of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        process_group: see `Balancer`.

    Raises:
        InputError: TorchJD is not installed. In a training step: `shared` is missing, sharded, or has no part in the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = ConFIG(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 3 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([2., 2.]), {'a': tensor(2.), 'b': tensor(0.6667)})

    Note:
        Solved by TorchJD on T vectors of T numbers with the gradients' inner products, on which alone the weights depend.
        The momentum variant (M-ConFIG) is not implemented.

    References:
        Liu, Chu and Thuerey, ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks, ICLR 2025, Eq. (2).
    """

    def __init__(self, tasks: Sequence[str], *, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        weighting("ConFIG")

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        return solve(_config_weights, gramian)


def _config_weights(gramian: Tensor) -> Tensor:
    rows = rows_of(gramian)
    weights: Tensor = torch.linalg.pinv(rows.T) @ weighting("ConFIG")(rows)
    return weights
