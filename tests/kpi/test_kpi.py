import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hardfirst import kpi
from hardfirst.errors import InputError

NAN = math.nan
Measure = Callable[[Tensor, Tensor], Tensor]

OVER_CLASSES: dict[str, Measure] = {
    "accuracy": kpi.accuracy,
    "balanced_accuracy": kpi.balanced_accuracy,
    "mean_iou": kpi.mean_iou,
}
OVER_VALUES: dict[str, Measure] = {
    "within": partial(kpi.within, threshold=0.5),
    "within_relative": kpi.within_relative,
    "delta": kpi.delta,
    "angle_within": kpi.angle_within,
    "r2": kpi.r2,
}
OVER_SCORES: dict[str, Measure] = {"auc": kpi.auc, "average_precision": kpi.average_precision, "gini": kpi.gini}
YES_OR_NO: dict[str, Measure] = OVER_SCORES | {"f1": kpi.f1}
MEASURES = OVER_CLASSES | OVER_VALUES | YES_OR_NO
each_measure = pytest.mark.parametrize("name", MEASURES)


def example(name: str, batch: int = 8) -> tuple[Tensor, Tensor]:
    """An output and a target that the measure takes, with labels missing in the first two examples."""
    generator = torch.Generator().manual_seed(1)
    output = torch.randn(batch, 3, 4, generator=generator)
    if name in OVER_CLASSES:
        target = torch.randint(3, (batch, 4), generator=generator)
        target[:2] = -100
        return output, target
    if name in YES_OR_NO:
        target = (output + torch.randn(output.shape, generator=generator) > 0).float()
        target[:2] = NAN
        return output, target
    target = output + torch.randn(output.shape, generator=generator)
    target[:2] = NAN
    return output, target


def unlabelled(name: str, batch: int = 8) -> tuple[Tensor, Tensor]:
    output, target = example(name, batch)
    return output, torch.full_like(target, NAN if target.is_floating_point() else -100)


def check(actual: Tensor, expected: float) -> None:
    assert actual.shape == ()
    assert actual.item() == pytest.approx(expected, abs=1e-6, nan_ok=True)


# Hand-worked values


def test_accuracy_of_classes() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 2.0], [9.0, 0.0, 0.0]])
    check(kpi.accuracy(logits, torch.tensor([0, 1, 1, 2])), 2 / 4)
    check(kpi.accuracy(logits, torch.tensor([0, 1, 1, -100])), 2 / 3)
    check(kpi.accuracy(logits, torch.tensor([0, 1, 1, 0]), ignore_index=0), 1 / 2)


def test_accuracy_per_pixel() -> None:
    logits = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])  # one image of 1×2 pixels, two classes
    check(kpi.accuracy(logits, torch.tensor([[[0, 0]]])), 1 / 2)


def test_accuracy_of_binary_logits() -> None:
    logits = torch.tensor([1.0, -1.0, 0.0, 5.0])
    check(kpi.accuracy(logits, torch.tensor([1.0, 0.0, 1.0, NAN])), 2 / 3)
    check(kpi.accuracy(logits, torch.tensor([1, 0, 1, -100])), 2 / 3)
    check(kpi.accuracy(logits, torch.tensor([1.0, 0.0, 1.0, -1.0]), ignore_index=-1), 2 / 3)
    check(kpi.accuracy(logits, torch.tensor([True, True, False, True])), 3 / 4)


PROBABILITIES = torch.tensor([0.1, 0.2, 0.3, 0.9])
ANSWERS = torch.tensor([0, 0, 0, 1])


@pytest.mark.parametrize(
    ("threshold", "expected"), [(None, (0.25, 0.5, 0.125)), (0.5, (1, 1, 1)), (0.25, (0.75, 5 / 6, 7 / 12))]
)
def test_a_threshold_for_probabilities(threshold: float | None, expected: tuple[float, ...]) -> None:
    for measure, value in zip(OVER_CLASSES.values(), expected, strict=True):
        check(measure(PROBABILITIES, ANSWERS, threshold=threshold), value)  # type: ignore[call-arg]


