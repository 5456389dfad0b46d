import math
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst.errors import MissingPackage
from hardfirst_scenes import _average_precision as average
from hardfirst_scenes import _detection as detection
from hardfirst_scenes import _network
from hardfirst_scenes._detection import EXAMPLE_LOSSES, GRID, Grid

CLASSES = 2
each_example = pytest.mark.parametrize("example", EXAMPLE_LOSSES.values(), ids=EXAMPLE_LOSSES)
each_seed = pytest.mark.parametrize("seed", range(5))


def boxes(frames: int, objects: int = 4, *, least: float = 4.0, grid: Grid = GRID) -> Tensor:
    """Targets with some objects in each frame, from none to all, of every size."""
    size = least + (torch.tensor([60.0, 60.0]) - least) * torch.rand(frames, objects, 2) ** 2
    low = (torch.tensor([grid.width, grid.height]) - size) * torch.rand(frames, objects, 2)
    found = torch.cat([low, low + size, torch.randint(0, CLASSES, (frames, objects, 1))], dim=-1)
    there = torch.arange(objects) < torch.randint(0, objects + 1, (frames, 1))
    return torch.where(there.unsqueeze(-1), found, -1)


def apart(frames: int) -> Tensor:
    """Targets with an object in each quarter of the frame, which do not touch."""
    size = 4 + 44 * torch.rand(frames, 4, 2)
    low = torch.tensor([[0.0, 0.0], [80.0, 0.0], [0.0, 60.0], [80.0, 60.0]]) + torch.rand(frames, 4, 2) * (52 - size)
    return torch.cat([low, low + size, torch.randint(0, CLASSES, (frames, 4, 1))], dim=-1)


def saying(target: Tensor, grid: Grid = GRID, *, sure: float = 8.0) -> Tensor:
    """The output that says just what the target has."""
    output = torch.zeros(len(target), len(grid.cells), CLASSES + 4)
    output[..., :CLASSES] = -sure
    place = grid.assign(target)
    for frame, cell in (place >= 0).nonzero().tolist():
        x1, y1, x2, y2, kind = target[frame, place[frame, cell]].tolist()
        x, y, stride = grid.cells[cell].tolist()
        output[frame, cell, int(kind)] = sure
        where = [((x1 + x2) / 2 - x) / stride, ((y1 + y2) / 2 - y) / stride]
        output[frame, cell, CLASSES:] = torch.tensor([*where, math.log((x2 - x1) / stride), math.log((y2 - y1) / stride)])
    return output


# The cells


def test_cells_of_a_small_frame() -> None:
    cells = Grid(8, 16, strides=(4, 8)).cells.tolist()
    assert cells[:5] == [[2, 2, 4], [6, 2, 4], [10, 2, 4], [14, 2, 4], [2, 6, 4]]
    assert cells[8:] == [[4, 4, 8], [12, 4, 8]]


def test_a_map_covers_a_frame_that_its_stride_does_not_divide() -> None:
    assert len(Grid(9, 17, strides=(4, 8)).cells) == 3 * 5 + 2 * 3


def test_boxes_by_hand() -> None:
    grid = Grid(8, 16, strides=(4, 8))
    output = torch.zeros(1, 10, CLASSES + 4)
    output[0, 1, CLASSES:] = torch.tensor([0.5, -0.25, math.log(2), math.log(0.5)])
    output[0, 9, CLASSES:] = torch.tensor([1.0, 0.0, 0.0, math.log(3)])
    found = grid.boxes(output)[0]
    torch.testing.assert_close(found[0], torch.tensor([0.0, 0.0, 4.0, 4.0]))
    torch.testing.assert_close(found[1], torch.tensor([4.0, 0.0, 12.0, 2.0]))
    torch.testing.assert_close(found[9], torch.tensor([16.0, -8.0, 24.0, 16.0]))


def test_a_wild_output_gives_a_finite_box() -> None:
    assert GRID.boxes(torch.full((1, 1500, 6), 1e4)).isfinite().all()


def test_cells_near_the_centre_find_the_object() -> None:
    target = torch.tensor([[[10.0, 10.0, 30.0, 30.0, 0.0], [-1.0, -1.0, -1.0, -1.0, -1.0]]])
    place = GRID.assign(target)
    cells = GRID.cells[place[0] >= 0]
    assert cells[:, 2].eq(4).all()
    # within a stride of (20, 20), 4 pixels; on either side of it are the centres at 14, 18, 22 and 26
    assert {(x, y) for x, y, _ in cells.tolist()} == {(x, y) for x in (18, 22) for y in (18, 22)}
    assert place.max() == 0


