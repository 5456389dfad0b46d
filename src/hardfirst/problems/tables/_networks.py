"""The networks of tables."""

from collections.abc import Callable, Mapping

from torch import nn

from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer


def own(inputs: int, outputs: Mapping[str, int]) -> HardSharing:
    """A multilayer perceptron of 128 and 64 units with a linear head for each target.

    Args:
        inputs: the number of inputs.
        outputs: for each target the number of outputs, 0 for one number.
    """
    trunk = nn.Sequential(nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    return HardSharing(trunk, {name: head(64) for name, head in _heads(outputs).items()})


def parts(inputs: int, outputs: Mapping[str, int]) -> Parts:
    """The parts of other networks: the inputs, and two layers of 64 features."""
    return Parts(nn.Identity, inputs, vector_layer, width=64, depth=2, heads=_heads(outputs))


def _heads(outputs: Mapping[str, int]) -> dict[str, Callable[[int], nn.Module]]:
    return {name: class_head(count) if count else number_head for name, count in outputs.items()}
