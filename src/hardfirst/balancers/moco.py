from collections.abc import Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group, send
from hardfirst.balancers._row_state import RowStateBalancer
from hardfirst.balancers._rows import combine, gramian, update_memory
from hardfirst.balancers._search_space import Range
from hardfirst.balancers._simplex import shares
from hardfirst.balancers.modo import simplex_step
from hardfirst.errors import number


class MoCo(RowStateBalancer):
    r"""MoCo: T times a convex combination of moving averages of the tasks' gradients, with weights that follow MGDA's.

    :math:`y_t \leftarrow y_t - \beta_k (y_t - g_t)` and
    :math:`\lambda \leftarrow \Pi (\lambda - \gamma_k (Y Y^\top + \rho I) \lambda)` with the projection :math:`\Pi` on the
    simplex; the update is :math:`T\, Y^\top \lambda`. In step k, :math:`\beta_k = \beta k^{-\sigma}` and
    :math:`\gamma_k = \gamma k^{-\sigma}`.

    When to use: Use when MGDA runs on small batches and memory is sufficient. The noise of a batch biases MGDA towards equal
    weights; moving averages reduce it. Late in a run the averages lag; a smaller σ keeps them current.

    Cost: one backward pass per task and step; T·n values of memory for n shared parameters, and T·n + T + 1 of state.

    Args:
        tasks: distinct non-empty strings.
        beta: β, the weight of the new gradient in the averages, in (0, 1].
        gamma: γ, the step size of the weights, above 0.
        rho: ρ, which pulls the weights towards equal ones, at least 0.
        sigma: σ, how fast both step sizes fall, in [0, 1]; 0 keeps them constant.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range. In a training step: `shared` is missing, sharded or of a different size than
            before, or does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = MoCo(["a", "b"], beta=1)
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights
        (tensor([1.0600, 1.8800]), {'a': tensor(1.0600), 'b': tensor(0.9400)})

    Note:
        :math:`Y Y^\top` is divided by its mean diagonal, so that γ does not depend on the losses' unit; the authors'
        multi-task code instead makes each gradient as long as its loss, and projects by a softmax. The paper's weights sum
        to 1; here they sum to the number of tasks present. As in the paper, the averages start at 0; they are in
        `state_dict` but not in a buffer (see `DBMTL`). The average and the weight of an absent task do not change.
        `weights` are the factors of the averages. Heads get the gradient of the step.

    References:
        Fernando, Shen, Liu, Chaudhury, Murugesan and Chen, Mitigating Gradient Bias in Multi-objective Learning: A Provably
        Convergent Approach, ICLR 2023, Algorithm 1.
    """

    equal_alone = False
    row_state = "average"
    reads = ("step",)
    ranges = {"beta": Range(0.1, 1, log=True), "gamma": Range(1e-3, 1, log=True)}
    average: Tensor
    step: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        beta: float = 0.5,
        gamma: float = 0.1,
        rho: float = 0.0,
        sigma: float = 0.5,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, process_group=process_group)
        self.beta, self.gamma = number("beta", beta, above=0, most=1), number("gamma", gamma, above=0)
        self.rho, self.sigma = number("rho", rho, least=0), number("sigma", sigma, least=0, most=1)
        self.add_state("step", [0], dtype=torch.int64)

    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        fall = (int(self.read("step")) + 1) ** -self.sigma
        average = self._update_rows(
            jacobian, present, lambda before, out: torch.lerp(before, jacobian, self.beta * fall, out=out)
        )
        if self.training:
            self.step.add_(1)
        products = _gramian(average)
        before = self.weight[send(present, self.weight.device)].to(products)
        weights = len(present) * simplex_step(shares(before), products, self.gamma * fall, self.rho)
        return combine(weights, average, update_memory(jacobian)), weights


_gramian = gramian  # `aggregate` has an argument of this name
