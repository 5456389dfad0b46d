from collections.abc import Sequence

from torch import Tensor

from hardfirst import functional
from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._rows import clip
from hardfirst.errors import number


class NashMTL(GramianBalancer):
    r"""Nash-MTL: weights of the tasks' gradients that solve the Nash bargaining problem, :math:`G \alpha = 1 / \alpha`.

    G is the matrix of the gradients' inner products. Every task gains the same relative to its weight, regardless of the
    scale of its loss.

    When to use: Use when losses have different units. Multiplying one by a constant does not change the update. Tasks
    with small gradients get large weights, which amplify their noise. The length of the update is :math:`\sqrt T`, or
    `max_norm` if that is shorter, however small the gradients are: let the learning rate decay.

    Cost: one backward pass per task and step, and a few Newton steps on T numbers, below a millisecond; T·n values of memory
    for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        max_norm: clips the length of the update, at least 0; 0 for no clipping. The paper uses 1.
        process_group: see `Balancer`.

    Raises:
        InputError: `max_norm` is out of range. In a training step: `shared` is missing, sharded, or does not affect the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = NashMTL(["a", "b"], max_norm=0)
        >>> balancer.backward({"a": shared[0], "b": 3 * shared[1]}, shared=[shared])
        >>> print(shared.grad.numpy().round(2))  # equally long in both directions
        [1. 1.]

    Note:
        The authors' code approximates the solution by 20 convex problems, starting from the last step's weights, and keeps
        these if the solver fails. Here Newton's method finds the unique solution in each step, without state and without an
        additional solver. As in their code, `max_norm` clips the update; Algorithm 1 does not. With `features`, the length
        is that of their gradient.

    References:
        Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022, Algorithm 1.
    """

    equal_alone = False

    def __init__(self, tasks: Sequence[str], *, max_norm: float = 1.0, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.max_norm = number("max_norm", max_norm, least=0)

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        if not gramian.diagonal().any():
            return gramian.new_ones(len(present))
        return clip(functional.nash(gramian), gramian, self.max_norm)
