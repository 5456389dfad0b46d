import pytest
import torch
from torch import Tensor, nn

from hardfirst_scenes import _detection, _network


@pytest.fixture
def frames() -> Tensor:
    return torch.randint(0, 256, (2, 3, 120, 160), dtype=torch.uint8)


def weights(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_task_has_an_output(frames: Tensor) -> None:
    outputs = _network.network(segments=5, objects=3)(frames)
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        "segment": (2, 5, 60, 80),
        "depth": (2, 1, 60, 80),
        "normals": (2, 3, 60, 80),
        "boxes": (2, 1500, 7),
    }


@pytest.mark.parametrize("size", [(120, 160), (64, 96), (40, 56), (36, 44)])
def test_the_detector_has_the_cells_of_its_grid(size: tuple[int, int]) -> None:
    output = _network.network()(torch.zeros(1, 3, *size, dtype=torch.uint8))["boxes"]
    assert output.shape[1] == len(_detection.Grid(*size).cells)


def test_cells_come_in_the_order_of_the_grid() -> None:
    """Light in one place of the frame changes the cells there most."""
    torch.manual_seed(0)
    network = _network.network()
    dark = torch.full((1, 3, 120, 160), 128, dtype=torch.uint8)
    light = dark.clone()
    light[:, :, 80:96, 24:40] = 255
    change = (network(light)["boxes"] - network(dark)["boxes"]).abs().sum(-1)[0]
    cells = _detection.GRID.cells
    for stride in (4, 8):
        level = cells[:, 2] == stride
        x, y, _ = cells[level][change[level].argmax()].tolist()
        assert 16 <= x <= 48
        assert 72 <= y <= 104


def test_size() -> None:
    network = _network.network()
    assert 0.8e5 < weights(network.trunk) < 1.6e5
    assert weights(network.heads) < weights(network.trunk)
    assert len(network.shared_parameters()) == len(list(network.trunk.parameters()))


def test_frames_do_not_depend_on_their_batch(frames: Tensor) -> None:
    network = _network.network()
    together = network(frames)
    network.eval()
    alone = network(frames[:1])
    for task, output in alone.items():
        torch.testing.assert_close(output, together[task][:1], rtol=1e-3, atol=1e-4)


def test_channels_lie_side_by_side(frames: Tensor) -> None:
    network = _network.network()
    for features in network.trunk(frames):
        assert features.is_contiguous(memory_format=torch.channels_last)


def test_every_weight_learns(frames: Tensor) -> None:
    network = _network.network()
    torch.stack([output.square().mean() for output in network(frames).values()]).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_objects_are_rare_and_depths_are_metres_before_anything_is_learned(frames: Tensor) -> None:
    outputs = _network.network()(frames)
    likely = outputs["boxes"][..., :2].sigmoid().detach()
    assert likely.min() > 0.005
    assert likely.max() < 0.02
    assert float(likely.mean()) == pytest.approx(0.01, rel=0.1)
    assert float(outputs["depth"].detach().mean()) == pytest.approx(1.2, abs=0.5)
