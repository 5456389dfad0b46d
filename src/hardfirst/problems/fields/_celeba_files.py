"""The files of `celeba`: finding, checking and reading them, and their pictures and attributes in memory."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from hardfirst.errors import InputError, short
from hardfirst.problems.fields import lacks
from hardfirst.problems.fields._mapped import Chunk, mapped
from hardfirst.problems.fields._pictures import picture, pictures

REVISION = 1  # of the cached tensors: increase it with every change of the reading
SIDE = 64
SPLITS = ("train", "validation", "test")
SINGLE_TASK = {  # the published F1 score of a single-task network for each attribute, in the order of the file
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
    """The paths of the parts of the data."""

    pictures: Path
    attributes: Path
    partition: Path


ORIGINAL = Files(Path("Img/img_align_celeba"), Path("Anno/list_attr_celeba.txt"), Path("Eval/list_eval_partition.txt"))
TORCHVISION = Files(*(Path("celeba") / path.name for path in ORIGINAL))
MD5 = {
    "list_attr_celeba.txt": "75e246fa4810816ffd6ee81facbd244c",
    "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
}


def files(folder: Path) -> Files:
    """Find the files.

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
    raise lacks("celeba", f"{'folder' if path == found.pictures else 'file'} {path}")


def columns(folder: Path) -> dict[str, Tensor]:
    """Return the pictures and attributes of each split, mapped into memory, by names such as "train.pictures".

    Raises:
        InputError: a file is missing, damaged or invalid; or the cache cannot be written.
    """
    found = files(folder)
    listed = sorted(found.pictures.iterdir())
    of_cache = [found.attributes, found.partition, *listed]
    return mapped(f"celeba-{REVISION}", of_cache, partial(_read, found), what=f"{len(listed):,} pictures of CelebA")


def _read(found: Files) -> Iterator[Chunk]:
    answers = attributes(found.attributes)
    for split, names in _splits(found, answers).items():
        yield {f"{split}.attributes": torch.stack([answers[name] for name in names])}
        for chunk in pictures([found.pictures / name for name in names], SIDE):
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
            f"The first line of {path} should be the number of pictures that follow, {len(lines):,}; got {short(count)}. "
            "The file may be truncated: get it again."
        )
    answers = bytearray()
    names = []
    for number, line in enumerate(lines, 3):
        name, *values = line.split() or [""]
        if len(values) != len(ATTRIBUTES) or not {"1", "-1"}.issuperset(values):
            raise InputError(
                f"Line {number} of {path} should be a file name and {len(ATTRIBUTES)} times 1 or -1; got {short(line)}."
            )
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
            f"The second line of {path} should have the names of CelebA's {len(ATTRIBUTES)} attributes; at position "
            f"{place + 1} it has {got} instead of {expected}."
        )


def partition(path: Path) -> dict[str, str]:
    """Read the split of each picture, by the name of its file.

    Raises:
        InputError: the file is not in the published format.
    """
    splits = {}
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise InputError(f"Line {number} of {path} should be a file name and 0, 1 or 2; got {short(line)}.")
        splits[words[0]] = SPLITS[int(words[1])]
    return splits


def _splits(found: Files, answers: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return the files of each split.

    Raises:
        InputError: a split is empty, or the two lists are of different pictures.
    """
    of_file = partition(found.partition)
    for has, has_not, alone in (
        (found.attributes, found.partition, answers.keys() - of_file.keys()),
        (found.partition, found.attributes, of_file.keys() - answers.keys()),
    ):
        if alone:
            raise InputError(
                f"{has} names {min(alone)}, but {has_not} does not. One of them is truncated, or lists other pictures."
            )
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, split in of_file.items():
        names[split].append(name)
    if empty := [split for split in SPLITS if not names[split]]:
        raise InputError(
            f"{found.partition} has no picture with {SPLITS.index(empty[0])}, for {empty[0]}. It may be truncated."
        )
    return names


def _lines(path: Path, least: int = 1) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None
    if len(lines) < least:
        raise InputError(f"{path} has {len(lines)} lines. It may be truncated: get it again.")
    return lines


def check(folder: Path) -> list[str]:
    """Read the lists, look for each picture, decode a few, and return sentences about the contents.

    Args:
        folder: the folder of the data.

    Raises:
        InputError: as `columns`.
    """
    found = files(folder)
    splits = _splits(found, attributes(found.attributes))
    names = [name for names in splits.values() for name in names]
    there = {path.name for path in found.pictures.iterdir()}
    if missing := sorted(set(names) - there):
        raise InputError(
            f"{found.pictures} has no {missing[0]}, which the lists name, and lacks {len(missing):,} of {len(names):,} "
            "pictures. Unpack the archive again."
        )
    for name in names[:: max(1, len(names) // 8)]:
        picture(found.pictures / name, SIDE)
    counts = [f"{len(names):,} for {split}" for split, names in splits.items()]
    sums = {path: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() for path in found[1:]}
    return [
        f"{len(names):,} pictures: {', '.join(counts)}; {len(ATTRIBUTES)} attributes.",
        *(
            f"{path.name}: as published."
            if sum_ == MD5[path.name]
            else f"{path.name}: not the published file; its MD5 is {sum_}, that of the published one {MD5[path.name]}."
            for path, sum_ in sums.items()
        ),
    ]