@pytest.mark.parametrize("measure", OVER_CLASSES.values())
def test_binary_outputs_that_look_like_probabilities_get_a_warning(measure: Measure) -> None:
    output, target = PROBABILITIES.repeat(4), ANSWERS.repeat(4)
    with pytest.warns(UserWarning, match=r"All 16 binary outputs are in \[0, 1\].*`threshold=0.5`.*`threshold=0.0`") as told:
        measure(output, target)
    assert told[0].filename == __file__
    for silent in (  # under `-W error` a warning fails
        output[:15],
        torch.where(output > 0.5, output, -output),
        output / 2,  # as of logits at the start of training
        output + 0.5,
        (output > 0.5).float(),
        output.round().long(),
    ):
        measure(silent, target[: len(silent)])
    for threshold in (0.0, 0.5):
        measure(output, target, threshold=threshold)  # type: ignore[call-arg]
    measure(torch.stack([1 - output, output], 1), target)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.float16, torch.float64])
@pytest.mark.parametrize("name", OVER_CLASSES)
def test_any_type_of_classes_gives_the_figure_of_int64(name: str, dtype: torch.dtype) -> None:
    output, target = example(name)
    target[:2] = 100  # fits every type
    measure = partial(OVER_CLASSES[name], ignore_index=100)
    assert measure(output, target.to(dtype)) == measure(output, target)
    binary, answers = output[:, 0], (target == 1).to(dtype)
    assert OVER_CLASSES[name](binary, answers) == OVER_CLASSES[name](binary, target == 1)


def test_class_156_of_a_small_integer_target_is_a_label() -> None:
    logits = torch.zeros(2, 200).index_fill(1, torch.tensor([156]), 1.0)
    check(kpi.accuracy(logits, torch.tensor([156, 3], dtype=torch.uint8)), 1 / 2)


def test_balanced_accuracy_averages_recall_over_the_classes_present() -> None:
    predicted = torch.tensor([0, 0, 1, 2, 2])
    logits = torch.nn.functional.one_hot(predicted, 4).float()
    check(kpi.balanced_accuracy(logits, torch.tensor([0, 0, 0, 1, -100])), (2 / 3 + 0) / 2)
    check(kpi.balanced_accuracy(torch.tensor([1.0, -1.0, -1.0]), torch.tensor([1.0, 1.0, 0.0])), (1 / 2 + 1) / 2)


def test_balanced_accuracy_of_one_class_is_unknown() -> None:
    check(kpi.balanced_accuracy(torch.full((400,), -1.0), torch.zeros(400)), NAN)  # a network that says no to all
    check(kpi.balanced_accuracy(torch.eye(3), torch.tensor([1, 1, -100])), NAN)


def test_mean_iou_counts_a_class_predicted_in_vain_and_leaves_out_one_never_met() -> None:
    predicted = torch.tensor([[0, 0, 1, 2]])
    logits = torch.nn.functional.one_hot(predicted, 5).movedim(-1, 1).float()
    check(kpi.mean_iou(logits, torch.tensor([[0, 1, 1, 1]])), (1 / 2 + 1 / 3 + 0) / 3)
    check(kpi.mean_iou(logits, torch.tensor([[0, 1, 1, -100]])), (1 / 2 + 1 / 2) / 2)


def test_f1_counts_no_answer_that_is_rightly_no() -> None:
    logits = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, 5.0])  # two right, one wrong, one missed
    check(kpi.f1(logits, torch.tensor([1, 1, 0, 1, 0, -100])), 2 * 2 / (2 * 2 + 1 + 1))
    check(kpi.f1(logits.sigmoid(), torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, NAN]), threshold=0.5), 2 / 3)
    check(kpi.f1(-torch.ones(3), torch.tensor([1, 0, 0])), 0)
    check(kpi.f1(torch.ones(3), torch.zeros(3)), NAN)  # no positive to be found


def test_f1_is_of_a_yes_or_no_question() -> None:
    with pytest.raises(InputError, match="Expected binary outputs of the target's shape; got 3 classes"):
        kpi.f1(torch.zeros(2, 3), torch.zeros(2))


