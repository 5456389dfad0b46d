from collections.abc import Sequence
from math import nan

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._ops import keep_latest
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number
from hardfirst.functional._scalar import is_batched

_WINDOW = 256


class LearningProgress(LossBalancer):
    r"""Learning progress: weights :math:`w = T ((1 - \varepsilon) \, \mathrm{softmax}(s) + \varepsilon / T)` by Exp3.

    Each task's score :math:`s_t` gains η times its reward: the fall of its loss since the previous batch, rescaled so
    that the 20% and 80% quantiles of all tasks' recent rewards become −1 and 1, and clamped. The task that improves fastest
    gets the largest weight, until it has been learned.

    When to use: Use as an alternative to prioritizing hard or easy tasks. It favours the tasks that are improving now.
    The losses must be comparable, since their falls are compared between tasks, and the noise between batches must be
    small relative to progress, or rewards are mostly chance. At the default η it takes thousands of steps to depart
    from equal weights.

    Cost: one backward pass per step; 259·T values of state, and a sort of 256·T numbers in each step.

    Args:
        tasks: distinct non-empty strings.
        eta: η, the step size of the scores, above 0. The paper uses 0.001.
        epsilon: ε, the share of equal weights, in [0, 1]. The paper uses 0.05.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range.

    Example:
        >>> import torch
        >>> balancer = LearningProgress(["a", "b"], eta=0.1)
        >>> for step in range(10):  # the loss of a falls, that of b does not
        ...     total = balancer({"a": torch.tensor(2.0 - 0.1 * step), "b": torch.tensor(1.0)})
        >>> balancer.weights
        {'a': tensor(1.6805), 'b': tensor(0.3195)}

    Note:
        The paper draws one task per step and uses its prediction gain: the fall of the loss on the same batch, by a second
        forward pass. Here all tasks are trained in each step, with π as weights, so each has a reward and none is divided by
        π. The fall is measured against the next batch's loss, without a second forward pass but with the noise between
        batches; for a task that was absent, since it was last present. The scores do not drift back to equal: this is Exp3,
        the paper uses Exp3.S. Quantiles are over the 256 latest rewards of each task; the paper's are over a sample of all.

    References:
        Graves, Bellemare, Menick, Munos and Kavukcuoglu, Automated Curriculum Learning for Neural Networks, ICML 2017.
    """

    ranges = {"eta": Range(1e-4, 0.1, log=True), "epsilon": Range(0.01, 0.3, log=True)}

    score: Tensor
    last: Tensor
    rewards: Tensor
    seen: Tensor
    ends: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        eta: float = 1e-3,
        epsilon: float = 0.05,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        self.eta = number("eta", eta, above=0)
        self.epsilon = number("epsilon", epsilon, least=0, most=1)
        self.add_state("score", 0.0)
        self.add_state("last", nan)
        # for each task, a ring buffer of the latest rewards
        self.add_state("rewards", [nan] * (len(self.tasks) * _WINDOW), task_axes=1)
        self.add_state("seen", 0, dtype=torch.int64)
        self.add_state("ends", [0.2, 0.8], persistent=False)

    def current_weights(self) -> Tensor:
        return (1 - self.epsilon) * self.score.softmax(0) * len(self.tasks) + self.epsilon

    def learn(self, losses: Tensor) -> None:
        reward = self.last - losses  # NaN where a task is absent, or present for the first time
        self._remember(reward)
        low, high = _quantiles(self.rewards, self.ends).unbind()
        scaled = (2 * (reward - low) / (high - low) - 1).nan_to_num(0).clamp(-1, 1)  # 0/0 while all rewards are equal
        self.score.add_(self.eta * scaled)
        keep_latest(self.last, losses)

    def _remember(self, reward: Tensor) -> None:
        rings = self.rewards.view(len(self.tasks), _WINDOW)
        slot = (self.seen % _WINDOW).unsqueeze(1)
        new = reward.unsqueeze(1)
        latest = torch.where(new.isnan(), rings.gather(1, slot), new)
        if is_batched(rings):
            rings.copy_(rings.scatter(1, slot, latest))
        else:
            rings.scatter_(1, slot, latest)
        self.seen.add_(~reward.isnan())


def _quantiles(values: Tensor, shares: Tensor) -> Tensor:
    """Compute `values.nanquantile(shares)`, also under `torch.vmap`, which supports it only row by row."""
    if not is_batched(values):
        return values.nanquantile(shares)
    ordered = values.sort().values  # NaN comes last
    place = shares * (values.isnan().logical_not().sum() - 1).clamp_min(0)
    low = place.floor()
    return torch.lerp(ordered.gather(0, low.long()), ordered.gather(0, place.ceil().long()), place - low)
