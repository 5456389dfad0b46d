"""Gradients of single losses, for GradNorm and the gradient balancers."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hardfirst._task_state import plain
from hardfirst.errors import InputError


def require_trainable(shared: Iterable[nn.Parameter] | None, method: str) -> list[nn.Parameter]:
    """Return the shared parameters as a list.

    Raises:
        InputError: there are none, one is not trainable, one is no parameter, or one is sharded over ranks.
    """
    parameters = [shared] if isinstance(shared, nn.Parameter) else list(dict.fromkeys(shared or ()))
    if not parameters or not all(isinstance(item, Tensor) and item.requires_grad for item in parameters):
        raise InputError(
            f"{method} needs the parameters that the tasks share, all of them trained, in every training step: for instance "
            "`shared=network.shared_parameters()`, or those of the last layer that all tasks use, "
            "`shared=layer.parameters()`."
        )
    if not all(parameter.is_leaf for parameter in parameters):
        raise InputError(
            f"{method} expects parameters in `shared`, and got a tensor that the network computed. What the heads read is "
            "given as `features`, to the methods that take it."
        )
    if any(map(_sharded, parameters)):
        raise InputError(
            f"{method} cannot work with gradients that are sharded over ranks, and `shared` has a parameter that FSDP has "
            "sharded, a DTensor. Keep the shared layers out of FSDP, or choose a method that needs no gradients."
        )
    return parameters


def require_features(features: Tensor | Iterable[Tensor], losses: Iterable[Tensor], method: str) -> list[Tensor]:
    """Return the features as a list.

    Raises:
        InputError: there are none, one has no graph, one is computed from another, or a loss depends on what they are
            computed from in another way too.
    """
    tensors = [features] if isinstance(features, Tensor) else list(dict.fromkeys(features))
    if not tensors or not all(isinstance(item, Tensor) and item.requires_grad and not item.is_leaf for item in tensors):
        raise InputError(
            f"{method} expects in `features` what the network computed for all tasks, with its graph: for instance "
            "`features = trunk(inputs)`, which the heads then read. Parameters are given as `shared`."
        )
    edges = set(map(_edge, tensors))
    before, sources = _walk([parent for node, _ in edges for parent in node.next_functions], set())
    if any(node in before for node, _ in edges):
        raise InputError("Expected `features` of which none is computed from another; give only those that the heads read.")
    if set(_walk(map(_edge, losses), edges)[1]) & set(sources):  # tensors are hashed by identity
        raise InputError(
            "Expected the losses to depend on the layers before `features` through these alone; one goes around them. Add "
            "what it reads to `features`, or give `shared=network.shared_parameters()` instead."
        )
    return tensors


def _sharded(parameter: Tensor) -> bool:
    # importing it takes seconds; where a DTensor exists, it has been imported
    tensor = sys.modules.get("torch.distributed.tensor")
    return (tensor is not None and isinstance(parameter, tensor.DTensor)) or type(parameter).__name__ == "FlatParameter"


def no_dependence_error(given: str = "shared") -> InputError:
    """The error for losses of which none depends on what was given as `shared` or `features`."""
    return InputError(
        f"Expected the losses to depend on `{given}`, with a graph; none of them does. Give "
        f"{'parameters' if given == 'shared' else 'features'} that the network used for these losses, and put the balancer "
        "in eval mode where gradients are off."
    )


def gradients_of(loss: Tensor, leaves: Sequence[Tensor], factor: Tensor | None = None) -> tuple[Tensor | None, ...]:
    """The gradient of factor · loss for each leaf; None where the loss does not depend on it. The graph is retained.

    Args:
        loss: 0-d, with its graph.
        leaves: any tensors.
        factor: 0-d, of the loss's dtype and device; None for 1.

    Raises:
        InputError: the network is compiled in a way that lets its graph be used only once.
    """
    loss = plain(loss)  # the gradient of a subclass would be one
    try:
        return torch.autograd.grad(loss, leaves, factor, retain_graph=True, allow_unused=True)
    except RuntimeError as error:
        if "donated buffer" not in str(error):
            raise
        raise InputError(
            "The compiled network lets its graph be used only once, and this method goes back through it for each task. Set "
            "torch._functorch.config.donated_buffer = False before the first step."
        ) from error


def flat(parts: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
    """Concatenate gradients to one float32 vector [n]; 0 for a parameter whose gradient is None."""
    filled = (torch.zeros_like(p) if part is None else part for p, part in zip(parameters, parts, strict=True))
    return torch.cat([part.detach().flatten().float() for part in filled])


def other_leaves(losses: Iterable[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The leaves of the losses' graphs that are not among these tensors, nor behind them: those of the heads."""
    return _walk(map(_edge, losses), set(map(_edge, tensors)))[1]


Edge = tuple[Any, int]  # a node of a graph, and which of its outputs


def _edge(tensor: Tensor) -> Edge:
    edge = torch.autograd.graph.get_gradient_edge(tensor)
    return edge.node, edge.output_nr


def _walk(edges: Iterable[Edge], ends: set[Edge]) -> tuple[set[Any], list[Tensor]]:
    """Go back through a graph, but not beyond the edges in `ends`: its nodes and its leaves."""
    # depth first; an AccumulateGrad node, one for each leaf, has the leaf as its `variable`
    stack, seen, leaves = list(edges), set(), []
    while stack:
        edge = stack.pop()
        node = edge[0]
        if node is None or node in seen or edge in ends:
            continue
        seen.add(node)
        stack += node.next_functions
        if (leaf := getattr(node, "variable", None)) is not None:
            leaves.append(leaf)
    return seen, leaves