def test_within() -> None:
    output, target = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.5, 0.0, 3.0, NAN])
    check(kpi.within(output, target, threshold=0.5), 2 / 3)
    check(kpi.within(output, target, threshold=0), 1 / 3)
    check(kpi.within(torch.tensor([1, 5]), torch.tensor([2, 2]), threshold=1), 1 / 2)
    check(kpi.within(torch.tensor([NAN, 1.0]), torch.tensor([1.0, 1.0]), threshold=9), 1 / 2)


def test_within_relative() -> None:
    output, target = torch.tensor([75.0, 74.0, -10.0, 0.0, 0.1]), torch.tensor([100.0, 100.0, -8.0, 0.0, 0.0])
    check(kpi.within_relative(output, target), 3 / 5)
    check(kpi.within_relative(output, target, fraction=0.26), 4 / 5)


def test_delta() -> None:
    output = torch.tensor([1.2, 1.25, 0.8, 0.81, -1.0, 0.0, 1.0, 1.0])
    target = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, NAN])
    check(kpi.delta(output, target), 2 / 6)
    check(kpi.delta(output, target, ratio=1.25**2), 4 / 6)


@pytest.mark.parametrize(("degrees", "expected"), [(29.9, 0 / 3), (30.1, 1 / 3), (90.1, 2 / 3), (180.0, 3 / 3)])
def test_angle_within(degrees: float, expected: float) -> None:
    angles = torch.deg2rad(torch.tensor([30.0, -90.0, 180.0]))
    output = 7 * torch.stack([angles.cos(), angles.sin(), torch.zeros(3)], dim=1)
    target = torch.tensor([[0.1, 0.0, 0.0]]).expand(3, 3)
    check(kpi.angle_within(output, target, degrees=degrees), expected)


