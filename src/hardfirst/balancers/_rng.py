"""Random numbers that depend only on a seed and a step: the same on every rank and after a resume."""

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import torch
from torch import Tensor

from hardfirst.balancers._host import HostReader
from hardfirst.errors import whole

WORD = 0xFFFFFFFF
_STRIDE = 0x9E3779B9  # 2³² over the golden ratio, so that the hash of zeros is not zero
Word = TypeVar("Word", int, Tensor)


class StepRNG(HostReader):
    """Torch's random numbers for a method that runs eagerly, with a new seed in each step.

    Args:
        tasks: the balancer's tasks.
        seed: a whole number, at least 0.
    """

    reads = ("key", "step")
    key: Tensor
    step: Tensor

    def __init__(self, tasks: Sequence[str], seed: int) -> None:
        super().__init__(tasks, process_group=False)
        self.add_state("key", [key(whole("seed", seed, least=0), 0)], dtype=torch.int64)
        self.add_state("step", [0], dtype=torch.int64)

    def generator(self, device: torch.device) -> torch.Generator:
        """Create the generator for the next step. In training mode, also advance the step."""
        seed = (int(self.read("key")) << 31) + int(self.read("step"))
        if self.training:
            self.step.add_(1)
        return torch.Generator(device).manual_seed(seed)


def key(seed: int, position: int) -> int:
    """Hash a seed of any size and a task's position to 32 bits."""
    word = mix((position + _STRIDE) & WORD)
    while True:  # 32 bits of the seed per iteration, at least one iteration
        word = mix((word + (seed & WORD) + _STRIDE) & WORD)
        seed >>= 32
        if not seed:
            return word


def mix(word: Word) -> Word:
    """Permute the 32-bit numbers, so that each bit of the result depends on each bit of `word`.

    The constants are from github.com/skeeto/hash-prospector. Both are below 2³¹, so no product exceeds int64.
    """
    word = (word ^ (word >> 16)) * 0x604BAA5D & WORD
    word = (word ^ (word >> 15)) * 0x43D6CE97 & WORD
    return word ^ (word >> 15)


@overload
def uniform(key: int, step: int) -> float: ...
@overload
def uniform(key: Tensor, step: Tensor) -> Tensor: ...
def uniform(key: Any, step: Any) -> Any:
    """Return an odd number over 2²³ in (−1, 1): exact in float32, and never ±1, where erfinv is infinite."""
    bits = mix((mix((step + key) & WORD) + key) & WORD) >> 9
    return bits * 2.0**-22 + (2.0**-23 - 1)
