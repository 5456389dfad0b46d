"""A problem file that runs unchanged. Replace the synthetic data, the network and the tasks with your own.

    hardfirst compare FILE              compare balancing methods
    hardfirst train FILE --balancer dtp train one network

Before training, hardfirst checks names, shapes, the range of classes, and that KPIs are in [0, 1].
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.kpi import accuracy, within
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems import Metric, Problem, Splits, Task, TensorTable


def data() -> Splits:
    """Return training, validation and test data. Called once per run; it must return the same data every time.

    TensorTable stores data in memory. Any torch Dataset works whose items are (inputs, {"colour": ..., "size": ...}).
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(600, 8, generator=generator)
    colour = inputs[:, :3].argmax(1)  # a class: int64, 0, 1 or 2
    size = inputs[:, 3] * inputs[:, 4]  # a number: float32
    ripe = (inputs[:, 5:].sum(1) > 0).float()  # yes or no: 1.0 or 0.0

    # A missing label is -100 for a class, NaN for a number.
    colour[::7] = -100
    size[::3] = math.nan

    targets = {"colour": colour, "size": size, "ripe": ripe}

    def split(rows: slice) -> TensorTable:
        return TensorTable(inputs[rows], {task: target[rows] for task, target in targets.items()})

    return Splits(train=split(slice(0, 360)), validation=split(slice(360, 480)), test=split(slice(480, 600)))


def network() -> nn.Module:
    """Return a new network, whose output is a dict with one entry per task. HardSharing is a trunk with one head per task.

    The output for a number has the shape of its target, [batch]; [batch, 1] is an error.
    """
    trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    return HardSharing(trunk, {"colour": nn.Linear(32, 3), "size": number_head(32), "ripe": number_head(32)})


def parts() -> Parts:
    """Return the parts of other networks, for example for `--network mmoe`. Optional."""
    heads = {"colour": class_head(3), "size": number_head, "ripe": number_head}
    return Parts(stem=nn.Identity, channels=8, layer=vector_layer, width=32, depth=2, heads=heads)


def close(output: Tensor, target: Tensor) -> Tensor:
    """Return a KPI in [0, 1], where 1 is best: here the share of predictions with an error of at most 0.5."""
    return within(output, target, threshold=0.5)


def problem() -> Problem:
    """Return the problem: tasks with their losses and KPIs, data, network and training settings."""
    return Problem(
        name="fruit",
        tasks=(
            Task("colour", loss=F.cross_entropy, kpi=accuracy),
            # `metrics` are reported in addition to the KPI, in their own units
            Task("size", loss=F.mse_loss, kpi=close, metrics={"MAE": Metric(F.l1_loss, higher_is_better=False)}),
            Task("ripe", loss=F.binary_cross_entropy_with_logits, kpi=accuracy),
        ),
        network=network,
        parts=parts,
        data=data,
        batch_size=32,
        epochs=20,
        learning_rate=1e-2,
        description="Three tasks on synthetic data: a class and two functions of eight numbers.",
    )
