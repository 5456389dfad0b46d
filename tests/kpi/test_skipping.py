"""Losses and KPIs of batches with missing labels: no wait for a device, the same under vmap and as of labelled rows."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from hardfirst import RegressionFocalLoss, SigmoidFocalLoss, SoftmaxFocalLoss, kpi
from hardfirst.errors import InputError
from hardfirst.functional._labels import label_mask
from hardfirst.problems import IGNORE, PROBLEMS
from hardfirst.problems.builtin.digits import within_one

TRIALS, EXAMPLES, CLASSES = 3, 6, 4
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 3.0])

LOSSES: dict[str, tuple[Any, str]] = {
    "softmax focal": (SoftmaxFocalLoss(), "classes"),
    "softmax focal, weighted": (SoftmaxFocalLoss(weight=WEIGHT), "classes"),
    "softmax focal, smoothed": (SoftmaxFocalLoss(weight=WEIGHT, label_smoothing=0.1), "classes"),
    "softmax focal of probabilities": (SoftmaxFocalLoss(), "probabilities"),
    "softmax focal of pixels": (SoftmaxFocalLoss(), "pixels"),
    "sigmoid focal": (SigmoidFocalLoss(), "answers"),
    "l1 focal": (RegressionFocalLoss(), "numbers"),
    "l2 focal": (RegressionFocalLoss(kind="l2"), "numbers"),
    "linear focal": (RegressionFocalLoss(kind="linear", scale=9.0), "numbers"),
    "sum": (SoftmaxFocalLoss(reduction="sum"), "classes"),
    "cross-entropy": (F.cross_entropy, "classes"),
    "cross-entropy, options": (partial(F.cross_entropy, weight=WEIGHT, label_smoothing=0.1), "classes"),
    "cross-entropy of pixels": (nn.CrossEntropyLoss(), "pixels"),
    "cross-entropy of probabilities": (F.cross_entropy, "probabilities"),
    "binary cross-entropy": (F.binary_cross_entropy_with_logits, "answers"),
    "binary cross-entropy, weighted": (nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0)), "answers"),
    "binary cross-entropy of probabilities": (F.binary_cross_entropy, "chances"),
    "squared error": (F.mse_loss, "numbers"),
    "squared error of columns": (F.mse_loss, "vectors"),
    "absolute error": (nn.L1Loss(), "numbers"),
    "smooth": (partial(F.smooth_l1_loss, beta=0.5), "numbers"),
    "Huber": (nn.HuberLoss(delta=0.5), "numbers"),
}
KPIS: dict[str, tuple[Any, str]] = {
    "accuracy": (kpi.accuracy, "classes"),
    "accuracy of pixels": (kpi.accuracy, "pixels"),
    "accuracy of answers": (partial(kpi.accuracy, threshold=0.0), "answers"),
    "balanced accuracy": (kpi.balanced_accuracy, "classes"),
    "F1": (partial(kpi.f1, threshold=0.0), "answers"),
    "mean IoU": (kpi.mean_iou, "pixels"),
    "AUC": (kpi.auc, "answers"),
    "average precision": (kpi.average_precision, "answers"),
    "Gini": (kpi.gini, "answers"),
    "within": (partial(kpi.within, threshold=0.5), "numbers"),
    "within one class": (within_one, "classes"),
    "within relative": (kpi.within_relative, "numbers"),
    "delta": (kpi.delta, "numbers"),
    "angle": (partial(kpi.angle_within, degrees=90.0), "vectors"),
    "R²": (kpi.r2, "numbers"),
}

MEASURES = LOSSES | KPIS
GAPS = torch.tensor([[0, 1, 0, 0, 0, 0], [1, 0, 0, 1, 1, 0], [1] * EXAMPLES]).bool()  # the third trial has no label

each_loss = pytest.mark.parametrize("name", LOSSES)
each_measure = pytest.mark.parametrize("name", MEASURES)


def drawn(kind: str) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the trials, [trials, examples, ...], with gaps."""
    generator = torch.Generator().manual_seed(3)
    shape = {"classes": (CLASSES,), "probabilities": (CLASSES,), "pixels": (CLASSES, 2, 2), "vectors": (3,)}.get(kind, ())
    output = torch.randn(TRIALS, EXAMPLES, *shape, generator=generator)
    target = torch.randn(TRIALS, EXAMPLES, *shape, generator=generator)
    if kind == "probabilities":
        target = target.softmax(2)
    elif kind in ("classes", "pixels"):
        target = target.argmax(2)
    elif kind in ("answers", "chances"):
        target = (target > 0).float()
    target[GAPS] = math.nan if target.is_floating_point() else IGNORE
    if kind == "pixels":
        target[:, 2, 0, 0] = IGNORE  # a gap within an example
    return output.sigmoid() if kind == "chances" else output, target


