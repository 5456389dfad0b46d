"""The problem `scenes`: what it is made of, and that it trains with missing labels, rare objects and each of its losses."""

from dataclasses import replace

import pytest
import torch

from hardfirst.networks import NETWORKS, parameters
from hardfirst.problems import IGNORE, PROBLEMS, Splits, load_problem
from hardfirst.training import check_problem
from hardfirst.training._batch import measure, select_labelled
from hardfirst_scenes import FrameTable, loss_share
from hardfirst_scenes._detection import EXAMPLE_LOSSES, GRID, cell_losses

CELLS = len(GRID.cells)


def frames(count: int = 4) -> FrameTable:
    """Frames of noise: walls and floors, a part without a label, and in the first frame a monster."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 2, (count, 120, 160), dtype=torch.uint8, generator=generator)
    classes[:, :10] = 255
    normals = torch.zeros(count, 3, 120, 160, dtype=torch.int8)
    normals[:, 2, 20:] = 127
    boxes = torch.full((count, 20, 5), -1.0)
    boxes[0, 0] = torch.tensor([40.0, 30.0, 70.0, 80.0, 0.0])
    return FrameTable(
        torch.randint(0, 256, (count, 3, 120, 160), dtype=torch.uint8, generator=generator),
        {
            "segment": classes,
            "depth": torch.rand(count, 120, 160, generator=generator).half() * 10,
            "normals": normals,
            "boxes": boxes,
        },
    )


def test_hardfirst_finds_the_problems() -> None:
    for name in ("scenes", "scenes:small"):
        assert PROBLEMS.plugins[name].dist.name == "hardfirst-scenes"  # type: ignore[union-attr]
        assert PROBLEMS[name]().name == name
    assert not {"scenes", "scenes:small"} & PROBLEMS.missing.keys()


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_fits(network: str) -> None:
    table = frames(16)
    problem = replace(load_problem("scenes:small"), data=lambda: Splits(table, table, table))
    assert problem.parts is not None
    assert problem.parts().tasks == problem.task_names
    check_problem(problem.variant(network=network), problem.name)
    size, hard_sharing = (parameters(problem.variant(network=name).network()) for name in (network, "hard_sharing"))
    assert abs(size - hard_sharing) < 0.07 * hard_sharing


def test_pixels_without_a_class_have_the_librarys_own() -> None:
    _, targets = frames()[torch.tensor([0, 1])]
    assert targets["segment"].unique().tolist() == [IGNORE, 0, 1]
    assert (targets["segment"][:, :10] == IGNORE).all()


def test_a_frame_without_objects_is_a_labelled_one() -> None:
    problem = load_problem("scenes:small")
    network = problem.network()
    inputs, targets = frames()[torch.tensor([1, 2])]
    found = select_labelled(problem, network(inputs), targets)
    assert {task: len(target) for task, (_, target) in found.items()} == dict.fromkeys(problem.task_names, 2)


@pytest.mark.parametrize("loss", list(EXAMPLE_LOSSES))
def test_each_loss_trains_the_detector_alone(loss: str) -> None:
    problem = load_problem("scenes:small").variant(only="boxes", loss=loss)
    torch.manual_seed(0)
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    inputs, targets = frames()[torch.arange(4)]
    losses = []
    for _ in range(6):
        found = measure(problem, select_labelled(problem, network(inputs), targets)).losses["boxes"]
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        losses.append(float(found.detach()))
    assert losses[-1] < losses[0]


def test_the_baseline_is_cross_entropy_and_focal_loss_is_what_compare_trains() -> None:
    task = load_problem("scenes:small").loss_study_task
    assert task.name == "boxes"
    assert next(iter(task.losses)) == "cross_entropy"
    output, target = torch.randn(2, CELLS, 6), frames()[torch.tensor([0, 1])][1]["boxes"]
    torch.testing.assert_close(task.loss(output, target), task.losses["focal_2"].loss(output, target))


def test_how_a_loss_is_spread() -> None:
    output, target = torch.randn(2, CELLS, 6), frames()[torch.tensor([0, 1])][1]["boxes"]
    example = EXAMPLE_LOSSES["cross_entropy"]
    losses, objects = cell_losses(output, target, example=example)
    for kind in (True, False):
        found = losses[objects == kind].sort(descending=True).values
        tenth = found[: round(len(found) / 10)].sum() / found.sum()
        share = loss_share(output, target, example=example, objects=kind, hardest=10)
        torch.testing.assert_close(share.float(), tenth)
        everything = loss_share(output, target, example=example, objects=kind, hardest=100)
        assert everything == pytest.approx(1.0)


def test_the_network_of_focal_2_is_told_of_all_losses() -> None:
    losses = load_problem("scenes:small").loss_study_task.losses
    under = {metric.partition(" under ")[2] for metric in losses["focal_2"].metrics}
    assert under == {"", *EXAMPLE_LOSSES}
    assert all(metric.test_only for choice in losses.values() for metric in choice.metrics.values())
    assert all(" under " not in metric for metric in losses["ohem"].metrics)
