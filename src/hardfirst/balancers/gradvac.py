from collections.abc import Sequence
from types import MappingProxyType

from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._rng import StepRNG
from hardfirst.balancers._search_space import Range
from hardfirst.balancers._torchjd import gradvac_weighting, solve
from hardfirst.errors import number


class GradVac(GramianBalancer):
    r"""GradVac: the sum of the tasks' gradients, each turned towards the others until cosines reach their averages.

    Where the cosine :math:`\phi_{ij}` of :math:`g_i` and :math:`g_j` is below its moving average :math:`\hat\phi_{ij}`, a
    multiple of :math:`g_j` is added to :math:`g_i` that makes it equal; in random order. PCGrad is the case of
    :math:`\hat\phi = 0`.

    When to use: related tasks, such as languages, whose gradients mostly agree: conflict is then relative, and PCGrad, which
    acts on obtuse angles only, would hardly change anything.

    Cost: one backward for each task and step; T·n numbers of memory for n shared parameters, T·T + T + 2 of state.

    Args:
        tasks: distinct non-empty strings.
        beta: β, the share of the new cosine in the moving average, in (0, 1].
        seed: of the random order; see `RLW`.
        process_group: see `Balancer`.

    Raises:
        InputError: TorchJD is not installed, or an option is out of range. In a training step: `shared` is missing, sharded,
            or has no part in the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = GradVac(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1] - shared[0]}, shared=[shared])
        >>> shared.grad  # averages begin at 0, so that the first step is PCGrad's
        tensor([0.8000, 2.4000])

    Note:
        Solved by TorchJD; the averages are state here, so checkpoints have them. All shared parameters are one group, the
        paper's "whole_model"; it prefers a group for each layer. The random order is the same on every rank and after a
        resume. Cosines with an absent task do not change.

    References:
        Wang, Tsvetkov, Firat and Cao, Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
        Multilingual Models, ICLR 2021, Algorithm 1.
    """

    reads = ("cosine",)
    ranges = MappingProxyType({"beta": Range(0.001, 0.5, log=True)})
    cosine: Tensor

    def __init__(self, tasks: Sequence[str], *, beta: float = 0.01, seed: int = 0, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.beta = number("beta", beta, above=0, most=1)
        self.draws = StepRNG(self.tasks, seed)
        self.add_state("cosine", [0.0] * len(self.tasks) ** 2, task_axes=2)
        gradvac_weighting(self.beta, self.cosine)

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        shape = len(self.tasks), len(self.tasks)
        cosines = self.read("cosine").view(shape)[present][:, present]
        weighting, averages = gradvac_weighting(self.beta, cosines.to(gramian))
        with self.draws.seeded():
            weights = solve(weighting, gramian)
        if self.training:
            self.cosine.view(shape)[present.unsqueeze(1), present] = averages().to(self.cosine)
        return weights
