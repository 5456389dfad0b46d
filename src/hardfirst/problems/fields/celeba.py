"""`celeba`: forty yes-or-no attributes of 202,599 pictures of faces, 64×64; the benchmark with the most tasks.

Splits: the published ones, 162,770 pictures for training, 19,867 for validation and 19,962 for testing. No other validation
split is carved, so `--protocol published` has the same splits and chooses the epoch in the same way.

Pictures are resized bilinearly from 178×218, divided by 255, and not augmented. They are decoded once, into a file of 2.5 GB
in the cache folder that is then mapped into memory.

Network, recipe and measure are those of the code of FAMO and FairGrad: nine layers and a linear head for each attribute, Adam
at 3e-4, batches of 256, 15 epochs, and the F1 score of each attribute over the split at a threshold of one half. A KPI of a
batch would say little, since some attributes are rare: methods that follow KPIs get those of the last validation.

Note:
    With a split without positives F1 is undefined here, and 0 there.

References:
    Liu, Luo, Wang and Tang, Deep Learning Face Attributes in the Wild, ICCV 2015;
    Liu, Feng, Stone and Liu, FAMO: Fast Adaptive Multitask Optimization, NeurIPS 2023 (network and recipe; its authors give
    the values of single-task networks in issue 2 of github.com/Cranial-XIX/FAMO).
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError, short
from hardfirst.kpi import f1
from hardfirst.networks import HardSharing, Parts, image_layer, number_head
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import TensorTable
from hardfirst.problems._published import KPI, Published, PublishedMeasure
from hardfirst.problems._task import Task
from hardfirst.problems.fields import FIELDS
from hardfirst.problems.fields._mapped import Chunk, mapped
from hardfirst.problems.fields._pictures import Pixels, picture, pictures
from hardfirst.recipes import Recipe

REVISION = 1  # of the cached tensors: raise it with every change of the reading
SIDE = 64
SPLITS = ("train", "validation", "test")
SINGLE_TASK = {  # F1 of single-task networks, in the order of the file
    "5_o_Clock_Shadow": 0.6737,
    "Arched_Eyebrows": 0.6812,
    "Attractive": 0.8152,
    "Bags_Under_Eyes": 0.5760,
    "Bald": 0.7206,
    "Bangs": 0.8555,
    "Big_Lips": 0.3820,
    "Big_Nose": 0.5823,
    "Black_Hair": 0.7876,
    "Blond_Hair": 0.8321,
    "Blurry": 0.5030,
    "Brown_Hair": 0.6869,
    "Bushy_Eyebrows": 0.6781,
    "Chubby": 0.5240,
    "Double_Chin": 0.5162,
    "Eyeglasses": 0.9569,
    "Goatee": 0.6969,
    "Gray_Hair": 0.6798,
    "Heavy_Makeup": 0.8808,
    "High_Cheekbones": 0.8582,
    "Male": 0.9703,
    "Mouth_Slightly_Open": 0.9327,
    "Mustache": 0.5058,
    "Narrow_Eyes": 0.4031,
    "No_Beard": 0.9704,
    "Oval_Face": 0.4864,
    "Pale_Skin": 0.6079,
    "Pointy_Nose": 0.5261,
    "Receding_Hairline": 0.5691,
    "Rosy_Cheeks": 0.5982,
    "Sideburns": 0.6858,
    "Smiling": 0.9241,
    "Straight_Hair": 0.5425,
    "Wavy_Hair": 0.7406,
    "Wearing_Earrings": 0.7102,
    "Wearing_Hat": 0.8737,
    "Wearing_Lipstick": 0.9306,
    "Wearing_Necklace": 0.3370,
    "Wearing_Necktie": 0.7648,
    "Young": 0.9191,
}
ATTRIBUTES = tuple(SINGLE_TASK)


class Files(NamedTuple):
    """Where the parts of the data are."""

    pictures: Path
    attributes: Path
    partition: Path


ORIGINAL = Files(Path("Img/img_align_celeba"), Path("Anno/list_attr_celeba.txt"), Path("Eval/list_eval_partition.txt"))
TORCHVISION = Files(*(Path("celeba") / path.name for path in ORIGINAL))
MD5 = {"list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c", "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668"}


def problem(folder: Path) -> Problem:
    """Return the problem: 40 tasks and 162,770 pictures for training.

    Args:
        folder: of the data, in the original layout or torchvision's.

    Raises:
        InputError: the folder has neither layout.
    """
    _files(folder)
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
            {name: (PublishedMeasure(KPI, higher_is_better=True, single_task=value),) for name, value in SINGLE_TASK.items()},
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
    return Parts(first_convolutions, 256, image_layer, width=512, depth=2, heads=dict.fromkeys(ATTRIBUTES, mean_head))


def mean_head(channels: int) -> nn.Module:
    """Return a linear head on the mean of all positions: [pictures, channels, height, width] → [pictures]."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), number_head(channels))


# The data


def data(folder: Path) -> Splits:
    """Return the three splits: pictures uint8 [n, 3, 64, 64], mapped into memory, and targets 0.0 or 1.0.

    Args:
        folder: of the data.

    Raises:
        InputError: a file is missing, damaged, or not what it should be; or the cache cannot be written.
    """
    files = _files(folder)
    found = sorted(files.pictures.iterdir())
    columns = mapped(
        f"celeba-{REVISION}",
        [files.attributes, files.partition, *found],
        partial(_read, files),
        what=f"{len(found):,} pictures of CelebA",
    )
    return Splits(**{split: _table(columns, split) for split in SPLITS})


