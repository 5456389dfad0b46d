from collections.abc import Sequence
from math import ceil, log
from types import MappingProxyType

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._rows import clip, cosines
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number

_REGULARISATION = 1e-6  # on the diagonal of the cosines: gradients that cancel have finite weights
_RATIO = 1.5  # of the alphas of two problems solved one after the other
_STEPS = 60
_TOLERANCE = 1e-9


class FairGrad(GramianBalancer):
    r"""FairGrad: weights of the tasks' gradients that share progress α-fairly, :math:`G w = w^{-1/\alpha}`.

    G is the matrix of the gradients' inner products, so :math:`G w` is what each task gains. α = 1 is Nash-MTL's
    proportional fairness; above it tasks with small gradients get more of the step, below it less.

    When to use: as Nash-MTL, with a knob for how much the tasks that gain least should be helped. The update has nearly one
    length, or `max_norm` if that is shorter, however small the gradients are: let the learning rate decay.

    Cost: one backward pass per task and step, and some Newton steps on T numbers, below a millisecond for α = 1 and some
    milliseconds else; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        alpha: α, in [0.5, 10]. The authors' code has 1 unless told otherwise.
        max_norm: the update is clipped to this length, at least 0; 0 does not clip it. The authors' code has 1.
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
        The authors' code minimises the squares of the equation's residuals with SciPy from equal weights, and may end before
        the solution. Here Newton's method finds it, at first for α = 1 and then for values ever nearer to α. Their code
        multiplies the update by the number of tasks before it is clipped; the paper and this do not. With `features` the
        length is that of their gradient.

    References:
        Ban and Ji, Fair Resource Allocation in Multi-Task Learning, ICML 2024, Eq. (4).
    """

    equal_alone = False
    ranges = MappingProxyType({"alpha": Range(0.5, 4, log=True)})

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
    """The w > 0 [k] with G w = w^(-1/α) for inner products [k, k], float64; not all 0.

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
    # G is the square of the longest length times that of the relative ones
    weights: Tensor = longest ** (-2 * alpha / (1 + alpha)) * scaled / relative
    return weights


def _fair(between: Tensor, logs: Tensor, alpha: float, start: Tensor) -> Tensor:
    """The v > 0 with log(C v) = logs - log(v)/α, by Newton's method for v and the gains z = C v, both kept above 0."""
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
