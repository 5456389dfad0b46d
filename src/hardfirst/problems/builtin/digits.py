"""`digits`: two hard tasks and their sum, with six easy tasks on the same narrow trunk: the case DTP was designed for.

An image contains two of scikit-learn's 1,797 handwritten digits, a left and a right one, each at a random height. They share
the four middle columns, where their brightness adds up. The tasks are the left digit, the right digit, their sum, and six
comparisons of the brightness of two regions, which a network learns within a few epochs. All nine tasks share 16 features.

No source image is in two splits. Random numbers are hashes of their purpose, so the images are the same, byte for byte, on
every machine and with every version of every package.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its test
part), as returned by `sklearn.datasets.load_digits`: 8×8 pixels from 0 to 16.
"""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import MissingPackage
from hardfirst.kpi import accuracy, skips, within
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import IGNORE, TensorTable
from hardfirst.problems._task import Metric, Task

IMAGES = {"train": 4000, "validation": 1000, "test": 1500}
HEIGHT, WIDTH = 10, 12
DIGIT = 8  # pixels per side
CLASSES = {"left": 10, "right": 10, "sum": 19}


def problem() -> Problem:
    """Return the problem: 9 tasks and 4,000 training images; a run takes some seconds on one core.

    Example:
        >>> problem().task_names[:4]
        ('left', 'right', 'sum', 'top_half')
    """
    return Problem(
        name="digits",
        tasks=(
            Task("left", loss=F.cross_entropy, kpi=accuracy),
            Task("right", loss=F.cross_entropy, kpi=accuracy),
            Task("sum", loss=F.cross_entropy, kpi=within_one, metrics={"accuracy": Metric(accuracy)}),
            *(Task(name, loss=F.binary_cross_entropy_with_logits, kpi=accuracy) for name in _regions()),
        ),
        network=network,
        data=data,
        batch_size=64,
        epochs=40,
        learning_rate=3e-3,
        description="Two overlapping handwritten digits and their sum, and six easy questions about the pixels.",
        networks={"wide": partial(network, features=64)},
        parts=parts,
    )


@skips
def within_one(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of predicted classes that are off by at most 1.

    Args:
        output: logits [batch, classes].
        target: classes [batch]; −100 marks a missing label.
    """
    return within(output.argmax(1), target.float().masked_fill(target == IGNORE, torch.nan), threshold=1)


def network(features: int = 16) -> HardSharing:
    """Return a trunk with 16 features, fewer than the nine tasks need, and a linear head for each task.

    The network called "wide" has 64 features.
    """
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(HEIGHT * WIDTH, 64), nn.ReLU(), nn.Linear(64, features), nn.ReLU())
    return HardSharing(trunk, {task: head(features) for task, head in heads().items()})


def heads() -> dict[str, Callable[[int], nn.Module]]:
    """Return a linear head for each task."""
    return {task: class_head(classes) for task, classes in CLASSES.items()} | dict.fromkeys(_regions(), number_head)


def parts() -> Parts:
    """Return the parts of other networks: the pixels, and two layers of 40 features."""
    return Parts(stem=nn.Flatten, channels=HEIGHT * WIDTH, layer=vector_layer, width=40, depth=2, heads=heads())


def data() -> Splits:
    """Return the three splits: inputs [images, 1, 10, 12] float32, classes int64, comparisons 0.0 or 1.0.

    Raises:
        MissingPackage: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingPackage('The digits come with scikit-learn: pip install "hardfirst[cli]".') from None
    pixels, digits = (torch.as_tensor(array).long() for array in load_digits(return_X_y=True))
    sources = pixels.view(-1, DIGIT, DIGIT)
    return Splits(**{split: _table(sources, digits, compositions(split, len(sources))) for split in IMAGES})


class Composition(NamedTuple):
    """The composition of an image: the indices of its two source images, and their first rows."""

    left: int
    right: int
    left_row: int
    right_row: int


def source_split(sources: int) -> dict[str, list[int]]:
    """Divide the source images into splits of about 60%, 20% and 20%.

    >>> {split: len(indices) for split, indices in source_split(1797).items()}
    {'train': 1078, 'validation': 360, 'test': 359}
    """
    order = sorted(range(sources), key=lambda source: _draw("source", source))
    first, second = round(0.6 * sources), round(0.8 * sources)
    return {"train": order[:first], "validation": order[first:second], "test": order[second:]}


def compositions(split: str, sources: int) -> list[Composition]:
    """Choose the composition of each image of a split.

    Args:
        split: "train", "validation" or "test".
        sources: the number of source images.
    """
    indices, rows = source_split(sources)[split], HEIGHT - DIGIT + 1
    return [
        Composition(
            left=indices[_draw(split, image, "left") % len(indices)],
            right=indices[_draw(split, image, "right") % len(indices)],
            left_row=_draw(split, image, "left row") % rows,
            right_row=_draw(split, image, "right row") % rows,
        )
        for image in range(IMAGES[split])
    ]


def _draw(*purpose: str | int) -> int:
    """Return a pseudo-random number below 2⁶⁴ that depends only on its purpose."""
    return int.from_bytes(sha256(repr(purpose).encode()).digest()[:8], "big")


def _table(sources: Tensor, digits: Tensor, images: list[Composition]) -> TensorTable:
    left, right, left_row, right_row = torch.tensor(images).T
    light = _placed(sources[left], left_row, 0) + _placed(sources[right], right_row, WIDTH - DIGIT)
    targets = {"left": digits[left], "right": digits[right], "sum": digits[left] + digits[right]}
    comparisons = {
        task: (light[:, region].sum(1) > light[:, other].sum(1)).float() for task, (region, other) in _regions().items()
    }
    # about zero mean and unit variance: with positive inputs even the easy tasks learn slowly
    return TensorTable((light.unsqueeze(1).float() - 5) / 6.5, targets | comparisons)


def _placed(digits: Tensor, rows: Tensor, column: int) -> Tensor:
    """Place digits [images, 8, 8] on dark canvases [images, 10, 12], their upper left corners at `rows` and `column`."""
    canvas = digits.new_zeros(len(digits), HEIGHT, WIDTH)
    for row in range(HEIGHT - DIGIT + 1):
        selected = rows == row
        canvas[selected, row : row + DIGIT, column : column + DIGIT] = digits[selected]
    return canvas


def _regions() -> dict[str, tuple[Tensor, Tensor]]:
    """Return, for each comparison, the region that may be brighter and the other one, as masks [10, 12]."""
    row, column = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    top, left = row < 5, column < 6
    middle_rows, middle_columns = (row >= 3) & (row < 7), (column >= 4) & (column < 8)
    return {
        "top_half": (top, ~top),
        "left_half": (left, ~left),
        "diagonal": (top == left, top != left),
        "middle_rows": (middle_rows, ~middle_rows),
        "middle_columns": (middle_columns, ~middle_columns),
        "left_edge": (column < 3, column >= 9),
    }
