import torch
from torch import Tensor

from hardfirst.balancers._preference import PreferenceBalancer
from hardfirst.functional._gradient_balancing import cosines

REGULARISATION = 1e-7  # relative to the trace, so that dependent gradients still have one solution
_TOLERANCE = 1e-12
_PIVOT_STEPS = 10
_INTERIOR_STEPS = 40
_GAP = 1e-16
_MOST_NUMBERS = 2**23  # of all systems solved at once: 64 MiB
_Point = tuple[Tensor, Tensor]


class UPGrad(PreferenceBalancer):
    r"""UPGrad: the sum of the tasks' gradients, each projected on the directions that make no task worse.

    These directions are the dual cone of the gradients, :math:`\{d : g_t \cdot d \ge 0 \text{ for all } t\}`.

    When to use: Try this gradient method first if tasks conflict. No task gets worse, and each counts by the size of its
    gradient, so a task that has converged does not stop the others.

    Cost: one backward pass per task and step, and T quadratic programs of T variables, below a millisecond for few tasks and
    at most a few seconds for 200; T·n values of memory for n shared parameters, T of state.

    Args:
        tasks: distinct non-empty strings.
        preference: factors of the projected gradients, one number per task, at least 0; default: 1 per task. The gradient
            of a task with 0 still limits the others.
        process_group: see `Balancer`.

    Raises:
        InputError: a preference is below 0, all are 0, or one names an unknown task. In a training step: `shared` is
            missing, sharded, or does not affect the losses; or the balancer is compiled.

    Example:
        >>> import torch
        >>> shared = torch.nn.Parameter(torch.ones(2))
        >>> balancer = UPGrad(["a", "b"])
        >>> balancer.backward({"a": shared[0], "b": 2 * shared[1] - shared[0]}, shared=[shared])
        >>> print(shared.grad.numpy().round(2))
        [0.8 2.4]

    Note:
        Solved for gradients of length 1, which does not change the problem. TorchJD's implementation regularizes relative to
        the longest gradient, which lets tasks with short gradients get worse, and by 1e-4 instead of 1e-7. The paper
        projects the parts of the mean; here the parts of the sum are projected, T times as long, so a learning rate tuned
        for equal weights still fits.

    References:
        Quinton and Rey, Jacobian Descent for Multi-Objective Optimization, arXiv:2406.16232, 2024.
    """

    def gramian_weights(self, gramian: Tensor, present: Tensor) -> Tensor:
        return upgrad_weights(gramian, self._preferred(present))


def upgrad_weights(gramian: Tensor, preference: Tensor | float = 1.0) -> Tensor:
    """Compute UPGrad's weights [k] for gradients with these inner products [k, k] and preferences [k]; float64."""
    between, lengths = cosines(gramian)
    return (preference * lengths) @ projection_weights(between) / lengths


