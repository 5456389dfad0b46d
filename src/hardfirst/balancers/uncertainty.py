from math import log

import torch
from torch import Tensor

from hardfirst.balancers._scales import LearnedScales
from hardfirst.balancers._search_space import Range


class Uncertainty(LearnedScales):
    r"""Uncertainty weighting: :math:`\sum_t \tfrac12 e^{-s_t} L_t + \tfrac12 s_t` with a learned log-variance :math:`s_t`.

    The total may be negative: :math:`s_t` falls below 0 when a task's loss falls below 1.

    When to use: Use when losses have different units and sizes, and are likelihoods or close to them. It gives noisy tasks
    lower weights, whether or not they matter.

    Cost: one backward pass per step; 5·T values of state.

    Args:
        tasks: distinct non-empty strings.
        lr: the learning rate of s, above 0. The paper uses the network's.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Example:
        >>> import torch
        >>> balancer = Uncertainty(["a", "b"], lr=0.025)
        >>> balancer({"a": torch.tensor(1.0), "b": torch.tensor(4.0)})
        tensor(2.5000)
        >>> balancer.weights
        {'a': tensor(0.5000), 'b': tensor(0.4877)}

    Note:
        s is a buffer that Adam updates once per batch, by the closed-form gradient
        :math:`\tfrac12 - \tfrac12 e^{-s_t} L_t`; in the paper the model's optimizer learns it.
        A task that is absent from the batch adds no :math:`\tfrac12 s_t`. s is kept in [−80, 80], where :math:`e^s` and
        :math:`e^{-s}` are finite.

        The default of `lr` was chosen by `python benchmarks/own_rates.py DIR uncertainty` (three problems at two learning
        rates of the network each, ten seeds). Relative to equal weights, the mean over tasks differs by −0.1 points of KPI
        at 0.001, −0.7 at 0.005 and −1.3 at 0.025; the worst task by −1.4, −3.1 and −3.8. On a smaller `optical`, the mean at
        0.025 is above that of equal weights, by 0.8 to 0.9 points.

    References:
        Kendall, Gal and Cipolla, Multi-Task Learning Using Uncertainty to Weigh Losses, CVPR 2018.
    """

    ranges = {"lr": Range(1e-4, 0.1, log=True)}

    _factor = 0.5
    _sign = -1

    def current_weights(self) -> Tensor:
        return torch.rsub(self.s, -log(2)).exp()  # e⁻ˢ / 2
