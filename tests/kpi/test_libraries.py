"""KPI measures against scikit-learn's, and metrics of other libraries as KPIs; what a measure promises is in test_kpi.py."""

import math
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torchmetrics
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    jaccard_score,
    r2_score,
    roc_auc_score,
)
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy
from torchmetrics.functional.regression import mean_absolute_error

from hardfirst import kpi
from hardfirst.errors import InputError

NAN = math.nan
Measure = Callable[[Tensor, Tensor], Tensor]


def check(actual: Tensor, expected: float) -> None:
    assert actual.shape == ()
    assert actual.item() == pytest.approx(expected, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_agrees(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits, classes = torch.randn(60, 4, generator=generator), torch.randint(4, (60,), generator=generator)
    predicted = logits.argmax(1)
    check(kpi.balanced_accuracy(logits, classes), balanced_accuracy_score(classes.numpy(), predicted.numpy()))
    check(kpi.mean_iou(logits, classes), jaccard_score(classes.numpy(), predicted.numpy(), average="macro"))
    target = 100 + torch.randn(60, generator=generator)
    output = target + 0.5 * torch.randn(60, generator=generator)
    check(kpi.r2(output.double(), target.double()), r2_score(target.numpy(), output.numpy()))
    scores, answers = logits[:, 0].round(decimals=1), classes == 0  # rounded, so that there are ties
    check(kpi.f1(scores, answers), f1_score(answers.numpy(), scores.numpy() > 0))
    check(kpi.auc(scores, answers), roc_auc_score(answers.numpy(), scores.numpy()))
    check(kpi.average_precision(scores, answers), average_precision_score(answers.numpy(), scores.numpy()))


def test_a_metric_that_should_be_high() -> None:
    metric = torchmetrics.classification.MulticlassAccuracy(num_classes=3, average="micro")
    output, target = torch.randn(24, 3), torch.randint(3, (24,))
    check(kpi.from_metric(metric)(output, target), kpi.accuracy(output, target).item())


@pytest.mark.parametrize(("error", "expected"), [(0.0, 1.0), (0.5, 0.75), (2.0, 0.0), (9.0, 0.0)])
def test_a_metric_that_should_be_low_is_flipped_and_clamped(error: float, expected: float) -> None:
    measure = kpi.from_metric(torchmetrics.regression.MeanAbsoluteError(), high=2.0)
    check(measure(torch.full((3,), error), torch.zeros(3)), expected)


def test_bounds_map_the_value() -> None:
    measure = kpi.from_metric(torchmetrics.regression.PearsonCorrCoef(), low=-1.0, higher_is_better=True)
    straight = torch.arange(4.0)
    check(measure(straight, straight), 1)
    check(measure(-straight, straight), 0)


def test_a_function_needs_a_direction() -> None:
    check(kpi.from_metric(mean_absolute_error, high=4, higher_is_better=False)(torch.ones(2), torch.zeros(2)), 0.75)
    with pytest.raises(InputError, match=r"mean_absolute_error does not say .* `higher_is_better=True` or False"):
        kpi.from_metric(mean_absolute_error)
    with pytest.raises(InputError, match="MeanMetric does not say"):
        kpi.from_metric(torchmetrics.MeanMetric())


def test_a_given_direction_wins() -> None:
    measure = kpi.from_metric(torchmetrics.regression.MeanAbsoluteError(), high=4.0, higher_is_better=True)
    check(measure(torch.ones(2), torch.zeros(2)), 0.25)


def test_a_metric_measures_the_batch_alone_and_is_left_reset() -> None:
    metric = torchmetrics.regression.MeanAbsoluteError()
    metric.update(torch.tensor([100.0]), torch.tensor([0.0]))
    measure = kpi.from_metric(metric, high=10.0)
    for error in (1.0, 2.0):
        check(measure(torch.tensor([error]), torch.tensor([0.0])), 1 - error / 10)
    assert not metric.update_called
    with pytest.raises(RuntimeError):  # torchmetrics' own refusal of shapes
        measure(torch.ones(1, 2), torch.ones(1))
    assert not metric.update_called


def test_what_a_metric_has_accumulated_before_is_dropped() -> None:
    class Total:  # accumulates when it is called, which torchmetrics' objects do not show
        higher_is_better = True
        value = 0.5

        def reset(self) -> None:
            self.value = 0.0

        def __call__(self, output: Tensor, target: Tensor) -> float:
            self.value += output.sum().item()
            return self.value

    check(kpi.from_metric(Total())(torch.tensor([0.25]), torch.zeros(1)), 0.25)


def test_examples_without_a_label_do_not_reach_the_metric() -> None:
    regression = kpi.from_metric(torchmetrics.regression.MeanAbsoluteError(), high=4.0)
    check(regression(torch.tensor([1.0, 5.0]), torch.tensor([0.0, NAN])), 0.75)
    check(regression(torch.tensor([-99.0]), torch.tensor([-100.0])), 0.75)  # a value, not a missing class
    check(regression(torch.ones(2), torch.full((2,), NAN)), NAN)
    check(regression(torch.ones(0, 3), torch.ones(0, 3)), NAN)
    classes = kpi.from_metric(torchmetrics.classification.MulticlassAccuracy(num_classes=2, average="micro"))
    check(classes(torch.eye(2), torch.tensor([0, -100])), 1)
    check(classes(torch.eye(2), torch.tensor([-100, -100])), NAN)


C = torchmetrics.classification
IGNORING = {
    "object": C.MulticlassAccuracy(3, ignore_index=255, average="micro"),
    "by task": torchmetrics.Accuracy(task="multiclass", num_classes=3, ignore_index=255, average="micro"),
    "wrapped": torchmetrics.wrappers.Running(C.MulticlassAccuracy(3, ignore_index=255, average="micro"), window=1),
    "function": partial(multiclass_accuracy, num_classes=3, ignore_index=255, average="micro"),
}


@pytest.mark.parametrize("kind", IGNORING)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_the_class_that_a_metric_ignores_is_no_label(kind: str, dtype: torch.dtype) -> None:
    measure = kpi.from_metric(IGNORING[kind], higher_is_better=True)
    output, target = torch.randn(4, 3, 5), torch.randint(3, (4, 5))
    check(measure(output, torch.full_like(target, 255).to(dtype)), NAN)
    target[0], target[1, 2:] = 255, 255
    check(measure(output, target.to(dtype)), kpi.accuracy(output, target, ignore_index=255).item())


def test_hardfirst_marks_reach_a_metric_as_its_own() -> None:
    measure = kpi.from_metric(IGNORING["object"])
    output, target = torch.randn(4, 3, 5), torch.randint(3, (4, 5))
    target[0], target[1, 2:], target[2, 4] = -100, -100, 255
    check(measure(output, target), kpi.accuracy(output, target.where(target != 255, -100)).item())
    answers = torch.tensor([[1.0, NAN], [0.0, 1.0]])
    check(kpi.from_metric(C.BinaryAccuracy(ignore_index=-1))(torch.ones(2, 2), answers), 2 / 3)


def test_a_metric_of_another_library_is_told_what_it_ignores() -> None:
    def share_of_ones(output: Tensor, target: Tensor) -> float:
        return (target == 1).float().mean().item()

    measure = kpi.from_metric(share_of_ones, higher_is_better=True, ignore_index=7)
    check(measure(torch.zeros(3), torch.tensor([7, 1, 0])), 1 / 2)
    check(measure(torch.zeros(3), torch.tensor([7, 7, 7])), NAN)


YES, NO = torch.ones(4, dtype=torch.long), torch.zeros(4, dtype=torch.long)
LABELS = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 1]])
UNDEFINED = [
    *(
        (metric(), target)
        for target in (YES, NO)
        for metric in (C.BinaryAUROC, C.BinaryAveragePrecision, C.BinaryCohenKappa)
    ),
    *((metric(), target) for target in (YES, NO) for metric in (C.BinaryMatthewsCorrCoef, C.BinaryROC, C.BinaryEER)),
    *((metric(), NO) for metric in (C.BinaryF1Score, C.BinaryRecall, C.BinaryPrecision, C.BinaryJaccardIndex)),
    (C.BinaryAUROC(ignore_index=-1), torch.tensor([-1, -1, -1, -1])),
    (C.BinaryAUROC(ignore_index=-1), torch.tensor([-1, 1, 1, -1])),
    (C.BinaryAUROC(thresholds=5), YES),
    (torchmetrics.wrappers.Running(C.BinaryAUROC(), window=1), YES),
    (C.BinarySpecificity(), YES),
    (C.MulticlassAUROC(num_classes=4), torch.tensor([0, 1, 2, 2])),
    (C.MulticlassCohenKappa(num_classes=4), YES),
    (C.MultilabelAUROC(num_labels=2), LABELS | torch.tensor([0, 1])),
    (torchmetrics.R2Score(), torch.full((4,), 0.1)),
    (torchmetrics.R2Score(), torch.tensor([0.1, NAN, NAN, NAN])),
    (torchmetrics.PearsonCorrCoef(), torch.full((4,), 0.1)),
]


