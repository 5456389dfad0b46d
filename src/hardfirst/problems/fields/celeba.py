"""`celeba`: forty yes-or-no attributes of 202,599 pictures of faces, 64×64; the benchmark with the most tasks.

Splits: the published ones, 162,770 pictures for training, 19,867 for validation and 19,962 for testing. No other validation
split is used, so `--protocol published` has the same splits and selects the epoch in the same way.

Pictures are resized bilinearly from 178×218, divided by 255, and not augmented. They are decoded once, into a file of 2.5
GB in the cache folder that is then mapped into memory.

Network, recipe and measure are those of the code of FAMO and FairGrad: nine layers and a linear head for each attribute,
Adam at 3e-4, batches of 256, 15 epochs, and the F1 score of each attribute over the split at a threshold of 0.5. A KPI of a
batch would say little, since some attributes are rare: methods that use KPIs get those of the last validation.

Note:
    On a split without positives F1 is undefined here, and 0 in the published code.

References:
    Liu, Luo, Wang and Tang, Deep Learning Face Attributes in the Wild, ICCV 2015;
    Liu, Feng, Stone and Liu, FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023 (network and recipe; its authors give
    the values of single-task networks in issue 2 of github.com/Cranial-XIX/FAMO).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.kpi import f1
from hardfirst.networks import HardSharing, Parts, image_layer, number_head
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import TensorTable
from hardfirst.problems._published import KPI, Published, PublishedMeasure
from hardfirst.problems._task import Task
from hardfirst.problems.fields import FIELDS
from hardfirst.problems.fields._celeba_files import ATTRIBUTES, SINGLE_TASK, SPLITS, check, columns, files
from hardfirst.problems.fields._pictures import Pixels, mean_head
from hardfirst.recipes import Recipe

__all__ = ["check", "data", "problem"]


def problem(folder: Path) -> Problem:
    """Return the problem: 40 tasks and 162,770 pictures for training.

    Args:
        folder: the folder of the data, in the original layout or torchvision's.

    Raises:
        InputError: the folder has neither layout.
    """
    files(folder)
    splits = partial(data, folder)
    return Problem(
        name="celeba",
        tasks=tuple(
            Task(name, F.binary_cross_entropy_with_logits, partial(f1, threshold=0.0), kpi_from="validation")
            for name in ATTRIBUTES
        ),
        network=network,
        parts=parts,
        data=splits,
        batch_size=256,
        epochs=15,
        learning_rate=3e-4,
        description=FIELDS["celeba"].description,
        recipe=Recipe("adam"),
        published=Published(
            splits,
            {
                name: (PublishedMeasure(KPI, higher_is_better=True, single_task=value),)
                for name, value in SINGLE_TASK.items()
            },
            last=None,
        ),
    )


# The network


def network() -> HardSharing:
    """Return seven convolutions and two linear layers that all attributes share, and a linear head for each."""
    trunk = nn.Sequential(
        first_convolutions(),
        *_convolution(256, 512),
        *_convolution(512, 512),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        *_linear(512, 512),
        *_linear(512, 512),
    )
    return HardSharing(trunk, {name: number_head(512) for name in ATTRIBUTES})


def first_convolutions() -> nn.Module:
    """Return the first five convolutions: bytes [pictures, 3, 64, 64] → features [pictures, 256, 8, 8]."""
    return nn.Sequential(
        Pixels(),
        *_convolution(3, 64),
        nn.MaxPool2d(2),
        *_convolution(64, 128),
        *_convolution(128, 128),
        nn.MaxPool2d(2),
        *_convolution(128, 256),
        *_convolution(256, 256),
        nn.MaxPool2d(2),
    )


def _convolution(before: int, channels: int) -> list[nn.Module]:
    return [nn.Conv2d(before, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]


def _linear(before: int, channels: int) -> list[nn.Module]:
    return [nn.Linear(before, channels, bias=False), nn.BatchNorm1d(channels), nn.ReLU()]


def parts() -> Parts:
    """Return the parts of other networks: the first five convolutions, and two of 512 features, as in the own network."""
    heads = dict.fromkeys(ATTRIBUTES, partial(mean_head, head=number_head))
    return Parts(first_convolutions, 256, image_layer, width=512, depth=2, heads=heads)


# The data


def data(folder: Path) -> Splits:
    """Return the three splits: pictures uint8 [n, 3, 64, 64], mapped into memory, and targets 0.0 or 1.0.

    Args:
        folder: the folder of the data.

    Raises:
        InputError: a file is missing, damaged or invalid; or the cache cannot be written.
    """
    found = columns(folder)
    return Splits(**{split: _table(found, split) for split in SPLITS})


def _table(found: Mapping[str, Tensor], split: str) -> TensorTable:
    answers = found[f"{split}.attributes"].T.contiguous().float()
    return TensorTable(found[f"{split}.pictures"], dict(zip(ATTRIBUTES, answers.unbind(), strict=True)))
