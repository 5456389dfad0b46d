from collections.abc import Sequence
from math import nan

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._ops import keep_latest
from hardfirst.balancers._rng import key, uniform
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number, whole


class ReLoBRaLo(LossBalancer):
    r"""ReLoBRaLo: moving averages of weights :math:`T\,\mathrm{softmax}(L / (\tau L'))` by how far each task's loss fell.

    With :math:`b(L') = T\,\mathrm{softmax}(L / (\tau L'))`, where :math:`L'` are earlier losses, the weights are
    :math:`w \leftarrow \alpha (\varrho w + (1 - \varrho)\, b(L_0)) + (1 - \alpha)\, b(L_{-1})`: a moving average of the
    weights :math:`b(L_{-1})` relative to the previous losses. At random times (:math:`\varrho = 0`, otherwise 1), the old
    weights are replaced by :math:`b(L_0)`, relative to the first losses. T is the number of tasks.

    When to use: Use for physics-informed networks and other losses that fall by orders of magnitude. The weights depend
    on ratios, not on units. A task that fell less since the start weighs more.

    Cost: one backward pass per step; 3·T + 2 values of state.

    Args:
        tasks: distinct non-empty strings.
        alpha: α, the weight of the old weights, in [0, 1].
        rho: the probability of keeping the old weights rather than replacing them, in [0, 1].
        temperature: :math:`\tau`, above 0; a larger value gives more even weights.
        seed: the seed of the random times; see `RLW`.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> import torch
        >>> balancer = ReLoBRaLo(["a", "b"], alpha=0.5, rho=0)
        >>> for a in (4.0, 2.0):
        ...     total = balancer({"a": torch.tensor(a), "b": torch.tensor(1.0)})
        >>> balancer.weights
        {'a': tensor(0.7551), 'b': tensor(1.2449)}

    Note:
        The weights of a step come from the losses before it; in the paper they come from its own losses. Micro-batches
        therefore add up to one batch. The weights start at 1, as in the paper's equation; the authors' code uses
        :math:`b(L_0)` in the second step, which at the default α determines the weights for thousands of steps. The paper
        does not treat missing labels: here :math:`b` is over the tasks present both now and before, and sums to their
        number; an absent task's weight does not change. The random times are the same on every rank and after a resume.

    References:
        Bischof and Kraus, Multi-Objective Loss Balancing for Physics-Informed Deep Learning, arXiv:2110.09813, 2021.
    """

    equal_alone = True
    ranges = {"temperature": Range(0.05, 5, log=True), "alpha": Range(0.9, 0.999)}
    weight: Tensor
    initial: Tensor
    last: Tensor
    key: Tensor
    step: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        alpha: float = 0.999,
        rho: float = 0.999,
        temperature: float = 1.0,
        seed: int = 0,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.alpha, self.rho = number("alpha", alpha, least=0, most=1), number("rho", rho, least=0, most=1)
        self.temperature = number("temperature", temperature, above=0)
        self.add_state("weight", 1.0)
        self.add_state("initial", nan)
        self.add_state("last", nan)
        self.add_state("key", [key(whole("seed", seed, least=0), 0)], dtype=torch.int64)
        self.add_state("step", [0], dtype=torch.int64)

    def current_weights(self) -> Tensor:
        return self.weight.clone()

    def learn(self, losses: Tensor) -> None:
        since_first, since_last = self._balanced(losses, self.initial), self._balanced(losses, self.last)
        looks_back = uniform(self.key, self.step) >= 2 * self.rho - 1  # it is in (-1, 1)
        kept = torch.where(looks_back, since_first, self.weight)
        # NaN for a task that is absent, or present for the first time
        keep_latest(self.weight, self.alpha * kept + (1 - self.alpha) * since_last)
        keep_latest(self.initial, torch.where(self.initial.isnan(), losses, self.initial))
        keep_latest(self.last, losses)
        self.step.add_((losses == losses).any())  # noqa: PLR0124  # false for NaN

    def _balanced(self, losses: Tensor, before: Tensor) -> Tensor:
        """Compute T·softmax of the losses' ratios over the temperature, for tasks that have both losses; otherwise NaN."""
        ratios = losses / before / self.temperature
        # two ratios that overflow must not make the softmax ∞ − ∞
        logits = ratios.nan_to_num(-torch.inf, 1e30, -1e30)
        return (logits.softmax(0) * (~ratios.isnan()).sum()).masked_fill(ratios.isnan(), torch.nan)
