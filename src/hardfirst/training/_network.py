"""The network of a run: what the loop needs of it, checked before training, and copies of its weights."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hardfirst.errors import InputError
from hardfirst.problems import Problem, Split
from hardfirst.training._batch import measure, select_labelled
from hardfirst.training._loading import load
from hardfirst.training._randomness import forked_randomness
from hardfirst.training._sampling import Order, epoch_order

Weights = dict[str, Any]
"""A network's `state_dict`: tensors by name, and the extra state of modules that have one."""


def build_network(problem: Problem) -> nn.Module:
    """Build the problem's network.

    Raises:
        InputError: it is not a module, has nothing to train, or has sparse gradients.
    """
    network = problem.network()
    if not isinstance(network, nn.Module):
        raise InputError(
            f"`network` of problem {problem.name!r} should return a torch.nn.Module; it returned {type(network).__name__}."
        )
    parameters = list(network.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        why = "all are frozen, by requires_grad=False" if parameters else "it has none"
        raise InputError(f"The network of problem {problem.name!r} has no parameters to train: {why}.")
    for name, module in network.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            raise InputError(
                f"The {type(module).__name__} {name!r} in the network of problem {problem.name!r} has sparse gradients, "
                "which the optimizers do not support. Leave out sparse=True."
            )
    return network


def initialize_lazy(problem: Problem, network: nn.Module, inputs: Any) -> None:
    """Initialize lazy layers by a forward pass, since neither an optimizer nor a balancer can use them before.

    Raises:
        InputError: the pass fails, or does not reach a layer.
    """
    run_network(problem, network.eval(), inputs)
    network.train()
    if names := [name for name, parameter in network.named_parameters() if is_lazy(parameter)]:
        raise InputError(
            f"Lazy parameters in the network of problem {problem.name!r} have no shape after a forward pass, since it did "
            f"not reach them: {', '.join(names):.200}. Remove them, or give them their sizes."
        )


def has_lazy(network: nn.Module) -> bool:
    """Return whether a parameter has no shape yet."""
    return any(map(is_lazy, network.parameters()))


@torch.no_grad()
def run_network(problem: Problem, network: nn.Module, inputs: Any) -> Any:
    """Run the network on a batch of inputs.

    Raises:
        InputError: the network fails.
    """
    try:
        return network(inputs)
    except Exception as error:
        raise InputError(
            f"The network of {problem.name!r} failed on a batch of inputs {_shape(inputs)}: {type(error).__name__}: {error}"
        ) from error


def _shape(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return f"{list(inputs.shape)} {inputs.dtype}"
    if isinstance(inputs, Mapping):
        return ", ".join(f"{name} {_shape(value)}" for name, value in inputs.items())
    return type(inputs).__name__


def shared_parameters(problem: Problem, network: nn.Module, balancer: str) -> list[nn.Parameter]:
    """Return the network's shared parameters, for a balancer that needs them.

    Raises:
        InputError: the network does not define them, or one is complex.
    """
    shared = getattr(network, "shared_parameters", None)
    if shared is None:
        raise InputError(
            f"Balancer {balancer!r} needs the shared parameters. Give the network of problem {problem.name!r} a method "
            "`shared_parameters()`, as hardfirst.networks have."
        )
    parameters = list(shared())
    if any(parameter.is_complex() for parameter in parameters):
        raise InputError(
            f"Balancer {balancer!r} needs real gradients, but shared parameters of problem {problem.name!r} are complex. "
            "Use a method that weights losses."
        )
    return parameters


def must_join(problem: Problem, split: Split) -> bool:
    """Return whether a single remaining example of the training split must join another batch.

    Raises:
        InputError: the network cannot be trained on one example, and there would still be batches of one.
    """
    reason = _failure_on_one(problem, split, epoch_order(problem, split, seed=0, epoch=0))
    if reason is None:
        return False
    if any(len(batch) == 1 for batch in epoch_order(problem, split, seed=0, epoch=0, join_single=True)):
        raise InputError(
            f"The network of problem {problem.name!r} cannot be trained on a batch of one example ({reason}). Set "
            "`batch_size` to at least 2, and give each data set of the training split at least 2 examples."
        )
    return True


@torch.no_grad()
def _failure_on_one(problem: Problem, split: Split, order: Order) -> str | None:
    """Say why the network cannot be trained on a batch of one example, for example because of BatchNorm.

    Tries a separate network, so that the one to be trained keeps its statistics. Returns None if the network can, or if no
    batch has one example.
    """
    singles = [batch for batch in order if len(batch) == 1][:1]
    with forked_randomness():
        for inputs, targets in load(split, singles, draw=(0, 0)):
            network = build_network(problem).train()
            try:
                measure(problem, select_labelled(problem, network(inputs), targets))
            except Exception as error:
                return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return None


def copy_weights(network: nn.Module) -> Weights:
    """Copy the network's weights, buffers and extra state."""
    return {name: _copy(value) for name, value in network.state_dict().items()}


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)


def difference(weights: Any, network: nn.Module) -> str | None:
    """Say how the weights, such as a copy from an earlier epoch, differ in shape from the network; None if they match."""
    if not isinstance(weights, Mapping):
        return f"the weights are {type(weights).__name__}"
    earlier, current = _shapes(weights), _shapes(network.state_dict())
    names = (name for name in current | earlier if current.get(name) != earlier.get(name))
    return next((f"{n!r} was {earlier.get(n, 'absent')} and is {current.get(n, 'absent')}" for n in names), None)


def check_shapes(problem: Problem, weights: Weights, network: nn.Module) -> None:
    """Check that the weights of an earlier epoch still fit the network, before the best ones are needed at the end.

    Raises:
        InputError: a shape has changed.
    """
    if reason := difference(weights, network):
        raise InputError(
            f"Expected each buffer of the network of problem {problem.name!r} to keep its shape in training; "
            f"{reason}. Give it a fixed size, or keep it out of checkpoints by register_buffer(…, persistent=False)."
        )


def _shapes(weights: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{list(value.shape)} {value.dtype}" if isinstance(value, Tensor) else "extra state"
        for name, value in weights.items()
    }
