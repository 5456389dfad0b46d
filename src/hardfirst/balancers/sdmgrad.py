from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hardfirst._task_state import Group, send
from hardfirst.balancers._preference import PreferenceBalancer
from hardfirst.balancers._search_space import Range
from hardfirst.balancers._simplex import project, shares
from hardfirst.errors import number, whole


class SDMGrad(PreferenceBalancer):
    r"""SDMGrad: T times MGDA's combination, pulled towards a preferred one: :math:`(w + \lambda \tilde w) / (1 + \lambda)`.

    w minimizes :math:`\lVert J^\top (w + \lambda \tilde w) \rVert^2` on the simplex, by some steps of gradient descent with
    momentum, starting from the w of the previous training step. :math:`\tilde w` are the preferences, equal by default.

    When to use: Use it as a compromise between MGDA (λ = 0) and a weighted sum (λ large). It resembles CAGrad but needs
    no solver.

    Cost: one backward pass per task and step, and `steps` steps on T numbers, about a millisecond; T·n values of memory
    for n shared parameters, 2·T of state.

    Args:
        tasks: distinct non-empty strings.
        strength: λ, at least 0. The paper's multi-task code uses 0.3.
        preference: :math:`\tilde w`, one number per task, at least 0; default: 1 per task. Only their ratios matter.
        lr: the learning rate of w, above 0, for gradients whose mean length is 1.
        momentum: the momentum of w, in [0, 1).
        steps: the number of steps of w in each training step, at least 1.
        process_group: see `Balancer`.

    Raises:
        InputError: an option is out of range, or names an unknown task. In a training step: `shared` is missing, sharded, or
            does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = SDMGrad(["a", "b"], strength=1)
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1]}, shared=[shared])
        >>> shared.grad, balancer.weights  # MGDA gives 1.6 and 0.4
        (tensor([1.5000, 1.0000]), {'a': tensor(1.5000), 'b': tensor(0.5000)})

    Note:
        The paper takes the gradient of w from two independent batches, and the update from a third. Here all three are the
        batch of the step, as in code for deterministic gradients. Published code uses learning rates of 5 and 10 for w, at
        which w jumps between corners of the simplex; at the default here it converges. The paper's weights sum to 1; here
        they sum to the number of tasks present, so a learning rate tuned for equal weights still fits. The w of an absent
        task does not change. TorchJD adds 1e-8 to the mean square length by which gradients are scaled; this class does not.

    References:
        Xiao, Ban and Ji, Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms,
        NeurIPS 2023, Algorithm 1.
    """

    reads = ("share",)
    ranges = {"strength": Range(0.03, 3, log=True)}
    share: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        strength: float = 0.3,
        preference: Mapping[str, float] | None = None,
        lr: float = 0.5,
        momentum: float = 0.5,
        steps: int = 20,
        process_group: Group = None,
    ) -> None:
        super().__init__(tasks, preference=preference, process_group=process_group)
        self.strength = number("strength", strength, least=0)
        self.lr, self.momentum = number("lr", lr, above=0), number("momentum", momentum, least=0, below=1)
        self.steps = whole("steps", steps, least=1)
        self.add_state("share", 1 / len(self.tasks))

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        towards = self.strength * shares(self._preferred(present))
        share = shares(self.read("share")[present].to(gramian))
        scale = gramian.diagonal().sqrt().mean()
        scaled, velocity = gramian / scale**2 if scale > 0 else gramian, torch.zeros_like(share)
        constant = scaled @ towards
        for _ in range(self.steps):
            velocity = torch.addmv(constant, scaled, share).add_(velocity, alpha=self.momentum)
            share = project(share.sub(velocity, alpha=self.lr))
        if self.training:
            place = send(present, self.share.device)
            self.share[place] = send(share, self.share.device, self.share.dtype)
        return len(present) * (share + towards) / (1 + self.strength)
