"""`nyuv2`: classes, depth and surface normals of indoor pictures, the dense benchmark of most papers on multi-task learning.

- Folder: DIR/{train,val}/{image,label,depth,normal}/{number}.npy, 795 + 654 frames of 288×384, as provided by MTAN's README.
  Any type is allowed: types are cast when a frame is read. A class is 0 to 12, or −1 or 255 for none; a depth is in metres,
  0 for none; a normal is a unit vector, 0 for none; an image is from 0 to 1, or bytes.
- Tasks: `segment`, 13 classes, by cross-entropy; `depth`, by the absolute error; `normals`, by 1 − the cosine. Pixels
  without a label do not count.
- KPIs: mean IoU; δ₁, the share of pixels whose depth is within a factor of 1.25; the share of pixels whose normal is within
  30°.
- Metrics, over the pixels of a split: mIoU and pixel accuracy in percent; absolute (m) and relative error of depth; mean and
  median angle, and the shares of pixels within 11.25°, 22.5° and 30° in percent. With `--protocol published` those of depth
  and normals are means over batches of the batches' values, as in the published code; in LibMTL's, only those of depth.
- Splits: 10% of train, selected by a hash of the names, is for validation, and val for testing.
- Network: SegNet with MTAN's attention; others are `segnet` (one head per task), `deeplab` (a dilated ResNet-50 with
  DeepLab's heads; `deeplab:weights=FILE` reads the ResNet's weights), and all in `hardfirst.networks` on SegNet's features.
  The first three accept a `width`, 64 by default.
- Recipe: Adam at 1e-4, halved every 100 of 200 epochs, batches of 2, with random crops and flips. `nyuv2:deeplab` uses
  LibMTL's recipe: its network is `deeplab`, the batch size is 8, the last batch is dropped, weight decay is 1e-5, and there
  is no augmentation.

Note:
    Depths below 0 count as missing, while the published code uses them. A median angle is within 0.005° of the exact one.
    `--protocol published` also averages the last ten epochs for `nyuv2:deeplab`; LibMTL does not say from which epoch its
    figures are.

References:
    Silberman, Hoiem, Kohli and Fergus, Indoor Segmentation and Support Inference from RGBD Images, ECCV 2012;
    Liu, Johns and Davison, End-to-End Multi-Task Learning with Attention, CVPR 2019, and its code (layout, losses, network);
    Liu, Liu, Jin, Stone and Liu, Conflict-Averse Gradient Descent for Multi-task Learning, NeurIPS 2021, and its code (the
    augmentation);
    Lin and Zhang, LibMTL: A Python Library for Multi-Task Learning, JMLR 2023 (the recipe of `nyuv2:deeplab`).
"""

from pathlib import Path

from hardfirst.problems._base import Problem
from hardfirst.problems.fields._dense import DEPTH, NORMALS, SEGMENT, Layout
from hardfirst.problems.fields._dense_check import describe
from hardfirst.problems.fields._dense_problem import dense_problem

LAYOUT = Layout(
    name="NYUv2",
    classes=13,
    folders={"image": ("image",), SEGMENT: ("label",), DEPTH: ("depth",), NORMALS: ("normal",)},
    frames=(795, 654),
    size=(288, 384),
    depth="depth in metres",
    source="The README of MTAN, github.com/lorenmt/mtan, says where to get it.",
)

SINGLE_TASK = {
    SEGMENT: {"mIoU": 38.30, "pixel accuracy": 63.76},
    DEPTH: {"absolute error": 0.6754, "relative error": 0.2780},
    NORMALS: {
        "mean angle": 25.01,
        "median angle": 19.21,
        "within 11.25°": 30.14,
        "within 22.5°": 57.20,
        "within 30°": 69.15,
    },
}
"""Published results of single-task SegNets, from the papers on the segnet line."""


def problem(folder: Path, line: str = "segnet") -> Problem:
    """Return the problem of a folder, without reading a frame.

    Args:
        folder: the folder with train and val.
        line: the published code whose network and recipe to use: "segnet", or "deeplab" for LibMTL's.

    Raises:
        InputError: the folder has another layout.
    """
    is_segnet = line == "segnet"
    return dense_problem(
        LAYOUT,
        folder,
        line=line,
        name="nyuv2" if is_segnet else f"nyuv2:{line}",
        batch_size=2 if is_segnet else 8,
        description="Indoor pictures with 13 classes, depth and surface normals, 288×384.",
        single_task=SINGLE_TASK if is_segnet else {},
    )


def check(folder: Path, line: str = "segnet") -> list[str]:
    """Open all files, read some, and describe the contents.

    Args:
        folder: the folder with train and val.
        line: as for `problem`; the folder is the same.

    Raises:
        InputError: a folder or file is missing or damaged, or has invalid values.
    """
    return describe(LAYOUT, folder)
