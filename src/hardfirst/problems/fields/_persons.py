"""The pictures of COCO with one person or none, and the person's mask, box and keypoints, at 256×256."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hardfirst.errors import InputError, MissingPackage
from hardfirst.problems._cache import cached

SIZE = 256
KEYPOINTS = 17
REVISION = 1  # of what is cached: increase it with every change of the parsing
_BITS = 8


def file_name(identifier: int) -> str:
    """Return the name of a picture's file.

    >>> file_name(139)
    '000000000139.jpg'
    """
    return f"{identifier:012}.jpg"


def annotations(folder: Path, split: str) -> Path:
    """Return the file with the labels of a split, "train" or "val". `instances_{split}2017.json` has the same persons."""
    return folder / f"annotations/person_keypoints_{split}2017.json"


# The labels


class Person(NamedTuple):
    """The labels of a person, in pixels of the resized picture.

    Args:
        box: x1, y1, x2, y2, with an exclusive end.
        keypoints: float32 [17, 4]: x, y, the longer side of the box, and the root of the mask's area; NaN where there is
            no label.
        mask: bits of 256·256 pixels, row by row, uint8 [8192].
    """

    box: list[float]
    keypoints: Tensor
    mask: Tensor


def labels(folder: Path, split: str) -> dict[str, Tensor]:
    """Return the labels of a split's pictures with one person or none, in the order of their identifiers.

    Pictures with several persons or a crowd, or with a person smaller than a pixel, are left out. The labels are parsed
    once, and stored in the user's cache folder.

    Returns:
        `identifiers` int64 [pictures]; `present` whether there is a person, int64; `boxes` float32 [pictures, 4] and
        `keypoints` float32 [pictures, 17, 4], as in `Person`, NaN for no label; `masks` uint8 [persons, 8192], and the
        `rows` of each picture in it, int64, -1 for no mask.

    Raises:
        InputError: the file is missing, damaged, or not COCO's.
    """
    file = annotations(folder, split)
    with file.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    return cached(f"coco_persons-{digest[:16]}-{REVISION}", partial(_parse, file))


def _parse(file: Path) -> dict[str, Tensor]:
    found = dict(_selected(file))
    persons = [person for person in found.values() if person is not None]
    nobody = Person([torch.nan] * 4, torch.full((KEYPOINTS, 4), torch.nan), torch.zeros(0))
    every = [person or nobody for person in found.values()]
    present = torch.tensor([person is not None for person in found.values()])
    if not persons or bool(present.all()):
        raise InputError(
            f"Expected {file} to have pictures with one person and pictures with none; got {len(persons)} and "
            f"{len(every) - len(persons)}."
        )
    return {
        "identifiers": torch.tensor(list(found)),
        "present": present.long(),
        "boxes": torch.tensor([person.box for person in every]),
        "keypoints": torch.stack([person.keypoints for person in every]),
        "masks": torch.stack([person.mask for person in persons]),
        "rows": torch.where(present, present.cumsum(0) - 1, -1),
    }


def _selected(file: Path) -> Iterator[tuple[int, Person | None]]:
    """Yield the identifier of each picture with one person or none, and that person."""
    content = _read_json(file)
    shown = defaultdict(list)
    for annotation in content["annotations"]:
        shown[_get(file, annotation, "image_id", int)].append(annotation)
    entries = {_get(file, entry, "id", int): entry for entry in content["images"]}
    if strange := next((identifier for identifier in shown if identifier not in entries), None):
        raise InputError(f"{file} has persons in a picture {strange} that is not among its images. Get it again.")
    for identifier, entry in sorted(entries.items()):
        if _get(file, entry, "file_name", str) != file_name(identifier):
            raise InputError(
                f"Expected picture {identifier} of {file} to be {file_name(identifier)}; got {entry['file_name']!r}."
            )
        persons = shown[identifier]
        if not persons:
            yield identifier, None
        elif len(persons) == 1 and not persons[0].get("iscrowd"):
            size = (_get(file, entry, "width", int), _get(file, entry, "height", int))
            if (person := _person(file, persons[0], size)) is not None:
                yield identifier, person


def _read_json(file: Path) -> Mapping[str, Sequence[Any]]:
    try:
        content: Any = json.loads(file.read_bytes())
    except ValueError as error:  # from JSON or UTF-8
        raise InputError(f"{file} is not a complete JSON file and may be truncated: {error}. Get it again.") from error
    for name in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list) or not content[name]:
            got = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
            raise InputError(f"Expected {file} to have lists of 'images' and 'annotations'; got {got or 'nothing'}.")
    found: Mapping[str, Sequence[Any]] = content
    return found


def _get(file: Path, entry: Any, name: str, kind: type) -> Any:
    """Return a value of an entry of the file.

    Raises:
        InputError: the value is missing, or has another type.
    """
    value = entry.get(name) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        which = f"entry {entry['id']}" if isinstance(entry, dict) and "id" in entry else "an entry"
        raise InputError(f"Expected {which} of {file} to have {name!r}, a {kind.__name__}; got {value!r:.60}.")
    return value


def _person(file: Path, annotation: Mapping[str, Any], size: tuple[int, int]) -> Person | None:
    """Return the labels of a person in a picture of this width and height; None if it is smaller than a pixel.

    Raises:
        InputError: a label does not have COCO's format.
    """
    across, down = (SIZE / side for side in size)
    numbers = {name: _get(file, annotation, name, list) for name in ("bbox", "keypoints", "segmentation")}
    try:
        x, y, width, height = map(float, numbers["bbox"])
        points = torch.tensor(numbers["keypoints"], dtype=torch.float32).view(KEYPOINTS, 3)
        area = float(annotation["area"]) * across * down
        mask = polygons_mask(numbers["segmentation"], across, down)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Expected annotation {annotation.get('id')} of {file} to have a box of 4 numbers, 3 for each of {KEYPOINTS} "
            f"keypoints, an area, and polygons; {type(error).__name__}: {error}"
        ) from error
    longer = max(width * across, height * down)
    if min(width * across, height * down) < 1 or area <= 0 or not bool(mask.any()):
        return None
    measured = torch.tensor([across, down]) * points[:, :2], torch.tensor([longer, area**0.5]).expand(KEYPOINTS, 2)
    keypoints = torch.where(points[:, 2:] > 0, torch.cat(measured, dim=1), torch.nan)
    box = [x * across, y * down, (x + width) * across, (y + height) * down]
    return Person(box, keypoints, pack(mask))


def polygons_mask(polygons: Sequence[Sequence[float]], across: float, down: float) -> Tensor:
    """Return the pixels of the resized picture that are in any of the polygons, bool [256, 256].

    Args:
        polygons: each x, y, x, y, … in pixels of the picture.
        across: the factor by which the picture is resized horizontally.
        down: the factor by which it is resized vertically.

    Raises:
        MissingPackage: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise MissingPackage('Drawing masks needs Pillow: pip install "hardfirst[cli]"') from None
    image = Image.new("1", (SIZE, SIZE))
    draw = ImageDraw.Draw(image)
    for polygon in polygons:
        # Pillow includes the pixel that a corner lies in
        points = [(x * across, y * down) for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
        draw.polygon(points, fill=1)
    pixels = torch.frombuffer(bytearray(image.convert("L").tobytes()), dtype=torch.uint8)
    return pixels.view(SIZE, SIZE) > 0


def pack(mask: Tensor) -> Tensor:
    """Pack a mask into bits, bool [256, 256] → uint8 [8192]."""
    powers = 2 ** torch.arange(_BITS)
    return (mask.view(-1, _BITS) * powers).sum(1).byte()


def unpack(bits: Tensor) -> Tensor:
    """Unpack masks from bits: uint8 [masks, 8192] → int8 [masks, 256, 256].

    >>> unpack(pack(torch.eye(256) > 0).unsqueeze(0)).sum()
    tensor(256)
    """
    return ((bits.unsqueeze(2) >> torch.arange(_BITS)) & 1).to(torch.int8).view(-1, SIZE, SIZE)
