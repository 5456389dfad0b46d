"""Writes a small folder in the layout of COCO 2017: persons are bright ellipses with two keypoints, on dark pictures."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 80, 60
CORNERS = 16


def person(identifier: int, picture: int, random: torch.Generator) -> dict[str, Any]:
    """An annotation of an ellipse; its keypoints 0 and 5 are labelled, at its centre and its right end."""
    across, down = (float(8 + 10 * torch.rand((), generator=random)) for _ in range(2))
    x = across + float((WIDTH - 2 * across) * torch.rand((), generator=random))
    y = down + float((HEIGHT - 2 * down) * torch.rand((), generator=random))
    angles = [2 * math.pi * corner / CORNERS for corner in range(CORNERS)]
    polygon = [number for angle in angles for number in (x + across * math.cos(angle), y + down * math.sin(angle))]
    keypoints = [0.0] * 51
    keypoints[:3], keypoints[15:18] = [x, y, 2], [x + across, y, 1]
    return {
        "id": identifier,
        "image_id": picture,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [x - across, y - down, 2 * across, 2 * down],
        "area": math.pi * across * down,
        "segmentation": [polygon],
        "keypoints": keypoints,
        "num_keypoints": 2,
    }


def annotated(count: int, seed: int, first: int) -> dict[str, Any]:
    """Pictures with one person or none, two of each in turn; and two more, one with two persons and one with a crowd."""
    random = torch.Generator().manual_seed(seed)
    identifiers = range(first, first + count + 2)
    two, crowd = identifiers[-2:]
    shown = [*(picture for picture in identifiers[:-2] if picture // 2 % 2 == 0), two, two, crowd]
    persons = [person(number, picture, random) for number, picture in enumerate(shown, 1)]
    persons[-1] |= {"iscrowd": 1, "segmentation": {"counts": [0, 10], "size": [HEIGHT, WIDTH]}}
    return {
        "images": [
            {"id": number, "file_name": f"{number:012}.jpg", "width": WIDTH, "height": HEIGHT} for number in identifiers
        ],
        "annotations": persons,
        "categories": [{"id": 1, "name": "person"}],
    }


def save(folder: Path, train: int = 10, val: int = 4) -> Path:
    """Write the folder. Of the pictures for training, 32 and 34 are held out."""
    for split, count in (("train", train), ("val", val)):
        content = annotated(count, seed=count, first=26)
        path = folder / f"annotations/person_keypoints_{split}2017.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        (folder / f"{split}2017").mkdir()
        for entry in content["images"]:
            picture = Image.new("RGB", (WIDTH, HEIGHT), (20, 30, 40))
            draw = ImageDraw.Draw(picture)
            for annotation in content["annotations"]:
                if annotation["image_id"] == entry["id"] and not annotation["iscrowd"]:
                    polygon = annotation["segmentation"][0]
                    draw.polygon(list(zip(polygon[::2], polygon[1::2], strict=True)), fill=(230, 200, 180))
            picture.save(folder / f"{split}2017" / entry["file_name"])
    return folder
