"""The page of samples."""

import io
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hardfirst_scenes import _sample_page
from hardfirst_scenes._labels import IGNORE
from hardfirst_scenes._maps import SPLITS


def test_the_page_of_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = torch.randint(0, 256, (3, 3, 120, 160), dtype=torch.uint8)
    boxes_of = torch.full((3, 20, 5), -1.0)
    boxes_of[:, 0] = torch.tensor([10.0, 20.0, 30.0, 50.0, 1.0])
    split = {
        "rgb": rgb,
        "classes": torch.full((3, 120, 160), IGNORE, dtype=torch.uint8),
        "depth": torch.zeros(3, 120, 160, dtype=torch.float16),
        "normals": torch.zeros(3, 3, 120, 160, dtype=torch.int8),
        "boxes": boxes_of,
    }
    monkeypatch.setattr(_sample_page, "load_frames", lambda size: dict.fromkeys(SPLITS, split))
    page = _sample_page.write_sample_page(tmp_path / "page.html", count=2).read_text()
    assert page.count('<div class="frame">') == 6
    assert page.count('<rect x="10.5" y="20.5" width="19.0" height="29.0" stroke="rgb(255, 0, 170)"/>') == 6
    pictures = [b64decode(found) for found in re.findall(r"data:image/png;base64,([^\"]+)", page)]
    assert len(pictures) == 24
    assert np.array_equal(decoded(pictures[0]), rgb[0].permute(1, 2, 0).numpy())
    assert np.array_equal(decoded(pictures[4]), rgb[2].permute(1, 2, 0).numpy())
    assert (decoded(pictures[1]) == 0).all()
    assert (decoded(pictures[2]) == 0).all()
    assert (decoded(pictures[3]) == 128).all()


def test_the_colours_of_the_page() -> None:
    frame = {
        "classes": torch.zeros(120, 160, dtype=torch.uint8),
        "depth": torch.linspace(0.1, 100, 120 * 160).reshape(120, 160).half(),
        "normals": torch.zeros(3, 120, 160, dtype=torch.int8),
    }
    frame["classes"][:, 80:] = 5
    frame["normals"][1] = 127
    classes, depth, normals = _sample_page.panels(frame)
    assert classes[:, 0, 0].tolist() == list(_sample_page.COLOURS["wall"])
    assert classes[:, 0, 159].tolist() == list(_sample_page.COLOURS["item"])
    assert (depth[0].flatten().diff() >= 0).all()
    assert depth[0, 0, 0] > 40
    assert depth[0, 119, 159] == 255
    assert normals[:, 0, 0].tolist() == [128, 255, 128]


def decoded(picture: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture)))
