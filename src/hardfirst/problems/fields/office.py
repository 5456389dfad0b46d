"""`office_31` and `office_home`: the same objects in three or four kinds of pictures, each kind a task with its own data.

Office-31 has 4,110 pictures of 31 classes, Office-Home 15,500 of 65. Each kind (domain) is a data set: a batch comes from
one of them, in turn, and trains only its task. LibMTL's lists assign the pictures to training, validation and testing, 60%,
20% and 20% of each domain, so no other validation split is used. The lists are in DIR, or in DIR/data_txt/office-31 (or
office-home) as in LibMTL. A folder "Real World", as in Office-Home, is read in place of the lists' Real_World.

Pictures are resized bilinearly to 224×224, ignoring their proportions, and normalized like those of ImageNet; there is no
augmentation. They are decoded once, into the cache folder, 0.6 and 2.3 GB, and mapped into memory.

Network and recipe are LibMTL's: ResNet-18, the mean over positions, a layer of 512 features with batch norm, ReLU and
dropout of 0.5, and a linear head for each domain; Adam at 1e-4 with weight decay 1e-5, batches of 64, 100 epochs. LibMTL
starts with weights trained on ImageNet: `--network own:weights=FILE` reads a local file with the names of torchvision or
timm; without one the network starts with random weights, which is a different problem.

Note:
    LibMTL takes a step on a batch of each domain together, until the largest domain is used up. Here a step has one domain,
    and an epoch as many batches as all domains have together, in equal parts. A method that combines the tasks' gradients
    sees one gradient per step, and has nothing to combine.

References:
    Saenko, Kulis, Fritz and Darrell, Adapting Visual Category Models to New Domains, ECCV 2010;
    Venkateswara, Eusebio, Chakraborty and Panchanathan, Deep Hashing Network for Unsupervised Domain Adaptation, CVPR 2017;
    LibMTL, https://github.com/median-research-group/LibMTL (lists, network and recipe).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError, short
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing, Parts, class_head, image_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import TensorTable
from hardfirst.problems._task import Task
from hardfirst.problems.fields import FIELDS, lacks
from hardfirst.problems.fields._mapped import Chunk, mapped
from hardfirst.problems.fields._pictures import IMAGENET, Pixels, mean_head, picture, pictures
from hardfirst.problems.fields._resnet import ResNet18
from hardfirst.recipes import Recipe

REVISION = 1  # of the cached pictures: increase it with every change of the reading
SIDE = 224
FEATURES = 512
SPLITS = {"train": "train", "validation": "val", "test": "test"}  # with the lists' names


@dataclass(frozen=True)
class Variant:
    """One of the two data sets."""

    domains: tuple[str, ...]
    classes: int
    lists: Path  # their place in LibMTL


VARIANTS = {
    "office_31": Variant(("amazon", "dslr", "webcam"), 31, Path("data_txt/office-31")),
    "office_home": Variant(("Art", "Clipart", "Product", "Real_World"), 65, Path("data_txt/office-home")),
}

Listed = list[tuple[Path, int]]
"""Pictures with their classes."""


def problem(folder: Path, variant: str) -> Problem:
    """Return the problem: one task per domain.

    Args:
        folder: the folder of the pictures and the lists.
        variant: "office_31" or "office_home".

    Raises:
        InputError: a list is missing.
    """
    _lists(folder, variant)
    found = VARIANTS[variant]
    return Problem(
        name=variant,
        tasks=tuple(Task(domain, F.cross_entropy, accuracy) for domain in found.domains),
        network=partial(network, found),
        parts=partial(parts, found),
        data=partial(data, folder, variant),
        batch_size=64,
        epochs=100,
        learning_rate=1e-4,
        description=FIELDS[variant].description,
        sampling="round_robin",
        recipe=Recipe("adam:weight_decay=1e-5"),
    )


# The network


def network(variant: Variant, *, weights: str | Path | None = None) -> HardSharing:
    """Return ResNet-18 and a layer of 512 features that all domains share, and a linear head for each.

    Args:
        variant: the data set whose domains to use.
        weights: a file with weights of the ResNet.

    Raises:
        InputError: the file does not fit.
    """
    linear = nn.Linear(FEATURES, FEATURES)
    nn.init.normal_(linear.weight, std=0.005)
    nn.init.constant_(linear.bias, 0.1)
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear, nn.BatchNorm1d(FEATURES), nn.ReLU(), nn.Dropout(0.5)]
    trunk = nn.Sequential(Pixels(*IMAGENET), ResNet18(weights), *pooled)
    return HardSharing(trunk, {domain: nn.Linear(FEATURES, variant.classes) for domain in variant.domains})


def parts(variant: Variant) -> Parts:
    """Return the parts of other networks: ResNet-18, and two convolutions of 256 features at its resolution, 7×7."""
    heads = dict.fromkeys(variant.domains, partial(mean_head, head=class_head(variant.classes)))
    return Parts(_stem, FEATURES, image_layer, width=256, depth=2, heads=heads)


def _stem() -> nn.Module:
    return nn.Sequential(Pixels(*IMAGENET), ResNet18())


# The data


def data(folder: Path, variant: str) -> Splits:
    """Return the three splits, of a data set for each domain: pictures uint8 [n, 3, 224, 224], mapped, and classes int64.

    Raises:
        InputError: a file is missing, damaged or invalid; or the cache cannot be written.
    """
    lists = _lists(folder, variant)
    listed = {key: _read_list(path, folder, VARIANTS[variant].classes) for key, path in lists.items()}
    paths = [path for entries in listed.values() for path, _ in entries]
    columns = mapped(
        f"{variant}-{REVISION}",
        [*lists.values(), *paths],
        partial(_read, listed),
        what=f"{len(paths):,} pictures of {variant}",
    )
    return Splits(**{split: _tables(columns, split, VARIANTS[variant].domains) for split in SPLITS})


def _read(listed: Mapping[tuple[str, str], Listed]) -> Iterator[Chunk]:
    for (domain, split), entries in listed.items():
        yield {f"{split}.{domain}.classes": torch.tensor([number for _, number in entries])}
        for chunk in pictures([path for path, _ in entries], SIDE):
            yield {f"{split}.{domain}.pictures": chunk}


def _tables(columns: Mapping[str, Tensor], split: str, domains: tuple[str, ...]) -> dict[str, TensorTable]:
    return {
        domain: TensorTable(columns[f"{split}.{domain}.pictures"], {domain: columns[f"{split}.{domain}.classes"]})
        for domain in domains
    }


def _lists(folder: Path, variant: str) -> dict[tuple[str, str], Path]:
    """Return the path of the list of each domain and split.

    Raises:
        InputError: a list is missing.
    """
    found = VARIANTS[variant]
    names = {(domain, split): f"{domain}_{SPLITS[split]}.txt" for domain, split in product(found.domains, SPLITS)}
    inner = folder if any((folder / name).is_file() for name in names.values()) else folder / found.lists
    lists = {key: inner / name for key, name in names.items()}
    if missing := [path for path in lists.values() if not path.is_file()]:
        raise lacks(variant, f"list {missing[0]}" + (f" nor in {folder}" if inner != folder else ""))
    return lists


def _read_list(path: Path, folder: Path, classes: int) -> Listed:
    """Read a list of pictures with their classes.

    Raises:
        InputError: the list is not in LibMTL's format, or a picture does not exist.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None
    if not lines:
        raise InputError(f"{path} is empty. Get it again.")
    listed = []
    for number, line in enumerate(lines, 1):
        name, _, text = line.strip().rpartition(" ")
        if not name or not text.isdecimal() or int(text) >= classes:
            raise InputError(
                f"Line {number} of {path} should be the path of a picture and its class, 0 to {classes - 1}; got "
                f"{short(line)}."
            )
        picture_path = _found(folder, name)
        if picture_path is None:
            raise InputError(f"There is no picture {folder / name}, which line {number} of {path} names.")
        listed.append((picture_path, int(text)))
    return listed


def _found(folder: Path, name: str) -> Path | None:
    """Return the path of a picture, whose domain may be written with a blank."""
    domain, _, rest = name.partition("/")
    paths = (folder / name, folder / domain.replace("_", " ") / rest)
    return next((path for path in paths if path.is_file()), None)


def check(folder: Path, variant: str) -> list[str]:
    """Read the lists, look for each picture, decode a few, and return sentences about the contents.

    Args:
        folder: the folder of the pictures and the lists.
        variant: "office_31" or "office_home".

    Raises:
        InputError: as `data`.
    """
    found = VARIANTS[variant]
    lists = _lists(folder, variant)
    sentences = []
    for domain in found.domains:
        listed = {split: _read_list(lists[domain, split], folder, found.classes) for split in SPLITS}
        for entries in listed.values():
            for path, _ in entries[:: max(1, len(entries) // 3)]:
                picture(path, SIDE)
        counts = ", ".join(f"{len(entries):,} for {split}" for split, entries in listed.items())
        seen = {number for entries in listed.values() for _, number in entries}
        sentences.append(f"{domain}: {counts}; {len(seen)} of {found.classes} classes.")
    return sentences
