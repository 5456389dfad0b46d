"""Office-31 and Office-Home from small folders: what is read, what is trained, and what a wrong folder gets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.problems.fields import office
from hardfirst.problems.fields._resnet import ResNet18
from hardfirst.problems.fields.office import VARIANTS
from office_folder import COUNTS, write_office

LAYOUTS = pytest.mark.parametrize("libmtl", [False, True], ids=["beside the pictures", "as in LibMTL"])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office, "SIDE", 40)


@LAYOUTS
@pytest.mark.parametrize("variant", VARIANTS)
def test_check_says_what_is_there(tmp_path: Path, variant: str, libmtl: bool) -> None:
    write_office(tmp_path, variant, lists=VARIANTS[variant].lists if libmtl else Path())
    sentences = office.check(tmp_path, variant)
    assert [sentence.partition(":")[0] for sentence in sentences] == list(VARIANTS[variant].domains)
    assert all(": 6 for train, 2 for validation, 3 for test; " in sentence for sentence in sentences)


@LAYOUTS
def test_each_domain_is_a_data_set(tmp_path: Path, libmtl: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found = VARIANTS["office_31"]
    lists = write_office(tmp_path, lists=found.lists if libmtl else Path())
    splits = office.problem(tmp_path, "office_31").data()
    for split, of_file in office.SPLITS.items():
        tables = getattr(splits, split)
        assert list(tables) == list(found.domains)
        for domain, table in tables.items():
            assert len(table) == COUNTS[of_file]
            name, kind = (lists / f"{domain}_{of_file}.txt").read_text().splitlines()[1].split(" ")
            pixels, targets = table[1]
            assert {task: int(target) for task, target in targets.items()} == {domain: int(kind)}
            with Image.open(tmp_path / name) as image:
                expected = np.asarray(image.convert("RGB").resize((40, 40), Image.Resampling.BILINEAR))
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)
    monkeypatch.setattr(office, "pictures", None)
    again = office.problem(tmp_path, "office_31").data()
    assert torch.equal(again.test["dslr"][2][0], splits.test["dslr"][2][0]), "the pictures come from the cache"  # type: ignore[index]


def test_a_domain_may_be_written_with_a_blank(tmp_path: Path) -> None:
    write_office(tmp_path, "office_home")
    before = office.problem(tmp_path, "office_home").data()
    (tmp_path / "Real_World").rename(tmp_path / "Real World")
    after = office.problem(tmp_path, "office_home").data()
    assert torch.equal(before.train["Real_World"].inputs, after.train["Real_World"].inputs)  # type: ignore[index, union-attr]


def test_the_network_is_a_resnet_18_with_a_head_for_each_domain() -> None:
    assert sum(map(Tensor.numel, ResNet18().parameters())) == 11_176_512  # as published, without the classifier
    found = VARIANTS["office_home"]
    network = office.network(found).eval()
    with torch.no_grad():
        outputs = network(torch.zeros(2, 3, 40, 40, dtype=torch.uint8))
    assert {domain: tuple(output.shape) for domain, output in outputs.items()} == dict.fromkeys(found.domains, (2, 65))


@pytest.mark.slow
def test_resnet_18_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")
    other, own = transformers.ResNetModel(config).eval(), ResNet18().eval()
    for tensor in [*own.parameters(), *own.buffers()]:
        if tensor.dim() == 1:  # of the norms, which begin as if there were none
            nn.init.uniform_(tensor, 0.1, 0.3)
    # theirs are in the same order but for the shortcut, which a block has before its layers
    own_tensors = {name: tensor for name, tensor in own.state_dict().items() if "downsample" not in name}
    shortcuts = {name: tensor for name, tensor in own.state_dict().items() if "downsample" in name}
    state = other.state_dict()
    for names, tensors in (
        ([name for name in state if "shortcut" not in name], own_tensors),
        ([name for name in state if "shortcut" in name], shortcuts),
    ):
        state |= dict(zip(names, tensors.values(), strict=True))
    other.load_state_dict(state)
    pixels = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(own(pixels), other(pixels).last_hidden_state)


def test_weights_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    tensors = ResNet18().state_dict() | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    torch.save(tensors, path)
    network = office.network(VARIANTS["office_31"], weights=path)
    assert torch.equal(
        network.get_submodule("trunk.1.layer4").state_dict()["1.conv2.weight"], tensors["layer4.1.conv2.weight"]
    )


def changed(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


def first_picture(lists: Path, domain: str) -> Path:
    return lists / (lists / f"{domain}_train.txt").read_text().split(" ")[0]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def last_digits(path: Path, kind: str) -> None:
    path.write_text("".join(f"{line.rpartition(' ')[0]} {kind}\n" for line in path.read_text().splitlines()))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "no lists": (
        lambda lists: [path.unlink() for path in lists.glob("*.txt")],
        r"There is no list .*data_txt/office-31/amazon_train\.txt nor in .*\. Expected DIR/.*; get it from ",
    ),
    "a list missing": (lambda lists: (lists / "dslr_val.txt").unlink(), r"There is no list .*dslr_val\.txt\. Expected DIR/"),
    "an empty list": (lambda lists: (lists / "webcam_test.txt").write_text(""), r"webcam_test\.txt is empty\."),
    "a class too high": (
        lambda lists: last_digits(lists / "amazon_test.txt", "31"),
        r"Line 1 of .*amazon_test\.txt should be the path of a picture and its class, 0 to 30; got 'amazon/.* 31'\.",
    ),
    "no class": (
        lambda lists: changed(lists / "amazon_test.txt", ".png ", ".png,"),
        r"Line \d of .*amazon_test\.txt should be the path of a picture and its class, 0 to 30; got '.*,\d+'\.",
    ),
    "a picture missing": (
        lambda lists: first_picture(lists, "dslr").unlink(),
        r"There is no picture .*frame_0001\.png, which line 1 of .*dslr_train\.txt names\.",
    ),
    "a picture cut": (
        lambda lists: cut(first_picture(lists, "webcam")),
        r"frame_0001\.png cannot be read as a picture: .*\. Get this file again\.",
    ),
    "no text": (
        lambda lists: (lists / "amazon_val.txt").write_bytes(b"\xff"),
        r"amazon_val\.txt cannot be read: 'utf-8' codec",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_gets_a_sentence(tmp_path: Path, name: str) -> None:
    change, sentence = WRONG[name]
    change(write_office(tmp_path))
    with pytest.raises(InputError, match=sentence):
        office.check(tmp_path, "office_31")
