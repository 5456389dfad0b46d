"""A page of sample frames with all their targets: one self-contained HTML file."""

import io
from base64 import b64encode
from html import escape
from pathlib import Path

import torch
from torch import Tensor

from hardfirst_scenes._labels import CLASSES, KINDS
from hardfirst_scenes._maps import Size
from hardfirst_scenes._rendering import load_frames

UNLABELLED = (0, 0, 0)
COLOURS = {
    "wall": (178, 86, 74),
    "floor": (96, 145, 76),
    "ceiling": (132, 110, 178),
    "sky": (116, 178, 228),
    "monster": (255, 214, 0),
    "item": (255, 0, 170),
}
DEEPEST = 32.0  # metres; everything farther away is as bright

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
<p>From left to right: the image with its boxes; the classes; the depth, from dark (near) to white ({deepest:.0f} metres and
more); the normals: red is right, green up, blue towards the camera. Black pixels have no label, grey ones no normal.</p>
<p>{key}</p>
{splits}
"""


def write_sample_page(path: Path, size: Size = "small", count: int = 16) -> Path:
    """Write a page of sample frames, evenly spaced in each split.

    Args:
        path: the file to write, e.g. "scenes.html".
        size: "small" or "full".
        count: the largest number of frames of each split.

    Returns:
        The path.

    Example:
        >>> write_sample_page(Path("scenes.html"), count=4)  # doctest: +SKIP
        PosixPath('scenes.html')
    """
    sections = []
    for split, tensors in load_frames(size).items():
        total = len(tensors["rgb"])
        indices = torch.linspace(0, total - 1, min(count, total)).round().long().tolist()
        samples = [_frame({name: tensor[index] for name, tensor in tensors.items()}) for index in indices]
        sections.append(f'<h2>{split}: {total} frames</h2>\n<div class="frames">\n{"".join(samples)}</div>')
    key = " ".join(f'<span class="key" style="background: rgb{COLOURS[name]}"></span>{escape(name)}' for name in CLASSES)
    path.write_text(_PAGE.format(size=size, deepest=DEEPEST, key=key, splits="\n".join(sections)), encoding="utf-8")
    return path


def _frame(frame: dict[str, Tensor]) -> str:
    return f'<div class="frame">{_image_with_boxes(frame)}{"".join(map(_image, panels(frame)))}</div>\n'


def panels(frame: dict[str, Tensor]) -> list[Tensor]:
    """Return the classes, depth and normals of a frame as images, uint8 [3, rows, columns]."""
    palette = torch.tensor([UNLABELLED] * 256, dtype=torch.uint8)
    palette[: len(CLASSES)] = torch.tensor([COLOURS[name] for name in CLASSES], dtype=torch.uint8)
    classes = palette[frame["classes"].long()].permute(2, 0, 1)
    depth = frame["depth"].float()
    bright = (40 + 215 * (depth / DEEPEST).clamp(max=1).sqrt()) * (depth > 0)
    normals = frame["normals"].short() + 128
    return [classes, bright.to(torch.uint8).expand(3, -1, -1), normals.to(torch.uint8)]


def _image_with_boxes(frame: dict[str, Tensor]) -> str:
    """Return the image with its boxes; their edges are drawn on the outermost pixels."""
    _, height, width = frame["rgb"].shape
    rectangles = []
    for x1, y1, x2, y2, kind in frame["boxes"].tolist():
        if kind >= 0:
            shape = f'x="{x1 + 0.5}" y="{y1 + 0.5}" width="{x2 - x1 - 1}" height="{y2 - y1 - 1}"'
            rectangles.append(f'<rect {shape} stroke="rgb{COLOURS[KINDS[int(kind)]]}"/>')
    image = f'<image href="{_data_url(frame["rgb"])}" width="{width}" height="{height}"/>'
    return f'<svg viewBox="0 0 {width} {height}">{image}{"".join(rectangles)}</svg>'


def _image(pixels: Tensor) -> str:
    return f'<img alt="" src="{_data_url(pixels)}">'


def _data_url(pixels: Tensor) -> str:
    """Encode an image, uint8 [3, rows, columns], as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "png")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
