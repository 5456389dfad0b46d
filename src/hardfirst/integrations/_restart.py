"""The restart of a network and its optimizers within a third-party training loop."""

import copy
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hardfirst.balancers import Balancer
from hardfirst.errors import InputError


class Restart:
    """Puts a network and its optimizers back to step 0 after the step that a method asks for.

    It acts right after a step of the last optimizer, so a checkpoint between two steps is from before or from after the
    restart. The learning-rate schedule belongs to the host and continues.

    Args:
        balancer: the method; its `steps` are known.
        module: the network. The buffers of the balancer, which may be a part of it, are not put back.
        optimizers: those of the network.
        start: the `state_dict` of the object that an earlier process had, for a run that is resumed during the search.

    Raises:
        InputError: the run is resumed during the search, and `start` is missing.
    """

    def __init__(
        self,
        balancer: Balancer,
        module: nn.Module,
        optimizers: Sequence[Optimizer],
        start: Mapping[str, Any] | None = None,
    ) -> None:
        self.step, self.optimizers = balancer.restart_step, optimizers
        self._balancer, self._module = balancer, module
        self._start: dict[str, Any] | None = None
        self._happened = False
        if self.step is None:
            return
        balanced = int(balancer.get_buffer("steps_done"))
        start = start if balanced else None  # the network is at step 0
        # the steps of the optimizer, without those of the balancer that a gradient scaler skipped
        self._done: int = balanced if start is None else start["steps"]
        if self._done >= self.step:
            return
        if self._done and start is None:
            raise InputError(
                f"The checkpoint was saved during the search of {type(balancer).__name__} and lacks the initial weights, to "
                "which the network goes back. In a LightningModule, call `super()` in `on_save_checkpoint` and "
                "`on_load_checkpoint`; or start again without the checkpoint."
            )
        self._start = {
            "weights": {name: tensor.detach().clone() for name, tensor in self._tensors().items()},
            "optimizers": [copy.deepcopy(optimizer.state_dict()["state"]) for optimizer in optimizers],
        }
        if start is not None:
            self._load(start)
        self._handle = optimizers[-1].register_step_post_hook(self._after_step)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the network's parameters and buffers, of which a module may replace the latter at any time."""
        own = {id(buffer) for buffer in self._balancer.buffers()}
        parts = chain(self._module.named_parameters(), self._module.named_buffers())
        return {name: tensor for name, tensor in parts if id(tensor) not in own}

    def _load(self, start: Mapping[str, Any]) -> None:
        weights, tensors = start["weights"], self._tensors()
        if weights.keys() != tensors.keys():
            raise InputError("The initial weights in the checkpoint are those of another network. Start again without it.")
        on_device = {name: weights[name].to(tensor.device) for name, tensor in tensors.items()}
        self._start = {"weights": on_device, "optimizers": start["optimizers"]}

    def __deepcopy__(self, memo: object) -> None:
        """Return None: a copy of the module, such as an average of its weights, has no restart."""

    def state_dict(self) -> dict[str, Any] | None:
        """Return the initial state, for a checkpoint; None if it is no longer needed."""
        return None if self._start is None else {**self._start, "steps": self._done}

    @torch.no_grad()
    def _after_step(self, *_: Any) -> None:
        self._done += 1
        if self._done != self.step or self._start is None:
            return
        for name, tensor in self._tensors().items():
            tensor.copy_(self._start["weights"][name])
        for optimizer, state in zip(self.optimizers, self._start["optimizers"], strict=True):
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        self._start, self._happened = None, True
        self._handle.remove()

    def pop(self) -> int | None:
        """Return the step of the restart if it has happened since the last call, else None."""
        happened, self._happened = self._happened, False
        return self.step if happened else None