def test_cells_outside_a_small_object_do_not_find_it() -> None:
    cells = GRID.cells[GRID.assign(torch.tensor([[[20.0, 20.0, 25.0, 24.0, 0.0]]]))[0] >= 0]
    assert cells[:, :2].tolist() == [[22.0, 22.0]]


@pytest.mark.parametrize(("side", "stride"), [(4, 4), (24, 4), (25, 8), (100, 8)])
def test_the_longer_side_says_on_which_map(side: float, stride: float) -> None:
    for width, height in ((side, 3), (3, side)):
        box = torch.tensor([[[50.0, 10.0, 50.0 + width, 10.0 + height, 1.0]]])
        strides = GRID.cells[GRID.assign(box)[0] >= 0, 2]
        assert len(strides)
        assert strides.eq(stride).all()


@each_seed
def test_every_object_is_found_by_a_cell(seed: int) -> None:
    torch.manual_seed(seed)
    alone = boxes(400, 1, least=0.5)
    alone = alone[alone[:, 0, 4] >= 0]
    assert (GRID.assign(alone) >= 0).any(1).all()


def test_of_two_objects_a_cell_finds_the_smaller() -> None:
    large, small = [0.0, 0.0, 20.0, 20.0, 0.0], [8.0, 8.0, 12.0, 12.0, 1.0]
    for target, place in (([large, small], 1), ([small, large], 0)):
        found = GRID.assign(torch.tensor([target]))[0]
        assert found[GRID.cells[:, :2].eq(10).all(1)].tolist() == [place]
        assert set(found.tolist()) == {-1, 0, 1}


def test_frames_without_objects_have_no_cells() -> None:
    assert GRID.assign(torch.full((3, 2, 5), -1.0)).eq(-1).all()
    assert GRID.assign(torch.tensor([[[20.0, 20.0, 60.0, 60.0, -1.0]]])).eq(-1).all()


# The loss


def test_the_loss_of_saying_what_is_there_is_small() -> None:
    target = boxes(6)
    right = detection.detection_loss(saying(target), target)
    assert right < 1e-3
    assert detection.detection_loss(saying(boxes(6)), target) > 1


def test_the_loss_by_hand() -> None:
    grid = Grid(8, 8, strides=(4,), limits=())
    target = torch.tensor([[[0.0, 0.0, 4.0, 4.0, 1.0]]])
    output = torch.zeros(1, 4, CLASSES + 4)
    output[0, 0, CLASSES] = 0.5  # half a stride to the right: the box is 2, 0, 6, 4, an IoU of 1/3, nothing around both
    loss = detection.detection_loss(output, target, example=EXAMPLE_LOSSES["cross_entropy"], grid=grid)
    assert float(loss) == pytest.approx(4 * CLASSES * math.log(2) + 2 / 3, rel=1e-5)


@each_example
def test_the_loss_is_divided_by_the_number_of_cells_with_an_object(example: detection.Example) -> None:
    target, output = boxes(3), torch.randn(3, 1500, CLASSES + 4)
    once = detection.detection_loss(output, target, example=example)
    twice = detection.detection_loss(output.repeat(2, 1, 1), target.repeat(2, 1, 1), example=example)
    torch.testing.assert_close(twice, once)


