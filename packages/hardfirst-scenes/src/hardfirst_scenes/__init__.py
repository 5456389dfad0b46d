"""`scenes`: segmentation, depth, surface normals and boxes of objects from one image, the kind of problem DTP is for.

Images are frames of 160×120 pixels from the maps of Freedoom, a free game of the Doom family. `_maps` defines the splits,
`_rendering` renders the frames once with vizdoom, `_view` computes depth and normals from a map's floor plan, and `_labels`
defines the classes. There are two sizes, each with a name:

- `scenes`: 4,464 frames for training, 651 for validation, 1,209 for testing;
- `scenes:small`: 408, 98 and 156, for laptops and CI.

Tasks and their KPIs: `segment`, six classes, mean IoU; `depth`, share of pixels within a factor of 1.25; `normals`, share of
pixels within 30°; `boxes` of monsters and items, AP50 by pycocotools, which is meaningless on a batch and so is taken from
the validation split. Pixels whose surface the floor plan does not explain have no label, see `_labels`.

Network: a U-Net with 154,000 weights and a head for each task, 226,000 in all. The head for boxes is a one-stage detector
like RetinaNet and FCOS, see `_network` and `_detection`. Its classes are trained with the sigmoid focal loss; `Task.losses`
has the losses that Lin et al. compare it with, for `hardfirst study losses`.

Source: Freedoom (BSD 3-Clause), as distributed in the Python package vizdoom (MIT).

References:
    Guo et al., Dynamic Task Prioritization for Multitask Learning, ECCV 2018 (dense tasks of one image);
    Silberman, Hoiem, Kohli and Fergus, Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012 (NYUv2, which
    has the same three dense tasks);
    Kempka et al., ViZDoom: A Doom-based AI Research Platform for Visual Reinforcement Learning, CIG 2016.
"""

from collections.abc import Mapping
from functools import partial

from torch import Tensor

from hardfirst.problems import IGNORE, Batch, LossOption, Metric, Problem, Splits, Task, TensorTable
from hardfirst.records import LossShare
from hardfirst_scenes import _labels
from hardfirst_scenes._average_precision import AveragePrecision
from hardfirst_scenes._detection import EXAMPLE_LOSSES, Example, cell_losses, detection_loss
from hardfirst_scenes._maps import SOURCE, Size
from hardfirst_scenes._measures import (
    angle_within,
    delta,
    depth_loss,
    mean_angle,
    mean_iou,
    normals_loss,
    relative_error,
    segment_loss,
)
from hardfirst_scenes._network import network, parts
from hardfirst_scenes._rendering import load_frames
from hardfirst_scenes._sample_page import write_sample_page

__all__ = ["SOURCE", "FrameTable", "data", "loss_share", "network", "parts", "problem", "small", "write_sample_page"]

__version__ = "0.1.0"

_error = partial(Metric, higher_is_better=False)

HARDEST = (0.1, 1, 3, 10, 30, 60)
"""Percentages of the hardest cells whose share of the loss is reported."""


def problem() -> Problem:
    """Return the full problem: 4 tasks and 4,464 training frames.

    Example:
        >>> problem().task_names
        ('segment', 'depth', 'normals', 'boxes')
    """
    return _problem("scenes", "full", epochs=8)


def small() -> Problem:
    """Return the problem with 408 training frames.

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
            Task("boxes", loss=detection_loss, kpi=AveragePrecision(), kpi_from="validation", losses=_losses()),
        ),
        network=network,
        parts=parts,
        data=partial(data, size),
        batch_size=8,
        epochs=epochs,
        learning_rate=2e-3,
        description="Surfaces, depth, normals and objects of rendered rooms, from one image each.",
        source=SOURCE,
        sample_page=partial(write_sample_page, size=size),
    )


class FrameTable(TensorTable):
    """The frames of one split, whose unlabelled pixels get the class -100 when they are indexed.

    Example:
        >>> import torch
        >>> classes = torch.tensor([[[0, 255]]], dtype=torch.uint8)
        >>> frames = FrameTable(torch.zeros(1, 3, 1, 2, dtype=torch.uint8), {"segment": classes})
        >>> frames[0][1]["segment"].tolist()
        [[0, -100]]
    """

    def __getitem__(self, index: int | slice | Tensor) -> Batch:
        inputs, targets = super().__getitem__(index)
        classes = targets["segment"].short()
        return inputs, {**targets, "segment": classes.masked_fill(classes == _labels.IGNORE, IGNORE)}


def data(size: Size = "full") -> Splits:
    """Return the three splits: images uint8 [frames, 3, 120, 160], and targets for `_measures` and `_detection`.

    The first call renders the frames, which takes from one to several minutes, and stores them.

    Args:
        size: "small" or "full".

    Raises:
        InputError: vizdoom is not installed, or its maps are not the published ones.

    Example:
        >>> splits = data("small")  # doctest: +SKIP
        >>> len(splits.train)  # doctest: +SKIP
        408
    """
    return Splits(**{split: _table(tensors) for split, tensors in load_frames(size).items()})


def _table(tensors: Mapping[str, Tensor]) -> FrameTable:
    targets = {task: tensors[task] for task in ("depth", "normals", "boxes")}
    return FrameTable(tensors["rgb"], {"segment": tensors["classes"], **targets})


# The distribution of a loss over easy and hard cells


def loss_share(output: Tensor, target: Tensor, *, example: Example, objects: bool, hardest: float) -> Tensor:
    """Return the share of the classes' loss that the hardest cells contribute: Lin et al., figure 4.

    Args:
        output: [frames, cells, C + 4], as for `detection_loss`.
        target: [frames, objects, 5], as for `detection_loss`.
        example: the loss of the classes.
        objects: select the cells with an object (True) or the background (False).
        hardest: the percentage of these cells, from 0 to 100.

    Example:
        >>> import torch
        >>> output, target = torch.zeros(1, 1500, 6), torch.full((1, 20, 5), -1.0)
        >>> float(loss_share(output, target, example=EXAMPLE_LOSSES["balanced"], objects=False, hardest=10))
        0.1
    """
    losses, of_objects = cell_losses(output, target, example=example)
    selected = losses[of_objects == objects].double()
    count = round(len(selected) * hardest / 100)
    return selected.topk(count).values.sum() / selected.sum()


def _losses() -> dict[str, LossOption]:
    """Return the losses for training a detector, each with metrics of how it is distributed over the cells.

    The network trained with γ = 2 also has the metrics of all other losses: on the same cells only the loss differs.
    """
    options = {}
    for name, example in EXAMPLE_LOSSES.items():
        metrics = _shares(example)
        if name == "focal_2":
            for other, other_example in EXAMPLE_LOSSES.items():
                metrics |= _shares(other_example, under=other)
        options[name] = LossOption(partial(detection_loss, example=example), metrics)
    return options


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
