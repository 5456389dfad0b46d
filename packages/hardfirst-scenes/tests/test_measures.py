import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hardfirst import kpi
from hardfirst.problems import IGNORE, Measure
from hardfirst_scenes import _measures as measures

NAN = float("nan")
FRAMES, HEIGHT, WIDTH = 3, 8, 12


def half(target: Tensor) -> Tensor:
    return target[..., ::2, ::2]


def with_gaps(target: Tensor, gap: float) -> Tensor:
    """The target without its first frame and some of its pixels."""
    missing = torch.rand(FRAMES, *target.shape[-2:]) < 0.3
    missing[0] = True
    return target.masked_fill(missing.unsqueeze(1) if target.dim() == 4 else missing, gap)


def segments() -> tuple[Tensor, Tensor]:
    logits = torch.randn(FRAMES, 6, HEIGHT // 2, WIDTH // 2)
    return logits, with_gaps(torch.randint(0, 5, (FRAMES, HEIGHT, WIDTH)), IGNORE)


def depths() -> tuple[Tensor, Tensor]:
    logs = 0.3 * torch.randn(FRAMES, 1, HEIGHT // 2, WIDTH // 2) + 5
    return logs, with_gaps((0.3 * torch.randn(FRAMES, HEIGHT, WIDTH) + 5).exp(), NAN)


def normals() -> tuple[Tensor, Tensor]:
    target = torch.randn(FRAMES, 3, HEIGHT, WIDTH)
    vectors = 3 * half(target) + 2 * torch.randn(FRAMES, 3, HEIGHT // 2, WIDTH // 2)
    return vectors, with_gaps(F.normalize(target, dim=1), NAN)


TASKS = {"segment": segments, "depth": depths, "normals": normals}
LOSSES = {"segment": measures.segment_loss, "depth": measures.depth_loss, "normals": measures.normals_loss}
FIGURES = [
    ("segment", measures.mean_iou),
    ("depth", measures.delta),
    ("depth", measures.relative_error),
    ("normals", measures.angle_within),
    ("normals", measures.mean_angle),
]
ALL = [*LOSSES.items(), *FIGURES]
each = pytest.mark.parametrize(("task", "measure"), ALL)
each_loss = pytest.mark.parametrize(("task", "loss"), LOSSES.items())
each_figure = pytest.mark.parametrize(("task", "figure"), FIGURES)


# Values


def test_segment_loss_is_the_cross_entropy_of_labelled_pixels() -> None:
    logits, target = segments()
    expected = F.cross_entropy(logits, half(target), ignore_index=IGNORE)
    torch.testing.assert_close(measures.segment_loss(logits, target), expected)


def test_segment_loss_sums_half_precision_in_float32() -> None:
    logits, target = torch.randn(4, 3, 192, 192).half(), torch.randint(3, (4, 192, 192))
    torch.testing.assert_close(measures.segment_loss(logits, target), measures.segment_loss(logits.float(), target))


def test_mean_iou_by_hand() -> None:
    classes = torch.tensor([[[0, 0, 1], [1, 1, 2]]])
    logits = F.one_hot(torch.tensor([[[0, 1, 1], [1, 0, 0]]]), 4).movedim(-1, 1).float()
    classes[0, 1, 2] = IGNORE
    # of the 5 labelled: class 0 has 1 right of {0, 1, 4}, class 1 has 2 right of {1, 2, 3, 4}
    assert measures.mean_iou(logits, classes) == pytest.approx((1 / 3 + 2 / 4) / 2)


def test_depths_by_hand() -> None:
    logs = torch.tensor([10.0, 22.0, 0.5, 5.0]).log().view(1, 1, 1, 4)
    target = torch.tensor([[[10.0, 20.0, 0.8, NAN]]])
    assert measures.depth_loss(logs, target) == pytest.approx((math.log(1.1) + math.log(1.6)) / 3, rel=1e-5)
    assert measures.delta(logs, target) == pytest.approx(2 / 3)
    assert measures.relative_error(logs, target) == pytest.approx((0.1 + 0.375) / 3, rel=1e-5)


@pytest.mark.parametrize("degrees", [0.0, 20.0, 29.9, 30.1, 90.0, 180.0])
@pytest.mark.parametrize("length", [0.01, 1.0, 50.0])
def test_normals_by_hand(degrees: float, length: float) -> None:
    angle = math.radians(degrees)
    output = length * torch.tensor([math.sin(angle), 0.0, math.cos(angle)]).view(1, 3, 1, 1)
    target = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1)
    assert measures.mean_angle(output, target) == pytest.approx(degrees, abs=0.05)
    assert measures.angle_within(output, target) == (degrees <= 30)
    assert measures.normals_loss(output, target) == pytest.approx(1 - math.cos(angle), abs=1e-5)


def test_what_is_right_but_for_rounding_has_an_angle() -> None:
    target = F.normalize(torch.randn(1, 3, 50, 50), dim=1)
    assert measures.mean_angle(3 * target, target) < 0.05


def test_a_zero_vector_is_wrong_and_no_label() -> None:
    zero, up = torch.zeros(1, 3, 1, 1), torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    assert measures.angle_within(zero, up) == 0
    assert measures.angle_within(up, zero).isnan()


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_the_library(seed: int) -> None:
    torch.manual_seed(seed)
    logits, classes = segments()
    torch.testing.assert_close(measures.mean_iou(logits, classes), kpi.mean_iou(logits, half(classes)))
    logs, target = depths()
    torch.testing.assert_close(measures.delta(logs, target), kpi.delta(logs.squeeze(1).exp(), half(target)))
    vectors, directions = normals()
    share = measures.angle_within(vectors, directions)
    torch.testing.assert_close(share, kpi.angle_within(vectors, half(directions), degrees=30))
    assert 0.1 < share < 0.9


@each
def test_a_split_is_the_sum_of_its_batches(task: str, measure: Measure) -> None:
    output, target = TASKS[task]()
    form = kpi.streaming(measure)
    assert form is not None
    first, *others = (form.state_of(*batch) for batch in zip(output.split(1), target.split(1), strict=True))
    state = first
    for other in others:
        state = form.merge(state, other)
    assert form.finish(state).item() == pytest.approx(measure(output, target).item(), rel=1e-6)


# Labels that are missing, types and sizes


@each
def test_only_the_first_of_each_four_pixels_is_asked_about(task: str, measure: Measure) -> None:
    output, target = TASKS[task]()
    other = target.flip(-1).clone()
    half(other).copy_(half(target))
    assert not other.nan_to_num().equal(target.nan_to_num())
    assert measure(output, other) == measure(output, target)
    assert measure(output, half(target)) == measure(output, target)


@each
def test_frames_without_a_label_have_no_part(task: str, measure: Measure) -> None:
    output, target = TASKS[task]()
    torch.testing.assert_close(measure(output[1:], target[1:]), measure(output, target))


@each_loss
def test_gradients_are_those_of_labelled_pixels(task: str, loss: Measure) -> None:
    output, target = TASKS[task]()
    loss(output.requires_grad_(), target).backward()
    labels = half(target) if task != "normals" else half(target)[:, 0]
    labelled = ~labels.isnan() & (labels != IGNORE)
    assert output.grad is not None
    assert (output.grad.abs().sum(1) > 0).equal(labelled)


@each_loss
def test_a_loss_without_labels_is_0_with_a_graph(task: str, loss: Measure) -> None:
    output, target = TASKS[task]()
    nothing = loss(output.requires_grad_()[:1], target[:1])
    assert nothing == 0
    nothing.backward()
    assert output.grad is not None
    assert output.grad.eq(0).all()


@each_figure
def test_a_figure_without_labels_is_nan(task: str, figure: Measure) -> None:
    output, target = TASKS[task]()
    assert figure(output[:1], target[:1]).isnan()


@each_figure
def test_a_figure_has_no_gradient(task: str, figure: Measure) -> None:
    output, target = TASKS[task]()
    assert not figure(output.requires_grad_(), target).requires_grad


@each
def test_targets_may_be_narrow(task: str, measure: Measure) -> None:
    output, target = TASKS[task]()
    narrow = target.half() if target.is_floating_point() else target.to(torch.int8)
    value = measure(output, narrow)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, measure(output, narrow.to(target.dtype)))


def test_what_is_kept_as_255_is_no_label_if_viewed_as_signed() -> None:
    logits, target = segments()
    kept = target.masked_fill(target == IGNORE, 255).to(torch.uint8).view(torch.int8)
    for measure in (measures.segment_loss, measures.mean_iou):
        torch.testing.assert_close(measure(logits, kept), measure(logits, target))


@pytest.mark.parametrize("measure", [measures.normals_loss, measures.angle_within, measures.mean_angle])
def test_normals_may_be_kept_as_whole_numbers(measure: Measure) -> None:
    vectors, target = normals()
    kept = (target * 127).round().nan_to_num(0)
    torch.testing.assert_close(measure(vectors, kept.to(torch.int8)), measure(vectors, kept / 127))
    torch.testing.assert_close(measure(vectors, kept), measure(vectors, target), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("measure", [measures.depth_loss, measures.delta, measures.relative_error])
def test_a_depth_of_0_is_no_label(measure: Measure) -> None:
    logs, target = depths()
    torch.testing.assert_close(measure(logs, target.nan_to_num(0)), measure(logs, target))
