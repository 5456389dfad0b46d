"""The dilated ResNet-50: its size, its grid, and the files of weights that it reads."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from hardfirst.errors import InputError
from hardfirst.networks import ASPP, DilatedResNet, parameters


def test_it_has_the_size_of_a_resnet_50() -> None:
    """ResNet-50 has 25,557,032 parameters, of which the classifier of 1,000 classes has 2,049,000."""
    with torch.device("meta"):
        assert parameters(DilatedResNet()) == 25_557_032 - 2_049_000


def test_every_fourth_feature_is_that_of_the_strided_network() -> None:
    """Dilation keeps what a network computes, and adds the positions that strides leave out (Yu et al., section 2)."""
    network = DilatedResNet(2).eval()
    strided = copy.deepcopy(network)
    for name in ("layer3", "layer4"):
        for number, block in enumerate(strided.get_submodule(name)):
            block.conv2.dilation = block.conv2.padding = (1, 1)
            if number == 0:
                block.conv2.stride = block.downsample[0].stride = (2, 2)
    images = torch.rand(1, 3, 64, 96)
    torch.testing.assert_close(network(images)[..., ::4, ::4], strided(images))


def test_weights_of_either_kind_of_file_are_read(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    tensors = {**DilatedResNet(2).state_dict(), "fc.weight": torch.zeros(10, 64), "fc.bias": torch.zeros(10)}
    images = torch.rand(1, 3, 32, 32)
    torch.save(tensors, tmp_path / "resnet.pth")
    save_file(tensors, tmp_path / "resnet.safetensors")
    first, second = (
        DilatedResNet(2, weights=tmp_path / name).eval()(images) for name in ("resnet.pth", "resnet.safetensors")
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, DilatedResNet(2).eval()(images))


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched"),))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no file .*resnet.pth"),
        (b"neither", r"resnet.pth cannot be read as tensors by name"),
        (pickle.dumps(Harmful(), protocol=2), r"resnet.pth cannot be read as tensors by name"),
        ([torch.zeros(2)], r"Expected .*resnet.pth to contain tensors by name"),
        (
            {"conv1.weight": torch.zeros(64, 3, 7, 7)},
            r"does not fit this network: 264 tensors are missing and 1 have another",
        ),
    ],
    ids=["missing", "no tensors", "code", "a list", "another network"],
)
def test_other_files_are_refused(content: object, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "resnet.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=sentence):
        DilatedResNet(2, weights=path)
    assert not (tmp_path / "touched").exists()


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    (tmp_path / "resnet.safetensors").write_bytes(b"0")
    with pytest.raises(InputError, match=r"resnet.safetensors cannot be read as tensors by name"):
        DilatedResNet(2, weights=tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match="Expected `weights` to be the path of a file, without a comma or plus"):
        DilatedResNet(2, weights=("a", "b"))  # type: ignore[arg-type]  # what `weights=a+b` gives


@pytest.mark.parametrize("batch", [1, 3])
def test_a_head_learns_from_batches_of_any_size(batch: int) -> None:
    head = ASPP(6, outputs=3, channels=4, unit=True)
    output = head(torch.rand(batch, 6, 9, 12))
    assert output.shape == (batch, 3, 72, 96)
    torch.testing.assert_close(output.norm(dim=1), torch.ones(batch, 72, 96))
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_the_mean_of_an_image_is_normed_as_if_it_were_one_position() -> None:
    """Of a map that is the same everywhere, a batch's mean and variance are those of one position for each image."""
    head, features = ASPP(6, outputs=3, channels=4), torch.rand(5, 6, 4, 4)
    spread = head.whole_image(features.mean((2, 3), keepdim=True).expand_as(features))
    norm = copy.deepcopy(head.whole_image)
    assert isinstance(norm[1], nn.BatchNorm2d)
    torch.testing.assert_close(spread[..., :1, :1], norm(features.mean((2, 3), keepdim=True)))
