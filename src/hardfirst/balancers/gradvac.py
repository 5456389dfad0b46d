from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group, send
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._rng import StepRNG
from hardfirst.balancers._search_space import Range
from hardfirst.errors import number

_ROUNDING = 2.0**-23  # of the averages, which are float32
_CANCELLED = 1e-7  # a shorter rest of a gradient has no direction: it is rounding error


class GradVac(GramianBalancer):
    r"""GradVac: the sum of the tasks' gradients, each turned towards the others until cosines reach their averages.

    Where the cosine :math:`\phi_{ij}` of :math:`g_i` and :math:`g_j` is below its moving average :math:`\hat\phi_{ij}`, a
    multiple of :math:`g_j` that makes them equal is added to :math:`g_i`, in random order. PCGrad is the case
    :math:`\hat\phi = 0`.

    When to use: Use for related tasks, such as languages, whose gradients mostly agree. Conflict is then relative, and
    PCGrad, which acts only on obtuse angles, would change almost nothing.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T·T + T + 2 of state.

    Args:
        tasks: distinct non-empty strings.
        beta: β, the weight of the new cosine in the moving average, in (0, 1].
        seed: the seed of the random order; see `RLW`.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range. In a training step: `shared` is missing, sharded, or does not affect the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = GradVac(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1] - shared[0]}, shared=[shared])
        >>> shared.grad  # averages start at 0, so the first step is PCGrad's
        tensor([0.8000, 2.4000])

    Note:
        All shared parameters form one group, the paper's "whole_model"; the paper prefers one group per layer. The random
        order is the same on every rank and after a resume. Cosines with an absent task do not change. TorchJD adds 1e-8 to
        denominators, which makes the cosines of short gradients smaller; this class does not.

    References:
        Wang, Tsvetkov, Firat and Cao, Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
        Multilingual Models, ICLR 2021, Algorithm 1.
    """

    reads = ("cosine",)
    ranges = {"beta": Range(0.001, 0.5, log=True)}
    cosine: Tensor

    def __init__(self, tasks: Sequence[str], *, beta: float = 0.01, seed: int = 0, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.beta = number("beta", beta, above=0, most=1)
        self.draws = StepRNG(self.tasks, seed)
        self.add_state("cosine", [0.0] * len(self.tasks) ** 2, task_axes=2)

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        generator = self.draws.generator(gramian.device)
        count, shape = len(gramian), (len(self.tasks), len(self.tasks))
        drawn = [torch.randperm(count - 1, generator=generator) for _ in range(count)]
        orders = torch.stack([others + (others >= task) for task, others in enumerate(drawn)])
        before = self.read("cosine").view(shape)[present][:, present]
        weights, averages = gradvac_weights(gramian, orders, before.to(gramian), self.beta)
        if self.training:
            present = send(present, self.cosine.device)
            averages = send(averages, self.cosine.device, self.cosine.dtype)
            self.cosine.view(shape)[present.unsqueeze(1), present] = averages
        return weights


def gradvac_weights(gramian: Tensor, orders: Tensor, averages: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Compute GradVac's weights [k] for gradients with these inner products [k, k], and the new averages of the cosines.

    Args:
        gramian: [k, k], float64.
        orders: [k, k - 1] int64; row i is the order in which gradient i visits the others.
        averages: [k, k], float64: the averages of the cosines between gradient i, as changed so far, and j.
        beta: the weight of the new cosine in the averages.
    """
    tasks = torch.arange(len(gramian))
    turned, products = torch.eye(len(gramian), dtype=gramian.dtype), gramian  # gradient i is turned[i] @ gradients
    lengths, averages = gramian.diagonal().sqrt(), averages.clone()
    for others in orders.T:
        length, length_of_other = (turned * products).sum(1).clamp(min=0).sqrt(), lengths[others]
        both = (length > _CANCELLED * lengths) & (length_of_other > 0)
        cosine = torch.where(both, products[tasks, others] / (length * length_of_other), 0).clamp(-1, 1)
        average = averages[tasks, others]
        sine, sine_of_average = (1 - cosine**2).sqrt(), (1 - average**2).clamp(min=_ROUNDING).sqrt()
        multiple = length * (average * sine - cosine * sine_of_average) / (length_of_other * sine_of_average)
        multiple = torch.where(both & (cosine < average), multiple, 0)
        turned[tasks, others] += multiple
        products = products + multiple.unsqueeze(1) * gramian[others]
        averages[tasks, others] = (1 - beta) * average + beta * cosine
    return turned.sum(0), averages