def projection_weights(gramian: Tensor) -> Tensor:
    """Compute weights of the gradients whose sum is a gradient's projection on the dual cone, one gradient per row.

    Row t is the v that minimizes vᵀGv with v ≥ eₜ. Let v = eₜ + w: the solution is the only w ≥ 0 whose products y = Gv are
    ≥ 0, and 0 wherever w is above 0.

    Args:
        gramian: the inner products [k, k], float64, of gradients of length 1 (or 0).
    """
    identity, definite = torch.eye(len(gramian), dtype=gramian.dtype), _definite(gramian)
    parts = torch.split(definite, max(1, _MOST_NUMBERS // definite.numel()))
    return identity + torch.cat([_complementary(definite, rows) for rows in parts])


def least_square(gramian: Tensor, linear: Tensor) -> Tensor:
    """Compute the w >= 0 [k] that minimizes wᵀGw / 2 - `linear`·w, up to a factor.

    Args:
        gramian: as in `projection_weights`.
        linear: [k], above 0, the largest of them 1.
    """
    return _complementary(_definite(gramian), -linear.unsqueeze(0))[0]


def _definite(gramian: Tensor) -> Tensor:
    return gramian / gramian.trace().clamp(min=1) + REGULARISATION * torch.eye(len(gramian), dtype=gramian.dtype)


def _complementary(definite: Tensor, constant: Tensor) -> Tensor:
    """Find, for each row c of `constant` [b, k], the w ≥ 0 with y = Gw + c ≥ 0 and wᵀy = 0, for a definite G [k, k].

    Block pivoting usually finds it in a few steps, but may cycle if gradients are dependent. An interior-point method
    always comes close; pivoting from its solution then makes it exact.
    """
    raised, solved = _pivot(definite, constant, constant < -_TOLERANCE)
    if not solved.all():
        near, products = _interior_point(definite, constant[~solved])
        exact, now_solved = _pivot(definite, constant[~solved], near > products)
        raised[~solved] = torch.where(now_solved.unsqueeze(1), exact, near)
    return raised.clamp(min=0)


def _pivot(definite: Tensor, constant: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Run block principal pivoting from the set `positive` [b, k] where w > 0; return w, and whether it solves each row.

    A step solves for w on the set, then moves every index with a negative w or y into or out of the set.

    References:
        Portugal, Júdice and Vicente, A Comparison of Block Pivoting and Interior-Point Algorithms for Linear Least Squares
        Problems with Nonnegative Variables, Mathematics of Computation 63, 1994.
    """
    raised, solved = torch.zeros_like(constant), torch.zeros(len(constant), dtype=torch.bool)
    for _ in range(_PIVOT_STEPS):
        left = (~solved).nonzero().squeeze(1)
        on = positive[left]
        part = _solve_on(on, definite, -constant[left])
        negative = torch.where(on, part, constant[left] + part @ definite) < -_TOLERANCE
        raised[left], positive[left], solved[left] = part, on ^ negative, ~negative.any(1)
        if solved.all():
            break
    return raised, solved


def _solve_on(on: Tensor, definite: Tensor, right: Tensor) -> Tensor:
    """Solve, for each row, the system of the set's rows and columns of G, with 0 elsewhere: [b, k]."""
    largest = int(on.sum(1).max())
    indices = on.int().argsort(1, descending=True)[:, :largest]  # the set, padded to the size of the largest
    inside = on.gather(1, indices)
    systems = definite[indices.unsqueeze(2), indices.unsqueeze(1)]
    systems = torch.where(inside.unsqueeze(2) & inside.unsqueeze(1), systems, torch.eye(largest, dtype=definite.dtype))
    part = _solve(torch.linalg.cholesky(systems), torch.where(inside, right.gather(1, indices), 0))
    return torch.zeros_like(right).scatter(1, indices, part)


def _solve(factors: Tensor, right: Tensor) -> Tensor:
    """Solve the systems with these Cholesky factors [b, k, k] for right sides [b, k]; `cholesky_solve` would copy them."""
    half = torch.linalg.solve_triangular(factors, right.unsqueeze(2), upper=False)
    solution: Tensor = torch.linalg.solve_triangular(factors.mT, half, upper=True).squeeze(2)
    return solution


def _interior_point(definite: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Run Mehrotra's predictor-corrector method for all rows at once; return w and y > 0 whose products are nearly 0."""
    point = torch.ones_like(constant), torch.full_like(constant, float(definite.diagonal().mean()))
    for _ in range(_INTERIOR_STEPS):
        raised, products = point
        gap = (raised * products).mean(1, keepdim=True)
        if gap.max() < _GAP:
            break
        residual = constant + raised @ definite - products
        systems = definite.repeat(len(constant), 1, 1)
        systems.diagonal(dim1=1, dim2=2).add_(products / raised)
        factors = torch.linalg.cholesky(systems)
        predicted = _newton(point, factors, residual, -raised * products)
        ahead_raised, ahead_products = _move(point, predicted, 1.0)
        ahead = (ahead_raised * ahead_products).mean(1, keepdim=True)
        target = (ahead / gap) ** 3 * gap - raised * products - predicted[0] * predicted[1]
        point = _move(point, _newton(point, factors, residual, target), 0.99)
    return point


def _newton(point: _Point, factors: Tensor, residual: Tensor, target: Tensor) -> _Point:
    """Compute the changes of w and y that satisfy y = Gw + c and change their products by `target` to first order."""
    raised, products = point
    change = _solve(factors, target / raised - residual)
    return change, (target - products * change) / raised


def _move(point: _Point, change: _Point, share: float) -> _Point:
    """Move by a share of the distance to where the first number becomes 0, or by the whole change."""
    falls = torch.cat([-part / value for value, part in zip(point, change, strict=True)], 1)
    step = share / falls.amax(1, keepdim=True).clamp(min=1)
    return point[0] + step * change[0], point[1] + step * change[1]
