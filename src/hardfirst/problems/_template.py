"""A problem of your own. It runs as it is; put your data, network and tasks in the place of the made-up ones.

    hardfirst compare FILE              which balancing method helps on it, if any
    hardfirst train FILE --balancer dtp one network

What is checked before training starts: names, shapes, the range of classes, and that KPIs are in [0, 1].
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.kpi import accuracy, within
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems import Metric, Problem, Splits, Task, TensorTable


def data() -> Splits:
    """Three data sets of (inputs, {task: target}). Called in every run, and the same every time.

    TensorTable is for what fits into memory. Any torch Dataset does whose items are (inputs, {"colour": ..., "size": ...}).
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(600, 8, generator=generator)
    colour = inputs[:, :3].argmax(1)  # a class: int64, 0, 1 or 2
    size = inputs[:, 3] * inputs[:, 4]  # a number: float32
    ripe = (inputs[:, 5:].sum(1) > 0).float()  # yes or no: 1.0 or 0.0

    # Labels may be missing: -100 for a class, NaN for a number.
    colour[::7] = -100
    size[::3] = math.nan

    targets = {"colour": colour, "size": size, "ripe": ripe}

    def split(rows: slice) -> TensorTable:
        return TensorTable(inputs[rows], {task: target[rows] for task, target in targets.items()})

    return Splits(train=split(slice(0, 360)), validation=split(slice(360, 480)), test=split(slice(480, 600)))


def network() -> nn.Module:
    """A fresh network; its output is a dict with an entry for each task. HardSharing is a trunk with a head for each.

    A number's output is [batch], the shape of its target; [batch, 1] would be refused.
    """
    trunk = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    return HardSharing(trunk, {"colour": nn.Linear(32, 3), "size": number_head(32), "ripe": number_head(32)})


def parts() -> Parts:
    """What other networks can be made of, for `--network mmoe` and such; leave it out if they are not wanted."""
    heads = {"colour": class_head(3), "size": number_head, "ripe": number_head}
    return Parts(stem=nn.Identity, channels=8, layer=vector_layer, width=32, depth=2, heads=heads)


def close(output: Tensor, target: Tensor) -> Tensor:
    """A KPI of your own: a number in [0, 1], 1 is best. Here the share of predictions that are off by at most a half."""
    return within(output, target, threshold=0.5)


def problem() -> Problem:
    """What hardfirst calls: the tasks with their losses and KPIs, and how to train."""
    return Problem(
        name="fruit",
        tasks=(
            Task("colour", loss=F.cross_entropy, kpi=accuracy),
            # `metrics` are reported besides, in their own units
            Task("size", loss=F.mse_loss, kpi=close, metrics={"MAE": Metric(F.l1_loss, higher_is_better=False)}),
            Task("ripe", loss=F.binary_cross_entropy_with_logits, kpi=accuracy),
        ),
        network=network,
        parts=parts,
        data=data,
        batch_size=32,
        epochs=20,
        learning_rate=1e-2,
        description="Three made-up questions about eight numbers.",
    )
