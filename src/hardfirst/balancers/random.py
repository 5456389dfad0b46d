from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._loss import Anneal, LossBalancer
from hardfirst.balancers._rng import key, uniform
from hardfirst.errors import whole
from hardfirst.functional._scalar import host_memory, host_tensor


class RLW(LossBalancer):
    r"""Random loss weighting: weights :math:`w = T\,\mathrm{softmax}(z)` with :math:`z_t \sim N(0, 1)` in each step.

    T is the number of tasks.

    When to use: Use as a control. If a method is no better than random weights, its weights carry no useful information. The
    noise of random weights alone sometimes improves on equal weights.

    Cost: one backward pass per step; T + 1 values of state.

    Args:
        tasks: distinct non-empty strings.
        seed: a whole number, at least 0. The same seed gives the same weights on every rank and after a resume,
            independently of other random numbers.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: the seed is not a whole number, or negative.

    Example:
        >>> import torch
        >>> balancer = RLW(["a", "b"], seed=1)
        >>> for _ in range(2):
        ...     balancer({"a": torch.tensor(1.0), "b": torch.tensor(0.0)})
        tensor(1.2526)
        tensor(1.4790)

    Note:
        The paper's weights sum to 1; here they sum to T, so a learning rate tuned for equal weights still fits. `weights`
        are those of the next training step. A step counts if a task was present in it on any rank.

    References:
        Lin, Ye, Zhang and Tsang, Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning,
        TMLR 2022.
    """

    key: Tensor
    step: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        seed: int = 0,
        anneal: Anneal = None,
        steps: int | None = None,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, anneal=anneal, steps=steps, process_group=process_group)
        seed = whole("seed", seed, least=0)
        self.add_state("key", [key(seed, position) for position in range(len(self.tasks))], dtype=torch.int64)
        self.add_state("step", [0], dtype=torch.int64)

    def current_weights(self) -> Tensor:
        return _normal(self.key, self.step).softmax(0) * len(self.tasks)

    def learn(self, losses: Tensor) -> None:
        # the losses are averaged over ranks, so that a rank without any label in this batch also counts the step
        self.step.add_((losses == losses).any())  # noqa: PLR0124  # false for NaN


def _normal(key: Tensor, step: Tensor) -> Tensor:
    """Return standard normal numbers, float32, one for each pair of a key and a step."""
    drawn, steps, keys = None, host_memory(step), host_memory(key)
    if steps is not None and keys is not None:
        drawn = host_tensor([uniform(word, steps[0]) for word in keys])
    return torch.erfinv(uniform(key, step) if drawn is None else drawn) * 2**0.5
