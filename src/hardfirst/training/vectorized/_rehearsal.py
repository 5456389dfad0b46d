"""The networks of a group, and a step of them before anything is written, which shows what cannot be stacked."""

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hardfirst.balancers._autograd import gradients_of, require_trainable
from hardfirst.problems import Problem
from hardfirst.training._batch import measure, select_labelled
from hardfirst.training._network import build_network, has_lazy, initialize_lazy, shared_parameters
from hardfirst.training._randomness import forked_randomness, seed_randomness
from hardfirst.training.vectorized._data import StackedBatch, row_of
from hardfirst.training.vectorized._measure import Measures
from hardfirst.training.vectorized._refusal import NotVectorizable
from hardfirst.training.vectorized._work import Work


def build(problem: Problem, seed: int, inputs: Any) -> nn.Module:
    """Build the network of a trial, as a single run does.

    Args:
        problem: the problem.
        seed: of the trial.
        inputs: of its first batch, for layers without a shape.
    """
    seed_randomness(seed)
    module = build_network(problem)
    if has_lazy(module):
        initialize_lazy(problem, module, inputs)
    return module


def single_step(problem: Problem, module: nn.Module, batch: tuple[Any, Mapping[str, Tensor]]) -> tuple[list[str], Work]:
    """The names of the parameters that get a gradient in a training step, since an optimizer leaves others as they are; and
    how much the step computes.

    Raises:
        NotVectorizable: there are none, or the network draws random numbers that `torch.func.vmap` does not know of.
    """
    network, work = copy.deepcopy(module).train(), Work()
    with forked_randomness(), work.counted(network.parameters()):
        states = random.getstate(), str(np.random.get_state())
        losses = measure(problem, select_labelled(problem, network(batch[0]), batch[1])).losses
        if states != (random.getstate(), str(np.random.get_state())):
            raise NotVectorizable("The network draws random numbers from Python or NumPy, the same for all trials.")
        total = torch.stack(list(losses.values())).sum()
        if not total.requires_grad:
            raise NotVectorizable("The losses do not depend on the network's parameters.")
        torch.autograd.backward(total)
    return [name for name, parameter in network.named_parameters() if parameter.grad is not None], work


def shared_names(problem: Problem, module: nn.Module, balancer: str, batch: tuple[Any, Mapping[str, Tensor]]) -> list[str]:
    """The names of the network's shared parameters, for a balancer that needs them.

    Raises:
        NotVectorizable: a task's loss does not depend on them.
        InputError: the network does not define them.
    """
    network = copy.deepcopy(module).train()
    shared = require_trainable(shared_parameters(problem, network, balancer), balancer)
    with forked_randomness():
        losses = measure(problem, select_labelled(problem, network(batch[0]), batch[1])).losses
    for task, loss in losses.items():
        if loss.requires_grad and all(part is None for part in gradients_of(loss, shared)):
            raise NotVectorizable(f"The loss of task {task!r} does not depend on the shared parameters.")
    own = set(map(id, shared))
    return [name for name, parameter in network.named_parameters() if id(parameter) in own]


def rehearse(measures: Measures, modules: Sequence[nn.Module], batch: StackedBatch) -> None:
    """Measure a batch of each trial with its single network and with the stack, and back-propagate.

    Weights, buffers and random state stay as they are.

    Args:
        measures: of the stack; it finds out which tasks are measured together.
        modules: the single networks, on the device.
        batch: likewise.

    Raises:
        NotVectorizable: the stack fails, or does not do what the networks do.
    """
    stack, (inputs, targets) = measures.stack, batch
    before = {name: buffer.clone() for name, buffer in stack.buffers.items()}
    with forked_randomness():
        measures.choose(modules, batch)
        stack.template.train()
        try:
            torch.autograd.backward(measures.measure(inputs, targets)[0].sum())
        except RuntimeError as error:
            line = " ".join(str(error).split())
            raise NotVectorizable(f"A training step does not run under torch.func.vmap: {line:.150}") from error
        modules[0].train()(row_of(inputs, 0))
    single = dict(modules[0].named_buffers())
    for name, buffer in stack.buffers.items():
        if _differ(buffer[0], before[name][0]) != _differ(single[name], before[name][0]):
            raise NotVectorizable(f"The network changes its buffer {name!r} in a way that torch.func.vmap does not follow.")
        buffer.copy_(before[name])
    stack.weights.grad = None


def _differ(first: Tensor, second: Tensor) -> bool:
    return not torch.equal(first.nan_to_num(), second.nan_to_num())