def _table(columns: Mapping[str, Tensor], split: str) -> TensorTable:
    answers = columns[f"{split}.attributes"].T.float()
    return TensorTable(columns[f"{split}.pictures"], dict(zip(ATTRIBUTES, answers.unbind(), strict=True)))


def _read(files: Files) -> Iterator[Chunk]:
    answers = attributes(files.attributes)
    for split, names in _splits(files, answers).items():
        yield {f"{split}.attributes": torch.stack([answers[name] for name in names])}
        for chunk in pictures([files.pictures / name for name in names], SIDE):
            yield {f"{split}.pictures": chunk}


def attributes(path: Path) -> dict[str, Tensor]:
    """Read each picture's attributes, 0 or 1, uint8 [40], by the name of its file.

    Raises:
        InputError: the file is not in the published format.
    """
    count, header, *lines = _lines(path, least=2)
    _check_names(path, header.split())
    if not count.strip().isdigit() or int(count) != len(lines):
        raise InputError(
            f"The first line of {path} should say how many pictures follow, {len(lines):,}; got {short(count)}. The file may "
            "be cut: get it again."
        )
    answers = bytearray()
    names = []
    for number, line in enumerate(lines, 3):
        name, *values = line.split() or [""]
        if len(values) != len(ATTRIBUTES) or not {"1", "-1"}.issuperset(values):
            raise InputError(f"Line {number} of {path} should be a file and {len(ATTRIBUTES)} times 1 or -1; got {short(line)}.")
        names.append(name)
        answers.extend(value == "1" for value in values)
    table = torch.frombuffer(answers, dtype=torch.uint8).view(-1, len(ATTRIBUTES))
    return dict(zip(names, table.unbind(), strict=True))


def _check_names(path: Path, names: list[str]) -> None:
    if tuple(names) != ATTRIBUTES:
        place = next((i for i, pair in enumerate(zip(names, ATTRIBUTES, strict=False)) if len(set(pair)) > 1), len(names))
        got = short(names[place]) if place < len(names) else "nothing"
        expected = ATTRIBUTES[place] if place < len(ATTRIBUTES) else "nothing"
        raise InputError(
            f"The second line of {path} should have the names of CelebA's {len(ATTRIBUTES)} attributes; at place {place + 1} "
            f"it has {got} instead of {expected}."
        )


def partition(path: Path) -> dict[str, str]:
    """Read which split each picture is in, by the name of its file.

    Raises:
        InputError: the file is not in the published format.
    """
    splits = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise InputError(f"Line {number} of {path} should be a file and 0, 1 or 2; got {short(line)}.")
        splits[words[0]] = SPLITS[int(words[1])]
    return splits


def _splits(files: Files, answers: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The files of each split.

    Raises:
        InputError: a split is empty, or the two lists are of different pictures.
    """
    of_file = partition(files.partition)
    for has, has_not, alone in (
        (files.attributes, files.partition, answers.keys() - of_file.keys()),
        (files.partition, files.attributes, of_file.keys() - answers.keys()),
    ):
        if alone:
            raise InputError(f"{has} names {min(alone)}, and {has_not} does not. One of them is cut, or of other pictures.")
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, split in of_file.items():
        names[split].append(name)
    if empty := [split for split in SPLITS if not names[split]]:
        raise InputError(f"{files.partition} has no picture with {SPLITS.index(empty[0])}, for {empty[0]}. It may be cut.")
    return names


def _lines(path: Path, least: int = 1) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None
    if len(lines) < least:
        raise InputError(f"{path} has {len(lines)} lines. It may be cut: get it again.")
    return lines


def _files(folder: Path) -> Files:
    """Where the files are.

    Raises:
        InputError: the folder has neither layout.
    """
    layouts = [Files(*(folder / path for path in layout)) for layout in (ORIGINAL, TORCHVISION)]
    found = max(layouts, key=lambda layout: sum(path.exists() for path in layout))
    missing = [path for path in found if not path.exists()]
    if not missing and found.pictures.is_dir():
        return found
    path = missing[0] if missing else found.pictures
    archive = found.pictures.with_suffix(".zip")
    if path == found.pictures and archive.is_file():
        raise InputError(f"There is no folder {path}. Unpack {archive} there.")
    where = FIELDS["celeba"]
    kind = "folder" if path == found.pictures else "file"
    raise InputError(f"There is no {kind} {path}. Expected {where.layout}; get it from {where.source}.")


def check(folder: Path) -> list[str]:
    """Read the lists, look for each picture, and decode a few; return what there is in sentences.

    Args:
        folder: of the data.

    Raises:
        InputError: as `data`.
    """
    files = _files(folder)
    splits = _splits(files, attributes(files.attributes))
    names = [name for names in splits.values() for name in names]
    found = {path.name for path in files.pictures.iterdir()}
    if missing := sorted(set(names) - found):
        raise InputError(
            f"{files.pictures} has no {missing[0]}, which the lists name, and lacks {len(missing):,} of {len(names):,} "
            "pictures. Unpack the archive again."
        )
    for name in names[:: max(1, len(names) // 8)]:
        picture(files.pictures / name, SIDE)
    counts = [f"{len(names):,} for {split}" for split, names in splits.items()]
    sums = {path: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in files[1:]}
    return [
        f"{len(names):,} pictures: {', '.join(counts)}; {len(ATTRIBUTES)} attributes.",
        *(
            f"{path.name}: as published."
            if sum_ == MD5[path.name]
            else f"{path.name}: not the published file; its MD5 is {sum_}, that of the published one {MD5[path.name]}."
            for path, sum_ in sums.items()
        ),
    ]