def test_angle_within_takes_no_label_from_a_zero_or_partly_unknown_vector() -> None:
    target = torch.tensor([[0.0, 0.0, 0.0], [1.0, NAN, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    output = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    check(kpi.angle_within(output, target, degrees=180.0), 1 / 2)


def test_angle_within_resolves_a_hundredth_of_a_degree() -> None:
    angle = math.radians(0.01)
    output, target = torch.tensor([[math.cos(angle), math.sin(angle), 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    check(kpi.angle_within(output, target, degrees=0.0101), 1)
    check(kpi.angle_within(output, target, degrees=0.0099), 0)


def test_r2() -> None:
    target = torch.tensor([[1.0, 2.0], [3.0, NAN]])
    check(kpi.r2(torch.tensor([[1.0, 2.0], [2.0, 50.0]]), target), 1 - 1 / 2)
    check(kpi.r2(torch.full((2, 2), 9.0), target), 0)


@pytest.mark.parametrize("value", [0.1, -1e-7, 3e7])
def test_r2_of_a_constant_target_is_unknown(value: float) -> None:
    target = torch.full((7,), value)
    check(kpi.r2(target, target), NAN)
    check(kpi.r2(torch.zeros(1), torch.tensor([value])), NAN)


def test_average_precision() -> None:
    target = torch.tensor([1, 0, 1, 0, -100])
    assert float(kpi.average_precision(torch.tensor([3.0, 2.0, 2.0, 0.0, 9.0]), target)) == pytest.approx((1 + 2 / 3) / 2)
    assert float(kpi.average_precision(torch.tensor([math.nan, 0.0, 1.0, 0.0, 9.0]), target)) == pytest.approx(
        (2 / 4 + 1) / 2
    )
    assert float(kpi.average_precision(torch.tensor([-math.inf] * 5), target)) == pytest.approx(1 / 2)
    assert math.isnan(float(kpi.average_precision(torch.zeros(2), torch.zeros(2))))


def test_auc() -> None:
    target = torch.tensor([1, 1, 0, 0, -100])
    check(kpi.auc(torch.tensor([3.0, 1.0, 2.0, 0.0, 9.0]), target), 3 / 4)
    check(kpi.auc(torch.tensor([2.0, 1.0, 2.0, 0.0, 9.0]), target), (1.5 + 1) / 4)  # a tie counts half
    check(kpi.auc(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0]), target), 1 / 2)
    check(kpi.auc(torch.tensor([math.inf, 1.0, math.inf, 0.0, math.inf]), target), (1.5 + 1) / 4)
    check(kpi.auc(torch.tensor([NAN, 1.0, NAN, 0.0, NAN]), target), 1 / 4)


def test_gini_is_0_by_chance_and_below() -> None:
    target = torch.tensor([1.0, 1.0, 0.0, 0.0])
    check(kpi.gini(torch.tensor([3.0, 1.0, 2.0, 0.0]), target), 1 / 2)
    check(kpi.gini(torch.zeros(4), target), 0)
    check(kpi.gini(torch.tensor([0.0, 0.0, 1.0, 1.0]), target), 0)


@pytest.mark.parametrize("name", OVER_SCORES)
def test_one_class_alone_has_no_ranking(name: str) -> None:
    check(OVER_SCORES[name](torch.randn(5), torch.ones(5)), NAN)
    check(OVER_SCORES[name](torch.randn(5), torch.zeros(5)), NAN)


# What every measure promises


@each_measure
@pytest.mark.parametrize("batch", [8, 0])
def test_nothing_labelled_is_nan(name: str, batch: int) -> None:
    check(MEASURES[name](*unlabelled(name, batch)), NAN)


@each_measure
def test_perfect_is_one(name: str) -> None:
    output, target = example(name)
    if name in OVER_CLASSES:
        output = torch.nn.functional.one_hot(target.clamp(min=0), 3).movedim(-1, 1).float()
    elif name in YES_OR_NO:
        output = target
    else:
        output, target = target.abs(), target.abs()
    check(MEASURES[name](output, target), 1)


@each_measure
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_float_type_gives_the_figure_of_float32_or_better(name: str, dtype: torch.dtype) -> None:
    output, target = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in example(name))
    as_dtype = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in (output, target)]
    actual = MEASURES[name](*as_dtype)
    assert torch.finfo(actual.dtype).bits >= 32
    check(actual, MEASURES[name](output.float(), target.float() if target.is_floating_point() else target).item())


@each_measure
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_counts_of_many_elements_are_those_of_float64(name: str, dtype: torch.dtype) -> None:
    output, target = (tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in example(name, 70_000 // 12))
    in_dtype, in_float64 = (
        [x.to(t) if x.is_floating_point() else x for x in (output, target)] for t in (dtype, torch.float64)
    )
    with torch.autocast("cpu", dtype):
        actual = MEASURES[name](*in_dtype)
    assert actual.dtype == torch.float32
    assert actual.item() == pytest.approx(MEASURES[name](*in_float64).item(), abs=1e-5)


@each_measure
def test_the_default_type_does_not_matter(name: str) -> None:
    output, target = example(name)
    expected = MEASURES[name](output, target)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        actual = MEASURES[name](output, target)
    finally:
        torch.set_default_dtype(default)
    assert actual.dtype == torch.float32
    assert actual == expected


@each_measure
def test_no_gradient_is_kept(name: str) -> None:
    output, target = example(name)
    assert not MEASURES[name](output.requires_grad_(), target).requires_grad


@each_measure
def test_compiles_to_one_graph(name: str) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(MEASURES[name], fullgraph=True, backend="eager")
    for arguments in (example(name), unlabelled(name)):
        check(compiled(*arguments), MEASURES[name](*arguments).item())


numbers = st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, NAN])


targets = numbers.filter(lambda value: not math.isinf(value))


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(numbers, targets), max_size=8))
@pytest.mark.parametrize("name", OVER_VALUES)
def test_a_kpi_of_values_is_between_0_and_1_or_nan(name: str, pairs: list[tuple[float, float]]) -> None:
    output, target = torch.tensor(pairs).reshape(-1, 2).T.unsqueeze(-1)
    value = OVER_VALUES[name](output, target).item()
    assert math.isnan(value) or 0 <= value <= 1


