from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group
from hardfirst.balancers._gradient import GramianBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.balancers._simplex import project, shares
from hardfirst.errors import number


class MoDo(GramianBalancer):
    r"""MoDo: T times a convex combination of the tasks' gradients whose weights follow MGDA's in small steps.

    :math:`\lambda \leftarrow \Pi (\lambda - \gamma (G + \rho I) \lambda)` with the projection :math:`\Pi` on the simplex. G
    is the matrix of the gradients' inner products, divided by their mean square length.

    When to use: Use when MGDA's weights jump with the noise of each batch. Here they average over about 1/γ steps. A
    small γ is close to equal weights, a large γ close to MGDA.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        gamma: γ, the step size of the weights, above 0.
        rho: ρ, which pulls the weights towards equal ones, at least 0.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range. In a training step: `shared` is missing, sharded, or does not affect the
            losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = MoDo(["a", "b"], gamma=0.1)
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1.0600, 1.8800]), {'a': tensor(1.0600), 'b': tensor(0.9400)})

    Note:
        The paper takes G from two independent batches, so that its expectation is that of the true gradients, and in its
        multi-task code the update from a third. Here all three are the batch of the step, and one backward pass per task is
        enough, but noise within a batch makes the gradients of noisy tasks look longer. The paper does not divide G, so its
        γ depends on the losses' unit. The paper's weights sum to 1; here they sum to the number of tasks present, so a
        learning rate tuned for equal weights still fits. The weight of an absent task does not change.

    References:
        Chen, Fernando, Ying and Chen, Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and
        Conflict-Avoidance, JMLR 25, 2024, Algorithm 1.
    """

    reads = ("weight",)
    ranges = {"gamma": Range(1e-3, 1, log=True)}

    def __init__(self, tasks: Sequence[str], *, gamma: float = 0.1, rho: float = 0.0, process_group: Group = None) -> None:
        super().__init__(tasks, process_group=process_group)
        self.gamma, self.rho = number("gamma", gamma, above=0), number("rho", rho, least=0)

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        before = self.read("weight")[present].to(gramian)
        return len(present) * simplex_step(shares(before), gramian, self.gamma, self.rho)


def simplex_step(weights: Tensor, gramian: Tensor, gamma: float, rho: float) -> Tensor:
    """Take a step of weights [k] towards the shortest convex combination, for inner products [k, k] of any unit."""
    mean_square = gramian.diagonal().mean()
    slope = gramian @ weights / torch.where(mean_square > 0, mean_square, 1) + rho * weights
    return project(weights - gamma * slope)
