"""`cityscapes`: classes and inverse depth of street pictures of 128×256, the smaller of the published dense benchmarks.

- Folder: DIR/{train,val}/{image,label_7,depth}/{number}.npy, 2,975 + 500 frames, as provided by MTAN's README. If there is
  no label_7, label is read. Types are cast as for `nyuv2`. A class is 0 to 6, or −1 or 255 for none; a depth is inverse, 0
  for none.
- Tasks: `segment`, 7 classes, and `depth`, with the losses, KPIs and metrics of `nyuv2`: mean IoU, and δ₁, which is the same
  for inverse depths.
- Splits, networks and recipe are those of `nyuv2`, with batches of 8.

Note:
    Random crops divide the inverse depth by their scale, as the published code does, although that of a nearer surface is
    larger. Depths below 0 count as missing, while the published code uses them.

References:
    Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016;
    Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019, and its code.
"""

from pathlib import Path

from hardfirst.problems._base import Problem
from hardfirst.problems.fields._dense import DEPTH, SEGMENT, Layout
from hardfirst.problems.fields._dense_check import describe
from hardfirst.problems.fields._dense_problem import dense_problem

LAYOUT = Layout(
    name="Cityscapes",
    classes=7,
    folders={"image": ("image",), SEGMENT: ("label_7", "label"), DEPTH: ("depth",)},
    frames=(2975, 500),
    size=(128, 256),
    depth="inverse depth",
    source="The README of MTAN, github.com/lorenmt/mtan, says where to get it.",
)

SINGLE_TASK = {
    SEGMENT: {"mIoU": 74.01, "pixel accuracy": 93.16},
    DEPTH: {"absolute error": 0.0125, "relative error": 27.77},
}
"""Published results of single-task SegNets, from the papers on the segnet line."""


def problem(folder: Path) -> Problem:
    """Return the problem of a folder, without reading a frame.

    Args:
        folder: the folder with train and val.

    Raises:
        InputError: the folder has another layout.
    """
    return dense_problem(
        LAYOUT,
        folder,
        line="segnet",
        name="cityscapes",
        batch_size=8,
        description="Street pictures with 7 classes and inverse depth, 128×256.",
        single_task=SINGLE_TASK,
    )


def check(folder: Path) -> list[str]:
    """Open all files, read some, and describe the contents.

    Args:
        folder: the folder with train and val.

    Raises:
        InputError: a folder or file is missing or damaged, or has invalid values.
    """
    return describe(LAYOUT, folder)
