"""A page of sample frames with all their targets, to look at: one HTML file that needs nothing else."""

import struct
import zlib
from base64 import b64encode
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from hardfirst_scenes._frames import SPLITS, Progress, Size, frames
from hardfirst_scenes._labels import CLASSES, KINDS

NOTHING = (0, 0, 0)
COLOURS = {
    "wall": (178, 86, 74),
    "floor": (96, 145, 76),
    "ceiling": (132, 110, 178),
    "sky": (116, 178, 228),
    "monster": (255, 214, 0),
    "item": (255, 0, 170),
}
DEEPEST = 32.0  # metres; what is farther away is as bright

_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Sample frames of scenes</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; background: #fff; color: #111 }}
.frames {{ display: grid; grid-template-columns: repeat(2, max-content); gap: .4rem 1.5rem; overflow-x: auto }}
.frame {{ display: grid; grid-template-columns: repeat(4, 160px); gap: 2px }}
.frame > * {{ width: 160px; height: 120px; image-rendering: pixelated }}
rect {{ fill: none; stroke-width: 1 }}
.key {{ display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em }}
</style>
<h1>Sample frames of scenes, {size}</h1>
<p>From left to right: the image with its boxes; the classes; the depth, dark is near, white {deepest:.0f} metres and more;
the normals, red to the right, green upwards, blue towards the camera. Black is without a label, grey without a normal.</p>
<p>{key}</p>
{splits}
"""


def write_sample_page(path: Path, size: Size = "small", count: int = 16, progress: Progress | None = None) -> Path:
    """Write a page of sample frames, evenly spaced in each split.

    Args:
        path: of the page, e.g. "scenes.html".
        size: of the frames.
        count: frames of each split, at most.
        progress: see `frames`.

    Returns:
        The path.
    """
    parts = []
    for split, found in frames(size, progress).items():
        total = len(found["rgb"])
        places = torch.linspace(0, total - 1, min(count, total)).round().long().tolist()
        samples = [_frame({name: tensor[place] for name, tensor in found.items()}) for place in places]
        parts.append(f'<h2>{split}: {total} frames</h2>\n<div class="frames">\n{"".join(samples)}</div>')
    assert len(parts) == len(SPLITS)
    key = " ".join(f'<span class="key" style="background: rgb{COLOURS[name]}"></span>{escape(name)}' for name in CLASSES)
    path.write_text(_PAGE.format(size=size, deepest=DEEPEST, key=key, splits="\n".join(parts)), encoding="utf-8")
    return path


def _frame(frame: dict[str, Tensor]) -> str:
    return f'<div class="frame">{_boxed(frame)}{"".join(map(_picture, panels(frame)))}</div>\n'


def panels(frame: dict[str, Tensor]) -> list[Tensor]:
    """The classes, depth and normals of a frame as pictures, uint8 [3, rows, columns]."""
    palette = torch.tensor([NOTHING] * 256, dtype=torch.uint8)
    palette[: len(CLASSES)] = torch.tensor([COLOURS[name] for name in CLASSES], dtype=torch.uint8)
    classes = palette[frame["classes"].long()].permute(2, 0, 1)
    depth = frame["depth"].float()
    bright = (40 + 215 * (depth / DEEPEST).clamp(max=1).sqrt()) * (depth > 0)
    normals = frame["normals"].short() + 128
    return [classes, bright.to(torch.uint8).expand(3, -1, -1), normals.to(torch.uint8)]


def _boxed(frame: dict[str, Tensor]) -> str:
    """The image with its boxes; an edge is drawn on the outermost pixels."""
    _, height, width = frame["rgb"].shape
    found = []
    for x1, y1, x2, y2, kind in frame["boxes"].tolist():
        if kind >= 0:
            shape = f'x="{x1 + 0.5}" y="{y1 + 0.5}" width="{x2 - x1 - 1}" height="{y2 - y1 - 1}"'
            found.append(f'<rect {shape} stroke="rgb{COLOURS[KINDS[int(kind)]]}"/>')
    image = f'<image href="{_data(frame["rgb"])}" width="{width}" height="{height}"/>'
    return f'<svg viewBox="0 0 {width} {height}">{image}{"".join(found)}</svg>'


def _picture(pixels: Tensor) -> str:
    return f'<img alt="" src="{_data(pixels)}">'


def _data(pixels: Tensor) -> str:
    return f"data:image/png;base64,{b64encode(png(pixels)).decode()}"


def png(pixels: Tensor) -> bytes:
    """A picture, uint8 [3, rows, columns], as a PNG file."""
    _, height, width = pixels.shape
    rows = torch.zeros(height, 1 + 3 * width, dtype=torch.uint8)  # each begins with its filter: 0, none
    rows[:, 1:] = pixels.permute(1, 2, 0).reshape(height, 3 * width)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(rows.numpy()))),
        (b"IEND", b""),
    )
    body = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