@each_example
def test_the_loss_does_not_depend_on_how_many_frames_at_a_time(
    example: detection.Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, output = boxes(5), torch.randn(5, 1500, CLASSES + 4)
    together = detection.detection_loss(output, target, example=example)
    monkeypatch.setattr(detection, "FRAMES_AT_ONCE", 2)
    torch.testing.assert_close(detection.detection_loss(output, target, example=example), together)


@each_example
def test_frames_without_objects_teach_that_there_are_none(example: detection.Example) -> None:
    output = torch.zeros(2, 1500, CLASSES + 4, requires_grad=True)
    detection.detection_loss(output, torch.full((2, 3, 5), -1.0), example=example).backward()
    assert output.grad is not None
    assert (output.grad[..., :CLASSES] >= 0).all()
    assert output.grad[..., :CLASSES].sum() > 0
    assert output.grad[..., CLASSES:].eq(0).all()


@each_example
def test_only_cells_with_an_object_have_a_box(example: detection.Example) -> None:
    target, output = boxes(4), torch.randn(4, 1500, CLASSES + 4, requires_grad=True)
    detection.detection_loss(output, target, example=example).backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    assert output.grad[..., CLASSES:].any(-1).equal(GRID.assign(target) >= 0)


@each_example
def test_the_losses_of_cells_are_those_of_the_loss(example: detection.Example) -> None:
    target, output = boxes(4), torch.randn(4, 1500, CLASSES + 4)
    losses, objects = detection.cell_losses(output, target, example=example)
    assert losses.shape == objects.shape == (4, 1500, CLASSES)
    place = GRID.assign(target)
    found = place >= 0
    assert objects.sum(-1).equal(found.long())
    kinds = target[..., 4].gather(1, place.clamp(min=0))
    assert objects[found].long().argmax(-1).equal(kinds[found].long())
    boxes_there = torch.stack([target[frame, place[frame, cell], :4] for frame, cell in found.nonzero()])
    misplaced = (1 - detection.generalized_iou(GRID.boxes(output)[found], boxes_there)).sum()
    total = detection.detection_loss(output, target, example=example) * found.sum()
    torch.testing.assert_close(total, losses.sum() + misplaced)


@each_seed
def test_ohem_keeps_the_hardest_three_for_each_with_an_object(seed: int) -> None:
    torch.manual_seed(seed)
    logits, target = torch.randn(3, 40, CLASSES), torch.zeros(3, 40, CLASSES)
    target[0, 5, 1] = target[0, 7, 0] = target[1, 30, 0] = 1
    losses = detection.ohem(logits, target)
    expected = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    for frame, with_object in enumerate([[5, 7], [30], []]):
        others = sorted(set(range(40)) - set(with_object), key=lambda cell: -float(expected[frame, cell].sum()))
        kept = with_object + others[: 3 * max(1, len(with_object))]
        gone = sorted(set(range(40)) - set(kept))
        torch.testing.assert_close(losses[frame, kept], expected[frame, kept])
        assert losses[frame, gone].eq(0).all()


def test_example_losses_are_those_of_the_paper() -> None:
    logits, target = torch.randn(50, CLASSES), (torch.rand(50, CLASSES) < 0.3).float()
    right = torch.where(target == 1, logits, -logits).sigmoid()
    for name, gamma, alpha in (
        ("cross_entropy", 0, None),
        ("balanced", 0, 0.75),
        ("focal_0.5", 0.5, 0.5),
        ("focal_1", 1, 0.25),
        ("focal_2", 2, 0.25),
        ("focal_5", 5, 0.25),
    ):
        weight = 1 if alpha is None else torch.where(target == 1, alpha, 1 - alpha)
        expected = -weight * (1 - right) ** gamma * right.log()
        torch.testing.assert_close(EXAMPLE_LOSSES[name](logits, target), expected)


# Overlap and suppression


def pixels(box: Tensor) -> set[tuple[int, int]]:
    x1, y1, x2, y2 = (int(side) for side in box)
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


def around(a: Tensor, b: Tensor) -> set[tuple[int, int]]:
    return pixels(torch.cat([torch.minimum(a[:2], b[:2]), torch.maximum(a[2:], b[2:])]))


@each_seed
def test_overlap_by_counting_pixels(seed: int) -> None:
    torch.manual_seed(seed)
    low = torch.randint(0, 8, (2, 20, 2))
    a, b = torch.cat([low, low + torch.randint(1, 9, (2, 20, 2))], dim=-1).float()
    for one, other, share, generalized in zip(a, b, detection.iou(a, b), detection.generalized_iou(a, b), strict=True):
        union, hull = pixels(one) | pixels(other), around(one, other)
        expected = len(pixels(one) & pixels(other)) / len(union)
        assert float(share) == pytest.approx(expected, rel=1e-5)
        assert float(generalized) == pytest.approx(expected - len(hull - union) / len(hull), rel=1e-5)


def test_boxes_apart_are_drawn_together() -> None:
    box = torch.tensor([0.0, 0.0, 4.0, 4.0], requires_grad=True)
    detection.generalized_iou(box, torch.tensor([10.0, 0.0, 14.0, 4.0])).backward()
    assert box.grad is not None
    assert box.grad[2] > 0


def greedy(found: Tensor, threshold: float) -> list[bool]:
    kept: list[int] = []
    for place, box in enumerate(found):
        if all(float(detection.iou(box, found[better])) <= threshold for better in kept):
            kept.append(place)
    return [place in kept for place in range(len(found))]


@each_seed
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_suppression_is_the_greedy_one(seed: int, threshold: float) -> None:
    torch.manual_seed(seed)
    low = 20 * torch.rand(3, 40, 2)
    found = torch.cat([low, low + 5 + 20 * torch.rand(3, 40, 2)], dim=-1)
    keep = average.suppress(found, threshold=threshold)
    assert keep.tolist() == [greedy(frame, threshold) for frame in found]
    assert keep[:, 0].all()


def test_what_is_suppressed_does_not_suppress() -> None:
    row = torch.tensor([[[x, 0.0, x + 10.0, 10.0] for x in (0.0, 4.0, 8.0, 12.0, 16.0)]])
    assert average.suppress(row, threshold=0.3).tolist() == [[True, False, True, False, True]]


# Detections


def test_detections_are_what_the_output_says() -> None:
    target = apart(3)
    found = average.detections(saying(target))
    for frame, rows in zip(target, found, strict=True):
        there = rows[rows[:, 4] >= 0]
        assert len(there) == 4
        distance = (there[:, None, :5] - frame).abs().amax(-1)
        assert distance.amin(0).max() < 1e-3
        assert there[:, 5].gt(0.99).all()


def test_detections_are_best_first_and_gone_rows_are_minus_one() -> None:
    output = torch.randn(4, 1500, CLASSES + 4)
    output[..., CLASSES:] = torch.tensor([0.0, 0.0, 1.0, 1.0])  # wide enough to overlap
    found = average.detections(output, candidates=50)
    assert found.shape == (4, 50, 6)
    gone = found[..., 4] < 0
    assert gone.any()
    assert found[gone].eq(-1).all()
    for rows in found:
        scores = rows[rows[:, 4] >= 0, 5]
        assert scores.equal(scores.sort(descending=True).values)


def test_objects_of_two_classes_do_not_suppress_each_other() -> None:
    output = saying(torch.tensor([[[40.0, 40.0, 60.0, 60.0, 0.0]]]))
    output[..., 1] = output[..., 0] - 1
    found = average.detections(output)[0]
    assert found[found[:, 4] >= 0, 4].tolist() == [0, 1]


def test_unlikely_objects_are_left_out() -> None:
    target = apart(1)
    output = saying(target)
    output[..., 0] -= 11
    kinds = average.detections(output, score=0.1)[0, :, 4]
    assert set(kinds.tolist()) <= {1.0, -1.0}
    assert int((kinds == 1).sum()) == int((target[..., 4] == 1).sum())


def test_boxes_end_with_the_frame() -> None:
    output = saying(torch.tensor([[[-20.0, 50.0, 30.0, 150.0, 1.0]]]))
    found = average.detections(output)[0]
    torch.testing.assert_close(found[found[:, 4] >= 0, :4], torch.tensor([[0.0, 50.0, 30.0, 120.0]]))


# The average precision


def precision_of_outputs(output: Tensor, target: Tensor, *, frames: int = 2, **options: Any) -> Tensor:
    """The KPI of the problem, in batches of so many frames."""
    measure = average.AveragePrecision(**options)
    for batch in zip(output.split(frames), target.split(frames), strict=True):
        measure.update(*batch)
    return measure.compute()


def test_saying_what_is_there_is_perfect() -> None:
    target = apart(5)
    assert precision_of_outputs(saying(target), target) == 1
    assert precision_of_outputs(saying(target), target, threshold=0.95) == 1


def test_precision_is_that_of_all_batches() -> None:
    torch.manual_seed(0)
    target = boxes(9)
    output = saying(target)
    output += 0.5 * torch.randn_like(output)
    whole = average.precision_of(average.detections(output), target)
    assert 0 < whole < 1
    assert [precision_of_outputs(output, target, frames=frames) for frames in (1, 4, 9)] == [whole] * 3


def test_precision_by_hand() -> None:
    one, other = [0.0, 0.0, 10.0, 10.0], [50.0, 50.0, 60.0, 60.0]
    target = torch.tensor([[[*one, 0.0], [*other, 0.0]]])

    def precision(*rows: list[float], threshold: float = 0.5) -> float:
        return float(average.precision_of(torch.tensor([rows]), target, threshold=threshold))

    assert precision([*one, 0, 0.9], [*other, 0, 0.8]) == 1
    assert precision([*one, 0, 0.9]) == pytest.approx(51 / 101)  # of the recalls 0 to 1 in hundredths, those up to a half
    assert precision([*one, 1, 0.9]) == 0
    assert precision([*one, 0, 0.9], [*one, 0, 0.8], [*other, 0, 0.7]) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert precision([*one, 0, 0.9], [0, 0, 10, 4.9, 0, 0.8]) == pytest.approx(51 / 101)
    assert precision([0, 0, 10, 5.1, 0, 0.8], [*other, 0, 0.9]) == 1
    assert precision([0, 0, 10, 7.4, 0, 0.8], [*other, 0, 0.9], threshold=0.75) == pytest.approx(51 / 101)
    assert precision([0, 0, 10, 7.6, 0, 0.8], [*other, 0, 0.9], threshold=0.75) == 1


def test_precision_is_the_mean_over_classes_of_all_frames() -> None:
    """Of class 0 the best of two answers is in the wrong frame, of class 1 there is one object of three, large and small."""
    one, other, large = [0.0, 0.0, 2.0, 2.0], [50.0, 50.0, 60.0, 60.0], [0.0, 0.0, 160.0, 120.0]
    nothing = [-1.0] * 6
    target = torch.tensor([[[*one, 0.0], [*large, 1.0]], [[*other, 1.0], [*one, 1.0]]])
    found = torch.tensor([[[*large, 1, 0.1], [*one, 0, 0.3], nothing], [[*one, 0, 0.9], nothing, nothing]])
    of_1 = 34 / 101  # the recalls from 0 to a third
    assert average.precision_of(found, target) == pytest.approx((1 / 2 + of_1) / 2)


def test_a_class_that_is_not_there_has_no_part() -> None:
    box = [0.0, 0.0, 10.0, 10.0]
    found = torch.tensor([[[*box, 1, 0.9], [*box, 0, 0.3]]])
    assert average.precision_of(found, torch.tensor([[[*box, 1.0]]])) == 1


def test_precision_of_nothing_found_is_0() -> None:
    assert average.precision_of(torch.full((2, 3, 6), -1.0), apart(2)) == 0


def test_an_output_that_is_nan_finds_nothing() -> None:
    target = apart(2)
    assert precision_of_outputs(torch.full_like(saying(target), torch.nan), target) == 0


def test_precision_without_objects_is_nan() -> None:
    assert precision_of_outputs(torch.randn(2, 1500, 6), torch.full((2, 3, 5), -1.0)).isnan()


def test_the_evaluation_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    target = apart(2)
    value = precision_of_outputs(saying(target).requires_grad_(), target)
    assert not value.requires_grad
    assert capsys.readouterr() == ("", "")


def test_without_pycocotools_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(MissingPackage, match="needs pycocotools: pip install pycocotools"):
        average.precision_of(torch.full((1, 1, 6), -1.0), apart(1))


# Learning


def scenes(frames: int) -> tuple[Tensor, Tensor]:
    """A red or blue rectangle on grey noise, [frames, 3, 48, 64], and in three of four frames another one."""
    images = torch.randint(80, 150, (frames, 3, 48, 64), dtype=torch.uint8)
    target = torch.full((frames, 2, 5), -1.0)
    for frame in range(frames):
        for place in range(2 if frame % 4 else 1):
            width, height = torch.randint(6, 24, (2,)).tolist()
            x, y, kind = (int(torch.randint(most, ())) for most in (64 - width, 48 - height, 2))
            colour = torch.tensor([[220, 60, 60], [60, 60, 220]], dtype=torch.uint8)[kind]
            images[frame, :, y : y + height, x : x + width] = colour.view(3, 1, 1)
            target[frame, place] = torch.tensor([x, y, x + width, y + height, kind])
    return images, target


def test_the_detector_learns() -> None:
    grid = Grid(48, 64)
    network = _network.network((16, 32, 32, 48))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    held_out, there = scenes(64)

    def precision() -> float:
        with torch.no_grad():
            return float(precision_of_outputs(network(held_out)["boxes"], there, grid=grid))

    assert precision() < 0.02
    images, target = scenes(128)
    for step in range(80):
        rows = torch.arange(16 * step, 16 * (step + 1)) % len(images)
        optimizer.zero_grad()
        detection.detection_loss(network(images[rows])["boxes"], target[rows], grid=grid).backward()
        optimizer.step()
    assert precision() > 0.3