@pytest.mark.parametrize(("metric", "target"), UNDEFINED, ids=lambda value: type(value).__name__)
def test_a_metric_that_is_not_defined_is_nan(metric: torchmetrics.Metric, target: Tensor) -> None:
    output = torch.eye(4) if "Multiclass" in type(metric).__name__ else torch.rand(target.shape)
    check(kpi.from_metric(metric, higher_is_better=True)(output, target), NAN)


@pytest.mark.filterwarnings("ignore:No positive samples")  # of a class that weighs 0
@pytest.mark.parametrize(
    ("metric", "output", "target", "expected"),
    [
        (C.BinaryAUROC(), torch.tensor([0.9, 0.8, 0.1]), torch.tensor([1, 0, 0]), 1),
        (C.BinaryAUROC(), torch.tensor([0.1, 0.8, 0.9]), torch.tensor([1, 0, 0]), 0),
        (C.BinaryF1Score(), torch.ones(4), YES, 1),
        (C.BinaryF1Score(), torch.zeros(4), YES, 0),
        (C.BinaryF1Score(zero_division=1), torch.zeros(4), NO, 1),  # as it was asked for
        (C.BinarySpecificity(), torch.zeros(4), NO, 1),
        (C.MulticlassAUROC(num_classes=4), torch.eye(4), torch.arange(4), 1),
        (C.MulticlassAUROC(num_classes=4, average="weighted"), torch.eye(4), torch.tensor([0, 1, 2, 2]), 7 / 8),
        (C.MultilabelAUROC(num_labels=2), LABELS.float(), LABELS, 1),
        (C.MulticlassF1Score(num_classes=4, average="macro"), torch.eye(4)[:2], torch.tensor([0, 1]), 1),
        (torchmetrics.R2Score(), torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1.0, 2.0, 3.0]), 1 / 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_metric_that_is_defined_keeps_its_value(
    metric: torchmetrics.Metric, output: Tensor, target: Tensor, expected: float
) -> None:
    check(kpi.from_metric(metric, higher_is_better=True)(output, target), expected)


def test_a_metric_sees_float32() -> None:
    measure = kpi.from_metric(torchmetrics.regression.MeanSquaredError(), high=4.0)
    actual = measure(torch.full((3,), 0.1, dtype=torch.bfloat16), torch.zeros(3, dtype=torch.bfloat16))
    assert actual.dtype == torch.float32
    check(actual, 1 - torch.tensor(0.1, dtype=torch.bfloat16).item() ** 2 / 4)


def test_a_metric_may_give_nan_or_infinity() -> None:
    def always(value: float) -> Measure:
        return kpi.from_metric(lambda output, target: value, higher_is_better=True)

    check(always(NAN)(torch.ones(1), torch.ones(1)), NAN)
    check(always(math.inf)(torch.ones(1), torch.ones(1)), 1)
    check(always(-math.inf)(torch.ones(1), torch.ones(1)), 0)


def test_a_metric_of_many_numbers_is_refused() -> None:
    per_class = torchmetrics.classification.MulticlassAccuracy(num_classes=3, average=None)
    with pytest.raises(InputError, match=r"one number; got shape \(3,\)"):
        kpi.from_metric(per_class)(torch.eye(3), torch.arange(3))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (NAN, 1.0), (0.0, math.inf), (-math.inf, 0.0)])
