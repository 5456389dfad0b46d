from collections.abc import Sequence
from math import ceil, log

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._rows import clip
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number
from hardfirst.functional._gradient_balancing import cosines

_REGULARISATION = 1e-6  # on the diagonal of the cosines, so that gradients that cancel have finite weights
_RATIO = 1.5  # between the alphas of two problems solved one after the other
_STEPS = 60
_TOLERANCE = 1e-9


class FairGrad(GramianBalancer):
    r"""FairGrad: gradient weights that share progress α-fairly among the tasks, :math:`G w = w^{-1/\alpha}`.

    G is the matrix of the gradients' inner products, so :math:`G w` is the gain of each task. α = 1 is Nash-MTL's
    proportional fairness; a larger α gives more of the step to tasks with small gradients, a smaller α less.

    When to use: Use it like Nash-MTL, with control over how much the tasks that gain least are helped. The update has a
    nearly constant length, or `max_norm` if that is shorter, however small the gradients are: let the learning rate
    decay.

    Cost: one backward pass per task and step, and a few Newton steps on T numbers, below a millisecond for α = 1 and a few
    milliseconds otherwise; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        alpha: α, in [0.5, 10]. The authors' code uses 1 by default.
        max_norm: clips the length of the update, at least 0; 0 for no clipping. The authors' code uses 1.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range. In a training step: `shared` is missing, sharded, or does not affect the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = FairGrad(["a", "b"], alpha=2, max_norm=0)
        >>> balancer.backward({"a": shared[0], "b": 8 * shared[1]}, shared=[shared])
        >>> print(shared.grad.numpy().round(2))  # equally long at alpha 1; here the task with the short gradient gains
        [1.  0.5]

    Note:
        The authors' code minimizes the squared residuals of the equation with SciPy, starting from equal weights, and may
        stop before the solution. Here Newton's method finds it, first for α = 1 and then for values ever closer to α. Their
        code multiplies the update by the number of tasks before clipping; the paper and this class do not. With `features`,
        the length is that of their gradient.

    References:
        Ban and Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024, Eq. (4).
    """

    equal_alone = False
    ranges = {"alpha": Range(0.5, 4, log=True)}

    def __init__(
        self, tasks: Sequence[str], *, alpha: float = 1.0, max_norm: float = 1.0, process_group: Group = None
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        self.alpha = number("alpha", alpha, least=0.5, most=10)
        self.max_norm = number("max_norm", max_norm, least=0)

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        if not gramian.diagonal().any():
            return gramian.new_ones(len(present))
        return clip(fair_weights(gramian, self.alpha), gramian, self.max_norm)


def fair_weights(gramian: Tensor, alpha: float) -> Tensor:
    """Solve G w = w^(-1/α) for w > 0 [k], given inner products [k, k], float64, not all 0.

    Solved for v = w·lengths and the cosines C: C v = lengths^(1/α - 1) · v^(-1/α).
    """
    between, lengths = cosines(gramian)
    between = between.fill_diagonal_(1 + _REGULARISATION)
    longest = gramian.diagonal().max().sqrt()
    relative = torch.where(gramian.diagonal() > 0, lengths / longest, 1)
    count = ceil(abs(log(alpha)) / log(_RATIO))
    scaled = torch.ones_like(lengths)
    for power in (alpha ** (step / max(count, 1)) for step in range(count + 1)):
        scaled = _fair(between, (1 / power - 1) * relative.log(), power, scaled)
    # G is the square of the longest length times the Gramian of the relative lengths
    weights: Tensor = longest ** (-2 * alpha / (1 + alpha)) * scaled / relative
    return weights


def _fair(between: Tensor, logs: Tensor, alpha: float, start: Tensor) -> Tensor:
    """Solve log(C v) = logs - log(v)/α for v > 0, by Newton's method for v and the gains z = C v, both kept above 0."""
    values, gains = start, (logs - start.log() / alpha).exp()
    for _ in range(_STEPS):
        missing = logs - gains.log() - values.log() / alpha
        apart = gains - between @ values
        system = between + (gains / (alpha * values)).diag()
        change = torch.linalg.solve(system, gains * missing + apart)
        gained = between @ change - apart
        relative = torch.cat([change / values, gained / gains])
        share = (0.9 / -relative.min()).clamp(max=1) if relative.min() < 0 else 1
        values, gains = values + share * change, gains + share * gained
        if relative.abs().max() < _TOLERANCE:
            break
    return values
