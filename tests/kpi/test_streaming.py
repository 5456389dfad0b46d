"""Measures computed batch by batch equal those of all outputs at once."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from hardfirst import kpi
from hardfirst.kpi import streaming, streams

torch.manual_seed(0)
COUNT = 1000
CLASSES = torch.randint(3, (COUNT, 4))
CLASSES[torch.rand(COUNT, 4) < 0.2] = 255
VALUES = torch.where(torch.rand(COUNT, 3, 2) < 0.2, math.nan, 100 + torch.rand(COUNT, 3, 2))
NEAR = (VALUES.nan_to_num(0) + 0.1 * torch.randn(COUNT, 3, 2)).clamp(min=0)
CASES = {
    "accuracy": (partial(kpi.accuracy, ignore_index=255), torch.randn(COUNT, 3, 4), CLASSES),
    "accuracy, binary": (partial(kpi.accuracy, threshold=0.5), torch.rand(COUNT), torch.randint(2, (COUNT,))),
    "balanced_accuracy": (partial(kpi.balanced_accuracy, ignore_index=255), torch.randn(COUNT, 3, 4), CLASSES),
    "f1": (partial(kpi.f1, threshold=0.5), torch.rand(COUNT), torch.randint(2, (COUNT,))),
    "mean_iou": (partial(kpi.mean_iou, ignore_index=255), torch.randn(COUNT, 3, 4), CLASSES),
    "within": (partial(kpi.within, threshold=0.05), NEAR, VALUES),
    "within_relative": (partial(kpi.within_relative, fraction=0.001), NEAR, VALUES),
    "delta": (partial(kpi.delta, ratio=1.001), NEAR, VALUES),
    "angle_within": (partial(kpi.angle_within, degrees=0.05), NEAR, VALUES),
    "r2": (kpi.r2, NEAR, VALUES),
}


def streamed(measure: kpi.Streaming, output: Tensor, target: Tensor, *sizes: int) -> Tensor:
    """The value of the measure on batches of these sizes."""
    batches = zip(output.split(list(sizes)), target.split(list(sizes)), strict=True)
    state, *others = [measure.state_of(*batch) for batch in batches]
    for other in others:
        state = measure.merge(state, other)
    return measure.finish(state)


@pytest.mark.parametrize("name", CASES)
def test_batches_of_any_size_give_the_value_of_the_whole(name: str) -> None:
    measure, output, target = CASES[name]
    whole = measure(output, target)
    form = streaming(measure)
    assert form is not None
    assert 0 < float(whole) < 1
    for sizes in ((COUNT,), (COUNT // 2, COUNT // 2), (1, 7, 0, 500, COUNT - 508)):
        assert streamed(form, output, target, *sizes).item() == pytest.approx(whole.item(), rel=1e-6)
    if name != "r2":  # counts are exact
        assert streamed(form, output, target, 333, 333, 334) == whole


@pytest.mark.parametrize("name", CASES)
def test_a_batch_without_labels_changes_nothing(name: str) -> None:
    measure, output, target = CASES[name]
    form = streaming(measure)
    missing = torch.full_like(
        target[:10], 255 if "ignore" in str(measure.keywords if isinstance(measure, partial) else "") else -100
    )
    if target.is_floating_point():
        missing = torch.full_like(target[:10], math.nan)
    value = streamed(form, torch.cat([output[:10], output]), torch.cat([missing, target]), 10, COUNT)  # type: ignore[arg-type]
    assert value.item() == pytest.approx(measure(output, target).item(), rel=1e-6)
    assert measure(output[:10], missing).isnan()


def test_r2_of_constant_targets_is_undefined_in_batches_as_well() -> None:
    target = torch.full((100,), 0.1)
    assert streamed(streaming(kpi.r2), torch.rand(100), target, 30, 70).isnan()  # type: ignore[arg-type]


def test_r2_of_far_values_keeps_its_digits() -> None:
    """One pass over Σt² would lose them."""
    target = 1e4 + torch.rand(4096)
    output = target + 0.1 * torch.randn(4096)
    sizes = (1024,) * 4
    exact = 1 - (output.double() - target).square().sum() / (target.double() - target.double().mean()).square().sum()
    assert streamed(streaming(kpi.r2), output, target, *sizes).item() == pytest.approx(exact.item(), rel=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "measure", [kpi.auc, kpi.gini, partial(kpi.auc, ignore_index=3), lambda output, target: output.mean()]
)
def test_what_needs_all_outputs_has_no_streaming_form(measure: kpi.Streaming) -> None:
    assert streaming(measure) is None  # type: ignore[arg-type]


def test_a_measure_of_ones_own() -> None:
    @streams(lambda sums: sums[0] / sums[1])
    def mean(output: Tensor, target: Tensor, *, scale: float = 1.0) -> Tensor:
        """A measure."""
        return torch.stack([scale * output.sum(), torch.tensor(float(output.numel()))])

    assert (mean.__name__, mean.__doc__) == ("mean", "A measure.")
    assert mean(torch.tensor([1.0, 3.0]), torch.zeros(2)) == 2
    form = streaming(partial(partial(mean, scale=2.0), scale=3.0))
    assert streamed(form, torch.tensor([1.0, 3.0, 5.0]), torch.zeros(3), 2, 1) == 9  # type: ignore[arg-type]
