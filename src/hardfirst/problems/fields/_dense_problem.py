"""The tasks and networks that the published dense benchmarks share, and their two recipes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import nn

from hardfirst import kpi
from hardfirst.networks import Parts
from hardfirst.problems._base import Problem
from hardfirst.problems._published import Published, PublishedMeasure, batch_mean
from hardfirst.problems._task import Measure, Metric, Task
from hardfirst.problems.fields import _dense_measures as measures
from hardfirst.problems.fields import _dense_networks as networks
from hardfirst.problems.fields._dense import DEPTH, NORMALS, SEGMENT, Layout, published_splits, splits
from hardfirst.recipes import Recipe

_ERRORS: Mapping[str, Mapping[str, Measure]] = {
    DEPTH: {"absolute error": measures.absolute_error, "relative error": measures.relative_error},
    NORMALS: {"mean angle": measures.mean_angle, "median angle": measures.median_angle},
}
_SHARES: Mapping[str, Mapping[str, Measure]] = {
    SEGMENT: {"mIoU": kpi.mean_iou, "pixel accuracy": kpi.accuracy},
    NORMALS: {f"within {degrees}°": measures.angle_below(degrees) for degrees in (11.25, 22.5, 30)},
}
_NETWORKS: Mapping[str, Callable[..., nn.Module]] = {
    "segnet": networks.segnet,
    "segnet_mtan": networks.segnet_mtan,
    "deeplab": networks.deeplab,
}
_HALVED = "step:every=100,factor=0.5"


@dataclass(frozen=True)
class Line:
    """A family of published code with its own network and recipe.

    Args:
        network: the name of its network, one of `_NETWORKS`.
        parts: parts with the same trunk.
        recipe: its recipe.
        augmented: whether training frames are changed at random.
        averages: for each task how its code averages metrics over batches; other tasks average over a split's pixels.
    """

    network: str
    parts: Callable[[networks.Maps], Parts]
    recipe: Recipe
    augmented: bool
    averages: Mapping[str, Callable[[Measure], Measure]]


LINES = {
    "segnet": Line(
        "segnet_mtan",
        networks.segnet_parts,
        Recipe(schedule=_HALVED),
        augmented=True,
        averages={DEPTH: batch_mean, NORMALS: batch_mean},
    ),
    "deeplab": Line(
        "deeplab",
        networks.deeplab_parts,
        Recipe("adam:weight_decay=1e-5", schedule=_HALVED, drop_last=True),
        augmented=False,
        averages={DEPTH: measures.by_examples},
    ),
}
"""SegNet with MTAN's attention, and LibMTL's dilated ResNet-50 with DeepLab's heads."""


def dense_problem(
    layout: Layout,
    folder: Path,
    *,
    line: str,
    name: str,
    batch_size: int,
    description: str,
    single_task: Mapping[str, Mapping[str, float]],
) -> Problem:
    """Return the problem of a folder, without reading a frame.

    Args:
        layout: the layout of the folder.
        folder: the folder of the data.
        line: the code whose network and recipe to use, one of `LINES`.
        name: the name of the problem.
        batch_size: the number of examples per training step.
        description: one sentence.
        single_task: for each task and metric the published value of a single-task network, if there is one.

    Raises:
        InputError: the folder has another layout.
    """
    layout.require(folder)
    own, maps = LINES[line], {task: _map(task, layout) for task in layout.tasks}
    by_name = {each: partial(network, maps) for each, network in _NETWORKS.items()}
    return Problem(
        name=name,
        tasks=tuple(map(_task, layout.tasks)),
        network=by_name[own.network],
        networks=by_name,
        parts=partial(own.parts, maps),
        data=partial(splits, layout, folder, augmented=own.augmented),
        batch_size=batch_size,
        epochs=200,
        learning_rate=1e-4,
        description=description,
        recipe=own.recipe,
        published=Published(
            data=partial(published_splits, layout, folder, augmented=own.augmented),
            measures={task: _measures(task, single_task.get(task, {})) for task in layout.tasks},
            metrics={task: _metrics(task, average) for task, average in own.averages.items() if task in layout.tasks},
            evaluation_batch=batch_size,
        ),
    )


def _map(task: str, layout: Layout) -> tuple[int, bool]:
    """Return the number of channels of a task's map, and whether they form a unit vector."""
    return {SEGMENT: (layout.classes, False), DEPTH: (1, False), NORMALS: (3, True)}[task]


def _task(name: str) -> Task:
    if name == SEGMENT:
        return Task(name, F.cross_entropy, kpi.mean_iou, _metrics(name))
    if name == DEPTH:
        return Task(name, measures.depth_loss, kpi.delta, _metrics(name))
    return Task(name, measures.normals_loss, measures.angle_below(30), _metrics(name))


def _measures(task: str, single_task: Mapping[str, float]) -> tuple[PublishedMeasure, ...]:
    return tuple(
        PublishedMeasure(name, metric.higher_is_better, single_task.get(name)) for name, metric in _metrics(task).items()
    )


def _metrics(task: str, average: Callable[[Measure], Measure] = lambda measure: measure) -> dict[str, Metric]:
    """Return a task's metrics in the usual units, over the split or averaged over batches by `average`."""
    shares = {name: measures.in_percent(share) for name, share in _SHARES.get(task, {}).items()}
    return {
        name: Metric(average(measure), higher_is_better=name in shares)
        for name, measure in {**_ERRORS.get(task, {}), **shares}.items()
    }