def test_wrong_bounds_are_refused(low: float, high: float) -> None:
    with pytest.raises(InputError, match=r"Expected `(low|high)` to be"):
        kpi.from_metric(torchmetrics.regression.MeanAbsoluteError(), low=low, high=high)


def test_a_metric_kpi_can_be_pickled() -> None:
    measure = pickle.loads(pickle.dumps(kpi.from_metric(torchmetrics.regression.MeanAbsoluteError(), high=4.0)))
    check(measure(torch.ones(2), torch.zeros(2)), 0.75)


BATCHED = [
    *(
        (metric, target, torch.rand(target.shape))
        for metric, target in UNDEFINED
        if "Multiclass" not in type(metric).__name__
    ),
    (C.MulticlassAUROC(num_classes=4), torch.tensor([0, 1, 2, 2]), torch.eye(4)),
    (C.MulticlassAUROC(num_classes=4), torch.tensor([0, 3, 2, 1]), torch.rand(4, 4)),
    (C.BinaryAUROC(), torch.tensor([0, 0, 1, 1]), torch.rand(4)),
    (C.BinaryF1Score(), torch.tensor([0, 0, 0, 1]), torch.rand(4)),
    (C.MultilabelAUROC(num_labels=2), LABELS, torch.rand(4, 2)),
    (
        C.MulticlassAccuracy(3, ignore_index=255),
        torch.tensor([[255, 1], [2, 255], [255, 255], [-100, 0]]),
        torch.rand(4, 3, 2),
    ),
    (torchmetrics.regression.MeanAbsoluteError(), torch.tensor([NAN, 1.0, NAN, 0.5]), torch.rand(4)),
    (torchmetrics.R2Score(), torch.tensor([0.1, NAN, 0.3, 0.8]), torch.tensor([0.1, 0.2, 0.4, 0.7])),
]


@pytest.mark.parametrize(("metric", "target", "output"), BATCHED, ids=lambda value: type(value).__name__)
def test_batches_give_the_kpi_of_all(metric: torchmetrics.Metric, target: Tensor, output: Tensor) -> None:
    if isinstance(metric, torchmetrics.wrappers.Running):  # the last updates alone, as was asked for
        return
    measure = kpi.from_metric(metric, higher_is_better=True)
    assert isinstance(measure, kpi.Accumulator)
    expected = measure(output, target).item()
    for size in (1, 3, 4):
        measure.reset()
        for batch in zip(output.split(size), target.split(size), strict=True):
            measure.update(*batch)
        check(measure.compute(), expected)
    measure.reset()
    measure.update(output[:0], target[:0])
    check(measure.compute(), NAN)
