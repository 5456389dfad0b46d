"""`digits`: two hard tasks and their sum, crowded by six easy ones on a narrow trunk: the case DTP was made for.

An image holds two of scikit-learn's 1,797 real handwritten digits, a left and a right one, each at a random height; they
share the four middle columns, where their light adds up. Asked are the left digit, the right digit, their sum, and six
questions of the sort "is this region brighter than that one?", which a network answers within a few epochs. All nine
tasks go through 16 features.

No source image is in two splits. What is drawn is a hash of what it is drawn for, so that the images are the same, byte
for byte, on every machine and with every version of every package.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its test
part), as `sklearn.datasets.load_digits` gives it: 8×8 pixels of 0 to 16.
"""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, within
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems._base import Metric, Problem, Splits, Task
from hardfirst.problems._data import TensorTable

IMAGES = {"train": 4000, "validation": 1000, "test": 1500}
HEIGHT, WIDTH = 10, 12
DIGIT = 8  # pixels a side
CLASSES = {"left": 10, "right": 10, "sum": 19}


def problem() -> Problem:
    """The problem: 9 tasks, 4,000 training images, some seconds a run on one core.

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
            *(Task(question, loss=F.binary_cross_entropy_with_logits, kpi=accuracy) for question in _regions()),
        ),
        network=network,
        data=data,
        batch_size=64,
        epochs=40,
        learning_rate=3e-3,
        description="Two overlapping handwritten digits and their sum, beside six easy questions about the pixels.",
        networks={"wide": partial(network, features=64)},
        parts=parts,
    )


def within_one(output: Tensor, target: Tensor) -> Tensor:
    """Share of classes missed by at most 1: `output` is logits [batch, classes], `target` classes [batch]."""
    return within(output.argmax(1), target, threshold=1)


def network(features: int = 16) -> HardSharing:
    """A trunk of 16 features, less than the nine tasks would like to have, and a linear head for each.

    The network called "wide" has 64 of them.
    """
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(HEIGHT * WIDTH, 64), nn.ReLU(), nn.Linear(64, features), nn.ReLU())
    return HardSharing(trunk, {task: head(features) for task, head in heads().items()})


def heads() -> dict[str, Callable[[int], nn.Module]]:
    """A linear head for each task."""
    return {task: class_head(classes) for task, classes in CLASSES.items()} | dict.fromkeys(_regions(), number_head)


def parts() -> Parts:
    """What networks are made of: the pixels, and two layers of 40 features."""
    return Parts(stem=nn.Flatten, channels=HEIGHT * WIDTH, layer=vector_layer, width=40, depth=2, heads=heads())


def data() -> Splits:
    """The three splits: inputs [images, 1, 10, 12] float32, classes int64, answers 0.0 or 1.0.

    Raises:
        InputError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError('The digits come with scikit-learn: pip install "hardfirst[cli]".') from None
    pixels, digits = (torch.as_tensor(array).long() for array in load_digits(return_X_y=True))
    sources = pixels.view(-1, DIGIT, DIGIT)
    return Splits(**{split: _table(sources, digits, compositions(split, len(sources))) for split in IMAGES})


class Composition(NamedTuple):
    """How one image is made: the indices of its two source images, and the rows where they begin."""

    left: int
    right: int
    left_row: int
    right_row: int


def source_split(sources: int) -> dict[str, list[int]]:
    """The source images of each split, about 60, 20 and 20 percent, each in one split only.

    >>> {split: len(indices) for split, indices in source_split(1797).items()}
    {'train': 1078, 'validation': 360, 'test': 359}
    """
    order = sorted(range(sources), key=lambda source: _draw("source", source))
    first, second = round(0.6 * sources), round(0.8 * sources)
    return {"train": order[:first], "validation": order[first:second], "test": order[second:]}


def compositions(split: str, sources: int) -> list[Composition]:
    """How each image of a split is made from so many source images."""
    choice, rows = source_split(sources)[split], HEIGHT - DIGIT + 1
    return [
        Composition(
            left=choice[_draw(split, image, "left") % len(choice)],
            right=choice[_draw(split, image, "right") % len(choice)],
            left_row=_draw(split, image, "left row") % rows,
            right_row=_draw(split, image, "right row") % rows,
        )
        for image in range(IMAGES[split])
    ]


def _draw(*purpose: str | int) -> int:
    """A number below 2⁶⁴ that depends on the purpose alone."""
    return int.from_bytes(sha256(repr(purpose).encode()).digest()[:8], "big")


def _table(sources: Tensor, digits: Tensor, made: list[Composition]) -> TensorTable:
    left, right, left_row, right_row = torch.tensor(made).T
    light = _placed(sources[left], left_row, 0) + _placed(sources[right], right_row, WIDTH - DIGIT)
    targets = {"left": digits[left], "right": digits[right], "sum": digits[left] + digits[right]}
    answers = {
        question: (light[:, one].sum(1) > light[:, other].sum(1)).float() for question, (one, other) in _regions().items()
    }
    # About zero mean and unit variance: with inputs that are all positive even the easy questions take long.
    return TensorTable((light.unsqueeze(1).float() - 5) / 6.5, targets | answers)


def _placed(digits: Tensor, rows: Tensor, column: int) -> Tensor:
    """Each digit [images, 8, 8] on a dark canvas [images, 10, 12], its upper left corner at its row and the column."""
    canvas = digits.new_zeros(len(digits), HEIGHT, WIDTH)
    for row in range(HEIGHT - DIGIT + 1):
        chosen = rows == row
        canvas[chosen, row : row + DIGIT, column : column + DIGIT] = digits[chosen]
    return canvas


def _regions() -> dict[str, tuple[Tensor, Tensor]]:
    """By question, the region that is to be brighter than the other, each as a mask [10, 12]."""
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
