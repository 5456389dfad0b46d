from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group, send
from hardfirst.balancers._host import wide
from hardfirst.balancers._row_state import RowStateBalancer
from hardfirst.balancers._rows import combine, slopes_over, update_memory
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number

_LEAST = 1e-30  # of a weight, which could not recover from 0


class ExcessMTL(RowStateBalancer):
    r"""ExcessMTL: weights that grow with each task's excess risk, the distance of its loss from the lowest it can reach.

    :math:`w_t \leftarrow w_t e^{\eta E_t / E_t(0)}`, then the sum of the weights is restored. The excess risk is estimated
    as :math:`E_t = \sum_i g_{ti}^2 / h_{ti}`, where :math:`h_{ti}` is the root of the sum of all squared gradients so far.

    When to use: Use when some labels are noisy. The loss of such a task stays high, so methods based on losses raise its
    weight; its excess risk is near 0 once nothing is left to learn. It stores one value per task and shared parameter.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, and T·n + 2·T of state.

    Args:
        tasks: distinct non-empty strings.
        eta: η, the step size of the weights, above 0.
        process_group: see `Balancer`.

    Raises:
        InputError: η is not above 0. In a training step: `shared` is missing, sharded or of a different size than before,
            or does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = ExcessMTL(["a", "b"], eta=0.1)
        >>> for _ in range(2):  # the gradient of b keeps its length, that of a gets shorter
        ...     balancer.backward({"a": shared[0] ** 2, "b": 3 * shared[1]}, shared=[shared])
        ...     shared = torch.nn.Parameter(torch.tensor([0.1, 1.0]))
        >>> balancer.weights
        {'a': tensor(0.9652), 'b': tensor(1.0348)}

    Note:
        As in the authors' code, a task's first step sets :math:`E_t(0)` and leaves its weight unchanged; the paper takes it
        from a few epochs of warm-up with equal weights. The paper's weights sum to 1; here they sum to T, so a learning rate
        tuned for equal weights still fits. The weights of absent tasks do not change. Heads get the gradient of their own
        loss without the weight. No constant is added to the estimate, so that it does not depend on the losses' unit. The
        roots of the sums of squares are in `state_dict` but not in a buffer (see `DBMTL`).

    References:
        He et al., Robust Multi-Task Learning with Excess Risks, ICML 2024, Eq. (6) to (9).
    """

    row_state = "root"
    ranges = {"eta": Range(1e-3, 1, log=True)}
    root: Tensor
    first: Tensor

    def __init__(self, tasks: Sequence[str], *, eta: float = 0.01, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.eta = number("eta", eta, above=0)
        self.add_state("first", 0.0)

    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        place = send(present, self.weight.device)
        weights = wide(self.weight[place])
        if self.training:
            root = self._update_rows(jacobian, present, lambda before, out: torch.hypot(before, jacobian, out=out))
            weights = self._grown(weights, slopes_over(jacobian, root).to(weights), place)
        return combine(weights, jacobian, update_memory(jacobian)), weights

    def _grown(self, weights: Tensor, excess: Tensor, place: Tensor) -> Tensor:
        """Return the weights [k] of the tasks at these positions after a step with these excess risks [k]."""
        before = wide(self.first[place])
        known = before > 0
        self.first[place] = torch.where(known, before, excess).to(self.first)
        logs = weights.clamp(min=_LEAST).log() + self.eta * torch.where(known, excess / before, 0)
        return (logs.softmax(0) * weights.sum()).clamp(min=_LEAST)
