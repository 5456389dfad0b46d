"""CelebA from a small folder in either layout: what is read, what is trained, and what a wrong folder gets."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from celeba_folder import COUNTS, write_celeba
from hardfirst.errors import InputError
from hardfirst.problems.fields import _celeba_files, celeba
from hardfirst.problems.fields._celeba_files import ATTRIBUTES, ORIGINAL, TORCHVISION, Files

LAYOUTS = pytest.mark.parametrize("layout", [ORIGINAL, TORCHVISION], ids=["original", "torchvision"])


@LAYOUTS
def test_check_says_what_is_there(tmp_path: Path, layout: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    write_celeba(tmp_path, layout)
    pictures, attributes, partition = celeba.check(tmp_path)
    assert pictures == "24 pictures: 12 for train, 6 for validation, 6 for test; 40 attributes."
    assert re.fullmatch(
        "list_attr_celeba.txt: not the published file; its MD5 is [0-9a-f]{32}, that of the published one 75e2[0-9a-f]{28}.",
        attributes,
    )
    monkeypatch.setitem(_celeba_files.MD5, "list_eval_partition.txt", partition.split()[8].rstrip(","))
    assert celeba.check(tmp_path)[2] == "list_eval_partition.txt: as published."


@LAYOUTS
def test_the_splits_are_the_published_ones(tmp_path: Path, layout: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_celeba(tmp_path, layout)
    splits = celeba.problem(tmp_path).data()
    tables = (splits.train, splits.validation, splits.test)
    assert tuple(map(len, tables)) == COUNTS
    lines = files.attributes.read_text().splitlines()[2:]
    for table, start in zip(tables, (0, 12, 18), strict=True):
        picture, answers = table[2]
        with Image.open(files.pictures / f"{start + 3:06d}.jpg") as image:
            expected = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR))
        assert np.array_equal(picture.permute(1, 2, 0).numpy(), expected)
        assert [float(value == "1") for value in lines[start + 2].split()[1:]] == [float(answers[n]) for n in ATTRIBUTES]
    monkeypatch.setattr(_celeba_files, "pictures", None)
    again = celeba.problem(tmp_path).data()
    assert torch.equal(again.test[5][0], splits.test[5][0]), "the pictures come from the cache"


def test_published_values_are_of_all_attributes() -> None:
    assert len(ATTRIBUTES) == 40
    assert sum(celeba.SINGLE_TASK.values()) / 40 == pytest.approx(0.6971, abs=5e-5)


def test_the_own_network_has_nine_layers_and_a_head_for_each_attribute() -> None:
    network = celeba.network().eval()
    weights = [
        module.weight.shape[:2]
        for module in network.trunk.modules()
        if hasattr(module, "weight") and module.weight.dim() > 1
    ]
    widths = [3, 64, 128, 128, 256, 256, 512, 512, 512, 512]
    assert weights == list(zip(widths[1:], widths[:-1], strict=True))
    with torch.no_grad():
        outputs = network(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert {tuple(output.shape) for output in outputs.values()} == {(2,)}
    assert tuple(outputs) == ATTRIBUTES


Change = Callable[[Files], object]


def replaced(part: str, old: str, new: str) -> Change:
    """Another text in one of the lists."""

    def change(files: Files) -> None:
        path = getattr(files, part)
        path.write_text(path.read_text().replace(old, new))

    return change


def unpack_nothing(files: Files) -> None:
    files.pictures.rename(files.pictures.with_name("elsewhere"))
    files.pictures.with_suffix(".zip").write_bytes(b"")


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


WRONG: dict[str, tuple[Change, str]] = {
    "not unpacked": (unpack_nothing, r"There is no folder .*Img/img_align_celeba\. Unpack .*img_align_celeba\.zip there\."),
    "no partition": (
        lambda files: files.partition.unlink(),
        r"There is no file .*Eval/list_eval_partition\.txt\. Expected DIR/Img/img_align_celeba/.*; get it from ",
    ),
    "attributes cut": (lambda files: cut(files.attributes, 2000), r"should be the number of pictures .*; got '24'"),
    "another attribute": (replaced("attributes", "Bald ", "Bold "), r"at position 5 it has 'Bold' instead of Bald\."),
    "an attribute less": (replaced("attributes", " Young", ""), r"at position 40 it has nothing instead of Young\."),
    "an attribute of 0": (
        replaced("attributes", "000001.jpg   1", "000001.jpg   0"),
        r"Line 3 of .* should be a file name and 40 times 1 or -1; got ",
    ),
    "a fourth split": (
        replaced("partition", "000024.jpg 2", "000024.jpg 3"),
        r"Line 24 of .* should be a file name and 0, 1 or 2; got '000024.jpg 3'\.",
    ),
    "partition cut": (
        replaced("partition", "000024.jpg 2\n", ""),
        r"list_attr_celeba\.txt names 000024\.jpg, but .*list_eval_partition\.txt does not",
    ),
    "no validation": (
        replaced("partition", ".jpg 1", ".jpg 0"),
        r"has no picture with 1, for validation\. It may be truncated\.",
    ),
    "pictures missing": (
        lambda files: [path.unlink() for path in sorted(files.pictures.iterdir())[3:5]],
        r"has no 000004\.jpg, which the lists name, and lacks 2 of 24 pictures\.",
    ),
    "a picture cut": (
        lambda files: cut(files.pictures / "000001.jpg", 900),
        r"000001\.jpg cannot be read as a picture: .*truncated.*\. Get this file again\.",
    ),
    "no text": (
        lambda files: files.partition.write_bytes(b"\xff"),
        r"list_eval_partition\.txt cannot be read: 'utf-8' codec",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_gets_a_sentence(tmp_path: Path, name: str) -> None:
    change, sentence = WRONG[name]
    change(write_celeba(tmp_path, size=(40, 40)))
    with pytest.raises(InputError, match=sentence):
        celeba.check(tmp_path)


def test_a_folder_of_something_else_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"There is no folder .*Img/img_align_celeba\. Expected DIR/Img/.*; get it from mmlab"
    ):
        celeba.problem(tmp_path)
