"""The random states that a run may draw from: torch's, numpy's and that of Python's `random`."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def forked_randomness(seed: int | None = None) -> Iterator[None]:
    """Restore all three random states after the `with` block.

    Args:
        seed: the seed inside the block; None continues from the current states.
    """
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            if seed is not None:
                seed_randomness(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def seed_randomness(seed: int) -> None:
    """Seed all three random states."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def randomness() -> dict[str, Any]:
    """Return the three states, in types that a checkpoint can store."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {"torch": torch.get_rng_state(), "python": random.getstate(), "numpy": [name, keys.tolist(), *rest]}  # type: ignore[union-attr]  # legacy states have keys


def restore_randomness(state: Any) -> None:
    """Restore the result of `randomness`, or the state of an older checkpoint, which had only torch's."""
    if isinstance(state, Tensor):
        torch.set_rng_state(state)
        return
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state["numpy"]))