@settings(deadline=None)
@given(rows=st.lists(st.tuples(numbers, numbers, numbers, st.sampled_from([0, 1, 2, -100])), max_size=8))
@pytest.mark.parametrize("name", OVER_CLASSES)
def test_a_kpi_of_classes_is_nan_exactly_where_it_has_too_few_labels(
    name: str, rows: list[tuple[float, float, float, int]]
) -> None:
    logits = torch.tensor([row[:3] for row in rows]).reshape(-1, 3)
    target = torch.tensor([row[3] for row in rows], dtype=torch.long)
    value = OVER_CLASSES[name](logits, target).item()
    few = len(set(target.tolist()) - {-100}) < (2 if name == "balanced_accuracy" else 1)
    assert math.isnan(value) if few else 0 <= value <= 1


@settings(deadline=None)
@given(pairs=st.lists(st.tuples(numbers, st.sampled_from([0.0, 1.0, NAN])), max_size=8))
@pytest.mark.parametrize("name", OVER_SCORES)
def test_a_kpi_of_scores_is_nan_exactly_where_a_class_is_missing(name: str, pairs: list[tuple[float, float]]) -> None:
    output, target = torch.tensor(pairs).reshape(-1, 2).T
    value = OVER_SCORES[name](output, target).item()
    assert 0 <= value <= 1 if {0.0, 1.0} <= set(target.tolist()) else math.isnan(value)


# Errors


@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((4, 3), (5,)), ((3,), ()), ((2, 3, 4), (2, 3))])
@pytest.mark.parametrize("name", OVER_CLASSES)
def test_logits_that_do_not_fit_are_refused(name: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    output, target = torch.zeros(shapes[0]), torch.zeros(shapes[1], dtype=torch.long)
    with pytest.raises(InputError, match="Expected logits"):
        OVER_CLASSES[name](output, target)


@pytest.mark.parametrize("label", [255, -1, 0.5, math.inf])
@pytest.mark.parametrize("name", OVER_CLASSES | YES_OR_NO)
def test_a_label_that_is_no_class_is_refused(name: str, label: float) -> None:
    target = torch.tensor([0, label, 1])
    with pytest.raises(InputError, match=rf"to be 0 or 1, or `ignore_index` \(-100\) .*; got {label:g}\."):
        MEASURES[name](torch.zeros(3), target)
    if label == 255:
        bytes_of = target.to(torch.uint8)
        MEASURES[name](torch.zeros(3), bytes_of, ignore_index=255)  # type: ignore[call-arg]
        with pytest.raises(InputError, match="got 255"):
            MEASURES[name](torch.zeros(3), bytes_of)


@pytest.mark.parametrize("name", OVER_VALUES)
def test_an_infinite_target_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"finite numbers, or NaN .*; got -inf"):
        MEASURES[name](torch.ones(1, 3), torch.tensor([[1.0, NAN, -math.inf]]))


def test_several_classes_have_no_threshold() -> None:
    with pytest.raises(InputError, match="no `threshold` for 3 classes"):
        kpi.accuracy(torch.zeros(2, 3), torch.zeros(2), threshold=0.5)


@pytest.mark.parametrize("name", OVER_VALUES | OVER_SCORES)
def test_values_that_would_broadcast_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"the same shape; got \(4, 1\) and \(4,\)"):
        MEASURES[name](torch.zeros(4, 1), torch.zeros(4))


def test_vectors_need_a_dimension() -> None:
    with pytest.raises(InputError, match=r"vectors on dim 1.*got shape \(3,\)"):
        kpi.angle_within(torch.zeros(3), torch.zeros(3))


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (partial(kpi.within, threshold=-1), "`threshold` to be at least 0; got -1"),
        (partial(kpi.within_relative, fraction=0.0), "`fraction` to be above 0; got 0.0"),
        (partial(kpi.delta, ratio=1), "`ratio` to be above 1; got 1"),
        (partial(kpi.angle_within, degrees=181), "`degrees` to be at most 180; got 181"),
    ],
)
def test_options_out_of_range_are_refused(measure: Measure, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(torch.ones(2, 3), torch.ones(2, 3))
