"""The page of samples."""

import re
import struct
import zlib
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import torch

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
    monkeypatch.setattr(_sample_page, "load_frames", lambda size, progress: dict.fromkeys(SPLITS, split))
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
    """The pixels of a PNG file whose rows have no filter, [rows, columns, 3]."""
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(picture):
        (length,) = struct.unpack(">I", picture[at : at + 4])
        kind, data = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert struct.unpack(">I", picture[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + data)
        chunks[kind], at = data, at + 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:].reshape(height, width, 3)
