"""The tasks and networks that the field's dense benchmarks share, and their two recipes."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from hardfirst import kpi
from hardfirst.errors import unknown
from hardfirst.problems._base import Problem
from hardfirst.problems._published import Published, PublishedMeasure, batch_mean
from hardfirst.problems._task import Measure, Metric, Task
from hardfirst.problems.fields import _dense_measures as measures
from hardfirst.problems.fields import _dense_networks as networks
from hardfirst.problems.fields._dense import DEPTH, NORMALS, SEGMENT, Layout, published_splits, splits
from hardfirst.recipes import Recipe

LINES = ("segnet", "deeplab")
"""The two lines of published code: SegNet with MTAN's attention, and LibMTL's dilated ResNet-50 with DeepLab's heads."""

_ERRORS: Mapping[str, Mapping[str, Measure]] = {
    DEPTH: {"absolute error": measures.absolute_error, "relative error": measures.relative_error},
    NORMALS: {"mean angle": measures.mean_angle, "median angle": measures.median_angle},
}
_SHARES: Mapping[str, Mapping[str, Measure]] = {
    SEGMENT: {"mIoU": kpi.mean_iou, "pixel accuracy": kpi.accuracy},
    NORMALS: {f"within {degrees}°": measures.angle_below(degrees) for degrees in (11.25, 22.5, 30)},
}
_CONFUSION = (SEGMENT,)  # its metrics are of one confusion matrix over the split, in the published code too


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
        layout: of the folder.
        folder: where the data lies.
        line: whose network and recipe, one of `LINES`.
        name: the problem's.
        batch_size: examples per training step.
        description: one sentence.
        single_task: for each task and metric the published value of a single-task network, where there is one.

    Raises:
        InputError: the folder has not this layout, or there is no such line.
    """
    if line not in LINES:
        raise unknown(f"line of {layout.name}:", line, LINES)
    layout.require(folder)
    maps = {task: {SEGMENT: (layout.classes, False), DEPTH: (1, False), NORMALS: (3, True)}[task] for task in layout.tasks}
    own = {each: partial(getattr(networks, each), maps) for each in ("segnet", "segnet_mtan", "deeplab")}
    is_segnet = line == "segnet"
    schedule = "step:every=100,factor=0.5"
    return Problem(
        name=name,
        tasks=tuple(map(_task, layout.tasks)),
        network=own["segnet_mtan" if is_segnet else "deeplab"],
        networks=own,
        parts=partial(networks.segnet_parts if is_segnet else networks.deeplab_parts, maps),
        data=partial(splits, layout, folder, augmented=is_segnet),
        batch_size=batch_size,
        epochs=200,
        learning_rate=1e-4,
        description=description,
        recipe=Recipe(schedule=schedule)
        if is_segnet
        else Recipe("adam:weight_decay=1e-5", schedule=schedule, drop_last=True),
        published=Published(
            data=partial(published_splits, layout, folder, augmented=is_segnet),
            measures={task: _measures(task, single_task.get(task, {})) for task in layout.tasks},
            metrics={task: _metrics(task, averaged=True) for task in layout.tasks if task not in _CONFUSION},
            evaluation_batch=batch_size,
        ),
    )


def _task(name: str) -> Task:
    from torch.nn import functional as F

    if name == SEGMENT:
        return Task(name, F.cross_entropy, kpi.mean_iou, _metrics(name))
    if name == DEPTH:
        return Task(name, measures.depth_loss, kpi.delta, _metrics(name))
    return Task(name, measures.normals_loss, measures.angle_below(30), _metrics(name))


def _measures(task: str, single_task: Mapping[str, float]) -> tuple[PublishedMeasure, ...]:
    return tuple(
        PublishedMeasure(name, metric.higher_is_better, single_task.get(name)) for name, metric in _metrics(task).items()
    )


def _metrics(task: str, *, averaged: bool = False) -> dict[str, Metric]:
    """A task's metrics in the field's units: over the split, or averaged over batches as the published code does."""
    shares = {name: measures.in_percent(share) for name, share in _SHARES.get(task, {}).items()}
    average = batch_mean if averaged else lambda measure: measure
    return {
        name: Metric(average(measure), higher_is_better=name in shares)
        for name, measure in {**_ERRORS.get(task, {}), **shares}.items()
    }
