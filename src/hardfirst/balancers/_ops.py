"""Operations that the balancers' equations share: weighted sums, effective weights, and state in compiled graphs."""

from collections.abc import Mapping
from typing import NoReturn

import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.functional._scalar import is_batched


# torch runs the function while tracing to get the constant, so the error is raised unchanged, without a graph break
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch leaves it untyped
def refuse_to_compile(method: str) -> None:
    """Raise the `InputError` for compiling a method that does not support it."""
    raise InputError(
        f"{method} differentiates the losses inside the step, so it runs only in eager mode. "
        "Keep the balancer out of `torch.compile`; the network may be compiled."
    )


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # torch leaves it untyped
def refuse_without_steps(method: str) -> NoReturn:
    """Raise the `InputError` for a training step of a method that needs `steps`, which is not known."""
    raise InputError(
        f"{method} needs the number of training steps of the whole training. Give `steps=epochs * len(loader)`; with "
        "gradient accumulation, divide it by the number of batches in a step."
    )


def refuse_features(method: str) -> NoReturn:
    """Raise the `InputError` for giving `features` to a method that does not support them."""
    raise InputError(
        f"{method} needs gradients of parameters, which stay the same from batch to batch; `features` do not. "
        "Give `shared=network.shared_parameters()` instead."
    )


@torch.library.custom_op("hardfirst::no_recompute", mutates_args=())
def _no_recompute(state: Tensor) -> Tensor:
    return state.clone()


_no_recompute.register_fake(torch.empty_like)


def no_recompute(state: Tensor) -> Tensor:
    """Prevent a compiler from recomputing state, or weights computed from it, in backward.

    Use it for state that enters a total and changes later in the same step. To save memory, a compiler may recompute a
    weight in backward from a buffer that has changed by then; the gradient is then silently that of the next step's weights
    (pytorch/pytorch#197039). A compiler never recomputes an operator that it does not know.

    Args:
        state: a tensor of any shape without a graph.

    Returns:
        A tensor with the same values: a copy in a compiled graph, `state` itself in eager mode.

    Example:
        >>> no_recompute(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    return _no_recompute(state) if torch.compiler.is_compiling() else state


@torch.no_grad()
def keep_latest(state: Tensor, new: Tensor) -> None:
    """Overwrite the entries of `state` [T] whose new value is not NaN.

    Example:
        >>> state = torch.tensor([1.0, 2.0])
        >>> keep_latest(state, torch.tensor([3.0, float("nan")]))
        >>> state
        tensor([3., 2.])
    """
    assign_where(new.isnan(), state, new.to(state.dtype), state)


def assign_where(condition: Tensor, one: Tensor, other: Tensor, out: Tensor) -> None:
    """Compute `torch.where(condition, one, other, out=out)`, also under `torch.vmap`, which does not support `out`."""
    if is_batched(out):
        out.copy_(torch.where(condition, one, other))
    else:
        torch.where(condition, one, other, out=out)


def weighted_sum(losses: Tensor, weights: Tensor) -> Tensor:
    """Compute Σ w·L over the tasks, [T] and [T] → 0-d, in float32 or better; the weights have no graph.

    Example:
        >>> weighted_sum(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.5]))
        tensor(3.5000)
    """
    weights = no_recompute(weights)
    if losses.dtype != weights.dtype:
        losses = losses.to(torch.promote_types(losses.dtype, weights.dtype))
        weights = weights.to(losses.dtype)
    return losses.dot(weights)


def task_weights(total: Tensor, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compute each task's effective weight in a step, ∂total/∂loss, by autograd. Works for any loss balancer.

    Args:
        total: the 0-d tensor that a balancer returned.
        losses: the mapping given to the balancer. The graph is retained, so `backward` can follow.

    Returns:
        By task, a 0-d tensor; 0 where the total does not depend on the loss.

    Example:
        >>> import torch, hardfirst
        >>> losses = {"a": torch.tensor(1.0, requires_grad=True), "b": torch.tensor(2.0, requires_grad=True)}
        >>> task_weights(hardfirst.balancers.Fixed(["a", "b"], {"a": 1.0, "b": 3.0})(losses), losses)
        {'a': tensor(1.), 'b': tensor(3.)}
    """
    live = {task: loss for task, loss in losses.items() if loss.requires_grad}
    gradients: dict[str, Tensor | None] = {}
    if total.requires_grad and live:
        values = torch.autograd.grad(total, list(live.values()), retain_graph=True, allow_unused=True)
        gradients = dict(zip(live, values, strict=True))
    return {
        task: loss.new_zeros(()) if (gradient := gradients.get(task)) is None else gradient for task, loss in losses.items()
    }
