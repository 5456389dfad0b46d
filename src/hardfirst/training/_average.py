"""A moving average of the weights, which is evaluated in their place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of a network's parameters over the optimizer's steps, in float32 at least.

    The average is corrected for its start, like Adam's: after n steps it is the mean of the weights after each step, where
    each counts `decay` times as much as the next, and the initial weights do not count. Buffers, such as the statistics of
    BatchNorm, are not averaged.

    Args:
        network: the network whose parameters are averaged.
        decay: in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.count = decay, 0
        self.parameters = list(network.parameters())
        self.averages = [
            parameter.detach().to(torch.promote_types(parameter.dtype, torch.float32), copy=True)
            for parameter in self.parameters
        ]

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step to the average."""
        self.count += 1
        share = (1 - self.decay) / (1 - self.decay**self.count)
        for average, parameter in zip(self.averages, self.parameters, strict=True):
            average.lerp_(parameter.to(average.dtype), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the network's weights by the averages within a `with` block."""
        with torch.no_grad():
            weights = [parameter.clone() for parameter in self.parameters]
            self._assign(self.averages)
        try:
            yield
        finally:
            self._assign(weights)

    @torch.no_grad()
    def _assign(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"count": self.count, "averages": self.averages}

    def load_state_dict(self, state: Any) -> None:
        """Restore the state of a checkpoint.

        Raises:
            ValueError: the state belongs to another network.
            TypeError: it is not such a state.
            LookupError: it is not such a state.
        """
        count, averages = state["count"], state["averages"]
        if type(count) is not int or count < 0 or [a.shape for a in averages] != [a.shape for a in self.averages]:
            raise ValueError("its average of weights is not that of this network")
        self.count = count
        for average, value in zip(self.averages, averages, strict=True):
            average.copy_(value)