def whole(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    form = kpi.skipping(MEASURES[name][0])
    assert form is not None
    return form


def of_labelled(name: str, output: Tensor, target: Tensor) -> Tensor:
    """The measure of the examples that have a label, as the trainer selects them."""
    labelled = label_mask(target, None if target.is_floating_point() else IGNORE).view(EXAMPLES, -1).any(1)
    if not labelled.any():
        return output.sum() * 0 if name in LOSSES else torch.tensor(math.nan)
    value: Tensor = MEASURES[name][0](output[labelled], target[labelled])
    return value


class Waits(TorchDispatchMode):
    """Notes the operations for which the host waits on a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        if by_mask or name in ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal"):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@each_measure
def test_equals_the_measure_of_labelled_examples(name: str) -> None:
    for output, target in zip(*drawn(MEASURES[name][1]), strict=True):
        torch.testing.assert_close(
            whole(name)(output, target), of_labelled(name, output, target), rtol=1e-6, atol=1e-7, equal_nan=True
        )


@each_measure
def test_does_not_wait_for_the_device(name: str) -> None:
    output, target = (tensor[0] for tensor in drawn(MEASURES[name][1]))
    output.requires_grad_(name in LOSSES)
    # as of a device: checks read on the CPU only
    with patch("hardfirst.functional._labels.on_host", return_value=False), Waits() as waits:
        value = whole(name)(output, target)
        if name in LOSSES:
            value.backward()
    assert waits.found == []


@each_measure
def test_trials_at_once_equal_a_loop(name: str) -> None:
    output, target = drawn(MEASURES[name][1])
    singly = torch.stack([whole(name)(*trial) for trial in zip(output, target, strict=True)])
    torch.testing.assert_close(torch.vmap(whole(name))(output, target), singly, equal_nan=True)


@each_loss
def test_gradients_of_trials_at_once_are_those_of_labelled_examples(name: str) -> None:
    output, target = drawn(LOSSES[name][1])
    singly = torch.stack([torch.func.grad(partial(of_labelled, name))(*trial) for trial in zip(output, target, strict=True)])
    output[GAPS] = 0.5 if LOSSES[name][1] == "chances" else math.inf  # what a network says without a label has no effect
    together = torch.vmap(torch.func.grad(whole(name)))(output, target)
    torch.testing.assert_close(together, singly)
    assert together[GAPS].eq(0).all()


@each_measure
def test_outputs_and_targets_without_a_label_may_be_anything(name: str) -> None:
    output, target = drawn(MEASURES[name][1])
    expected = torch.stack([whole(name)(*trial) for trial in zip(output, target, strict=True)])
    for value in (math.nan, math.inf) if MEASURES[name][1] != "chances" else (0.5,):
        output[GAPS] = value
        found = torch.stack([whole(name)(*trial) for trial in zip(output, target, strict=True)])
        torch.testing.assert_close(found, expected, equal_nan=True)


@each_loss
def test_without_a_label_a_loss_has_a_graph(name: str) -> None:
    output, target = (tensor[-1] for tensor in drawn(LOSSES[name][1]))
    loss = whole(name)(output.requires_grad_(), target)
    loss.backward()
    assert loss == 0
    assert output.grad is not None
    assert output.grad.eq(0).all()


@pytest.mark.parametrize(
    "measure",
    [
        F.kl_div,
        kpi.from_metric(F.l1_loss, higher_is_better=False),
        lambda output, target: output[target > 0].mean(),
        partial(F.mse_loss, reduction="sum"),
        nn.L1Loss(reduction="none"),
        SoftmaxFocalLoss(reduction="none"),
        partial(kpi.accuracy, ignore_index=255),  # the trainer leaves out -100
        SoftmaxFocalLoss(ignore_index=255),
        nn.CrossEntropyLoss(ignore_index=255),
        partial(F.cross_entropy, torch.zeros(1)),
    ],
    ids=range(10),
)
def test_others_have_no_such_form(measure: object) -> None:
    assert kpi.skipping(measure) is None


def test_marked_measures_are_their_own_form() -> None:
    options = partial(partial(kpi.within, threshold=1.0), threshold=0.5)
    assert kpi.skipping(options) is options
    assert kpi.skipping(kpi.auc) is kpi.auc


def test_shapes_that_would_be_broadcast() -> None:
    with pytest.raises(InputError, match="the same shape"):
        whole("squared error")(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize("name", [name for name in PROBLEMS if not name.startswith("scenes")])
def test_tasks_of_the_built_in_problems(name: str) -> None:
    for task in PROBLEMS[name]().tasks:
        assert kpi.skipping(task.loss) is not None, task.name
        assert kpi.skipping(task.kpi) is task.kpi, task.name
