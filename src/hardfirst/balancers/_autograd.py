"""Gradients of single losses, for GradNorm and the gradient balancers."""

import sys
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hardfirst._task_state import plain
from hardfirst.errors import InputError


def require_trainable(shared: Iterable[nn.Parameter] | None, method: str) -> list[nn.Parameter]:
    """Return the shared parameters as a list.

    Raises:
        InputError: there are none, one is not trainable, or one is sharded over ranks.
    """
    parameters = [shared] if isinstance(shared, nn.Parameter) else list(shared or ())
    if not parameters or not all(isinstance(item, Tensor) and item.requires_grad for item in parameters):
        raise InputError(
            f"{method} needs the parameters that the tasks share, all of them trained, in every training step: for instance "
            "`shared=network.shared_parameters()`, or those of the last layer that all tasks use, "
            "`shared=layer.parameters()`."
        )
    if any(map(_sharded, parameters)):
        raise InputError(
            f"{method} cannot work with gradients that are sharded over ranks, and `shared` has a parameter that FSDP has "
            "sharded, a DTensor. Keep the shared layers out of FSDP, or choose a method that needs no gradients."
        )
    return parameters


def _sharded(parameter: Tensor) -> bool:
    # importing it takes seconds; where a DTensor exists, it has been imported
    tensor = sys.modules.get("torch.distributed.tensor")
    return (tensor is not None and isinstance(parameter, tensor.DTensor)) or type(parameter).__name__ == "FlatParameter"


def no_dependence_error() -> InputError:
    """The error for losses of which none depends on the shared parameters."""
    return InputError(
        "Expected the losses to depend on `shared`, with a graph; none of them does. Give parameters that the "
        "network used for these losses, and put the balancer in eval mode where gradients are off."
    )


def gradients_of(loss: Tensor, leaves: Sequence[Tensor], factor: float = 1.0) -> tuple[Tensor | None, ...]:
    """The gradient of factor · loss for each leaf; None where the loss does not depend on it. The graph is retained.

    Raises:
        InputError: the network is compiled in a way that lets its graph be used only once.
    """
    loss = plain(loss)  # the gradient of a subclass would be one
    try:
        return torch.autograd.grad(loss, leaves, torch.full_like(loss, factor), retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "donated buffer" not in str(error):
            raise
        raise InputError(
            "The compiled network lets its graph be used only once, and this method goes back through it for each task. Set "
            "torch._functorch.config.donated_buffer = False before the first step."
        ) from error


def flat(parts: Sequence[Tensor | None], parameters: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Concatenate gradients to one float32 vector [n]; 0 for a parameter whose gradient is None."""
    filled = (torch.zeros_like(p) if part is None else part for p, part in zip(parameters, parts, strict=True))
    return torch.cat([part.detach().flatten().float() for part in filled], out=out)


def other_leaves(losses: Iterable[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """The leaves of the losses' graphs that are not among the parameters: those of the heads."""
    # Depth first from the losses back. An AccumulateGrad node, one for each leaf, has the leaf as its `variable`.
    seen = {torch.autograd.graph.get_gradient_edge(parameter).node for parameter in parameters}
    stack = [torch.autograd.graph.get_gradient_edge(loss).node for loss in losses if loss.requires_grad]
    leaves = []
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [parent for parent, _ in node.next_functions if parent is not None]
            if (leaf := getattr(node, "variable", None)) is not None:
                leaves.append(leaf)
    return leaves
