from torch import Tensor

from hardfirst.balancers._scales import LearnedScales
from hardfirst.balancers._search_space import Range


class IMTLL(LearnedScales):
    r"""IMTL's loss balance (IMTL-L): :math:`\sum_t e^{s_t} L_t - s_t` with a learned log-scale :math:`s_t`.

    Over s, the minimum is where every scaled loss :math:`e^{s_t} L_t` is 1, so s keeps all losses at a comparable size.

    When to use: Use when losses have different units and sizes, of any kind. It is uncertainty weighting without the
    likelihood and the ½, and shares its limit: the weights follow 1/L, whether or not the task with the low loss matters.

    Cost: one backward pass per step; 5·T values of state.

    Args:
        tasks: distinct non-empty strings.
        lr: the learning rate of s, above 0. The paper uses the network's.
        anneal: the change to equal weights, see `LossBalancer`.
        steps: see `LossBalancer`.
        process_group: see `Balancer`.

    Raises:
        InputError: the learning rate is not above 0.

    Example:
        >>> import torch
        >>> balancer = IMTLL(["a", "b"], lr=0.025)
        >>> balancer({"a": torch.tensor(1.0), "b": torch.tensor(4.0)})
        tensor(5.)
        >>> balancer.weights
        {'a': tensor(1.), 'b': tensor(0.9753)}

    Note:
        s is a buffer that Adam updates once per batch, by the closed-form gradient :math:`e^{s_t} L_t - 1`; in the paper the
        model's optimizer learns it. A task that is absent from the batch adds no :math:`-s_t`. s is kept in [−80, 80],
        where :math:`e^s` is finite. The paper's gradient balance is a separate method, `imtl_g`.

        The default of `lr` was chosen by `python benchmarks/own_rates.py DIR imtl_l` (three problems at two learning
        rates of the network each, ten seeds). Relative to equal weights, the mean over tasks differs by −0.1 points of KPI
        at 0.001, −0.6 at 0.005 and −1.3 at 0.025; the worst task by −1.2, −3.2 and −4.1. On a smaller `optical`, the mean at
        0.025 is above that of equal weights, by 0.7 to 1.0 points.

    References:
        Liu et al., Towards Impartial Multi-task Learning, ICLR 2021, Sec. 3.2.
    """

    ranges = {"lr": Range(1e-4, 0.1, log=True)}

    _factor = 1.0
    _sign = 1

    def current_weights(self) -> Tensor:
        return self.s.exp()
