from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._row_state import RowStateBalancer
from hardfirst.balancers._rows import combine, lengths, update_memory
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number


class DBMTL(RowStateBalancer):
    r"""DB-MTL: the sum of the averaged gradients of the tasks' log losses, each scaled to the length of the longest.

    :math:`\hat g_t \leftarrow \beta \hat g_t + (1 - \beta) \nabla \log L_t`, and the update is
    :math:`\sum_t (\max_s \lVert \hat g_s \rVert / \lVert \hat g_t \rVert) \, \hat g_t`.

    When to use: Use when losses differ in unit and speed and memory is sufficient. The logarithm makes the losses
    comparable, and the scaling makes the gradients comparable. Losses must stay above 0; the gradient of a loss near 0
    grows without bound.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, and T·n + T of state.

    Args:
        tasks: distinct non-empty strings. Their losses must be above 0; a negative loss gives gradients of NaN.
        beta: β, the weight of the old average, in [0, 1). The paper uses 0.9.
        process_group: see `Balancer`.

    Raises:
        InputError: β is out of range. In a training step: `shared` is missing, sharded or of a different size than before,
            or does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = DBMTL(["a", "b"], beta=0)
        >>> balancer.backward({"a": shared[0], "b": 3 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1., 1.]), {'a': tensor(1.), 'b': tensor(0.3333)})

    Note:
        As in the paper, the averages start at 0, and heads also get the gradient of log losses. Updates have the size of
        a log loss's gradient: tune the learning rate. The averages are in `state_dict` but not in a buffer, since their
        size is known only in the first step, from the number of shared parameters. The average of an absent task does not
        change and is not part of the sum. `weights` are the factors of the tasks' own gradients.

    References:
        Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok, Dual-Balancing for Multi-Task Learning, arXiv:2308.12029, 2023.
    """

    equal_alone = False
    row_state = "average"
    ranges = {"beta": Range(0.5, 0.99)}
    average: Tensor

    def __init__(self, tasks: Sequence[str], *, beta: float = 0.9, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.beta = number("beta", beta, least=0, below=1)

    def gradient_factors(self, losses: Tensor) -> Tensor:
        # this is not state, so a loss of any finite size is allowed
        mean = self.mean_over_ranks(losses.masked_fill(losses == 0, torch.nan))
        logs: Tensor = torch.where(losses < 0, torch.nan, 1 / mean)
        return torch.where(losses == 0, 0, logs)

    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        average = self._update_rows(jacobian, present, lambda before, out: torch.lerp(jacobian, before, self.beta, out=out))
        norms = lengths(average)
        weights = torch.where(norms > 0, norms.max() / norms, 1)
        return combine(weights, average, update_memory(jacobian)), weights
