"""`scenes`: segmentation, depth, surface normals and objects' boxes from one image, the kind of problem DTP was made for.

Images are frames of 160×120 pixels from the maps of Freedoom, a free game of the Doom kind. `_frames` says which maps are in
which split and how frames are rendered, once, by vizdoom; `_geometry` how depth and normals are found from a map's plan; and
`_labels` what the classes are. There are two sizes, with a name each:

- `scenes`: 4,464 frames for training, 651 for validation, 1,209 for testing;
- `scenes:small`: 408, 98 and 156, for laptops and CI.

Tasks and their KPIs: `segment`, six classes, mean IoU; `depth`, share of pixels within a factor of 1.25; `normals`, share of
pixels within 30°; `boxes` of monsters and items, AP50 by pycocotools, which means nothing on a batch and so comes from the
validation split. Pixels that are no surface known to the plan have no label, see `_labels`.

Network: a U-Net of 154,000 weights with a head for each task, 226,000 in all; the last is a one-stage detector in the manner
of RetinaNet and FCOS, see `_network` and `_detection`. Its classes are trained with the sigmoid focal loss; `Task.losses`
has what Lin et al. compare it with, for `hardfirst study losses`.

Source: Freedoom (BSD 3-Clause), as the Python package vizdoom (MIT) carries it.

References:
    Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018 (dense tasks of one image);
    Silberman, Hoiem, Kohli and Fergus, Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012 (NYUv2, whose
    three tasks these are);
    Kempka et al., ViZDoom: A Doom-based AI Research Platform for Visual Reinforcement Learning, CIG 2016.
"""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from hardfirst.problems._base import Choice, Metric, Problem, Splits, Task
from hardfirst.problems._data import IGNORE, Batch, TensorTable
from hardfirst.problems.scenes import _frames, _labels
from hardfirst.problems.scenes._detection import EXAMPLE_LOSSES, Example, average_precision, cell_losses, detection_loss
from hardfirst.problems.scenes._frames import SOURCE, Size
from hardfirst.problems.scenes._measures import (
    angle_within,
    delta,
    depth_loss,
    mean_angle,
    mean_iou,
    normals_loss,
    relative_error,
    segment_loss,
)
from hardfirst.problems.scenes._network import network, parts
from hardfirst.problems.scenes._sheet import sheet
from hardfirst.records import LossShare

__all__ = ["SOURCE", "Frames", "data", "loss_share", "network", "parts", "problem", "sheet", "small"]

_error = partial(Metric, higher_is_better=False)

HARDEST = (0.1, 1, 3, 10, 30, 60)
"""Per cent of the cells, hardest first, whose share of the loss is reported."""


def problem() -> Problem:
    """The problem in full: 4 tasks, 4,464 frames to train on.

    Example:
        >>> problem().task_names
        ('segment', 'depth', 'normals', 'boxes')
    """
    return _problem("scenes", "full", epochs=8)


def small() -> Problem:
    """The same with 408 frames to train on.

    Example:
        >>> small().name
        'scenes:small'
    """
    return _problem("scenes:small", "small", epochs=20)


def _problem(name: str, size: Size, *, epochs: int) -> Problem:
    return Problem(
        name=name,
        tasks=(
            Task("segment", loss=segment_loss, kpi=mean_iou),
            Task("depth", loss=depth_loss, kpi=delta, metrics={"abs_rel": _error(relative_error)}),
            Task("normals", loss=normals_loss, kpi=angle_within, metrics={"degrees": _error(mean_angle)}),
            Task("boxes", loss=detection_loss, kpi=average_precision, kpi_from="validation", losses=_losses()),
        ),
        network=network,
        parts=parts,
        data=partial(data, size),
        batch_size=8,
        epochs=epochs,
        learning_rate=2e-3,
        description="Surfaces, depth, normals and objects of rendered rooms, from one image each.",
        source=SOURCE,
        sheet=partial(sheet, size=size),
    )


class Frames(TensorTable):
    """Frames of one split; pixels without a class get the class -100 as they are taken."""

    def __getitem__(self, index: int | Tensor) -> Batch:
        inputs, targets = super().__getitem__(index)
        classes = targets["segment"].short()
        return inputs, {**targets, "segment": classes.masked_fill(classes == _labels.IGNORE, IGNORE)}


def data(size: Size = "full") -> Splits:
    """The three splits: bytes [frames, 3, 120, 160], and targets as `_measures` and `_detection` want them.

    The first call renders the frames, which takes a minute or several, and keeps them.

    Raises:
        InputError: vizdoom is not installed, or the maps are not those that were published.
    """
    return Splits(**{split: _table(found) for split, found in _frames.frames(size).items()})


def _table(found: Mapping[str, Tensor]) -> Frames:
    targets = {task: found[task] for task in ("depth", "normals", "boxes")}
    return Frames(found["rgb"], {"segment": found["classes"], **targets})


# How a loss is spread over easy and hard cells


def loss_share(output: Tensor, target: Tensor, *, example: Example, objects: bool, hardest: float) -> Tensor:
    """The share of the classes' loss that the hardest cells have: Lin et al., figure 4.

    Args:
        output: as for `detection_loss`.
        target: as for `detection_loss`.
        example: the loss of the classes.
        objects: whether of the cells with an object, or of the others.
        hardest: per cent of these cells.
    """
    losses, of_objects = cell_losses(output, target, example=example)
    found = losses[of_objects == objects].double()
    count = round(len(found) * hardest / 100)
    return found.topk(count).values.sum() / found.sum()


def _losses() -> dict[str, Choice]:
    """What a detector may be trained with, each with how its loss is spread over the cells of the trained network.

    For the network trained with γ = 2 that is told of all losses: the same cells, so that nothing but the loss differs.
    """
    found = {}
    for name, example in EXAMPLE_LOSSES.items():
        metrics = _shares(example)
        if name == "focal_2":
            for other, its in EXAMPLE_LOSSES.items():
                metrics |= _shares(its, under=other)
        found[name] = Choice(partial(detection_loss, example=example), metrics)
    return found


def _shares(example: Example, under: str | None = None) -> dict[str, Metric]:
    ending = "" if under is None else f" under {under}"
    shares = [
        (objects, LossShare(hardest, "objects" if objects else "background", under))
        for objects in (True, False)
        for hardest in HARDEST
    ]
    return {
        f"loss in the hardest {share.hardest:g} % of {share.kind}{ending}": Metric(
            partial(loss_share, example=example, objects=objects, hardest=share.hardest), test_only=True, share=share
        )
        for objects, share in shares
    }
