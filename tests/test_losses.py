"""The example-level focal losses: independent values, the plain loss at γ = 0, and finite gradients everywhere."""

import json
import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from hardfirst import RegressionFocalLoss, SigmoidFocalLoss, SoftmaxFocalLoss, functional
from hardfirst.errors import InputError

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
GAMMAS = [0.0, 0.5, 1.0, 2.0, 5.0]


def close(found: Tensor, expected: list) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("case", VECTORS["focal"])
def test_focal_values(case: dict) -> None:
    close(functional.focal(torch.tensor(case["loss"], dtype=torch.float64), case["gamma"]), case["value"])


@pytest.mark.parametrize("case", VECTORS["softmax_focal"])
def test_softmax_values(case: dict) -> None:
    logits, target = torch.tensor(case["logits"], dtype=torch.float64), torch.tensor(case["target"])
    close(functional.softmax_focal_loss(logits, target, gamma=case["gamma"]), case["value"])


@pytest.mark.parametrize("case", VECTORS["sigmoid_focal"])
def test_sigmoid_values(case: dict) -> None:
    logits, target = (torch.tensor(case[name], dtype=torch.float64) for name in ("logits", "target"))
    close(functional.sigmoid_focal_loss(logits, target, gamma=case["gamma"], alpha=case["alpha"]), case["value"])


@pytest.mark.parametrize("case", VECTORS["regression_focal"])
@pytest.mark.parametrize("kind", ["l1", "l2", "linear"])
def test_regression_values(case: dict, kind: str) -> None:
    prediction, target = (torch.tensor(case[name], dtype=torch.float64) for name in ("prediction", "target"))
    scale = case["linear_scale"] if kind == "linear" else case["scale"]
    found = functional.regression_focal_loss(prediction, target, gamma=case["gamma"], scale=scale, kind=kind)
    close(found, case[kind])


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e4])
def test_finite_everywhere(gamma: float, dtype: torch.dtype, size: float) -> None:
    logits = (torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]) * size).to(dtype).requires_grad_()
    target = torch.tensor([0, 0])
    losses = [
        functional.softmax_focal_loss(logits, target, gamma=gamma),
        functional.sigmoid_focal_loss(logits, (logits.detach() > 0).to(dtype), gamma=gamma),
        functional.sigmoid_focal_loss(logits, (logits.detach() < 0).to(dtype), gamma=gamma),
        *(functional.regression_focal_loss(logits, torch.zeros_like(logits), gamma=gamma, kind=k) for k in KINDS),
        functional.focal((logits - logits).abs(), gamma),  # ℓ = 0 exactly, with a graph
    ]
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss.sum(), logits)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


KINDS = ("l1", "l2", "linear")


@pytest.mark.parametrize("gamma", GAMMAS)
def test_gradient_at_a_loss_of_zero(gamma: float) -> None:
    loss = torch.zeros((), requires_grad=True)
    functional.focal(loss, gamma).backward()
    assert float(loss.grad) == pytest.approx(1.0 if gamma == 0 else 0.0, abs=1e-15)  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", GAMMAS)
def test_gradcheck(gamma: float) -> None:
    logits = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    target = torch.randint(3, (4, 2))
    target[0, 0] = -100
    yes = torch.randint(2, (4, 3, 2)).double()
    yes[1, 1, 1] = math.nan
    values = torch.randn(4, 3, 2, dtype=torch.float64)
    values[2, 2, 0] = math.nan
    weight = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda x: functional.softmax_focal_loss(x, target, gamma=gamma, weight=weight),
        lambda x: functional.sigmoid_focal_loss(x, yes, gamma=gamma),
        *(
            lambda x, kind=kind: functional.regression_focal_loss(x, values, gamma=gamma, scale=9.0, kind=kind)
            for kind in KINDS
        ),
    ]
    for function in functions:
        assert torch.autograd.gradcheck(function, (logits,))


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**31),
    soft=st.booleans(),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    trailing=st.sampled_from([(), (3,), (2, 3)]),
)
def test_gamma_zero_is_cross_entropy(
    seed: int, soft: bool, weighted: bool, smoothing: float, reduction: str, trailing: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 4, *trailing, generator=generator).requires_grad_()
    target = torch.randint(4, (5, *trailing), generator=generator)
    target.view(-1)[1] = -100
    if soft:
        target = torch.rand(5, 4, *trailing, generator=generator)
        target = target / target.sum(1, keepdim=True)
    options = {
        "weight": torch.rand(4, generator=generator) + 0.1 if weighted else None,
        "label_smoothing": smoothing,
        "reduction": reduction,
    }
    expected = torch.nn.CrossEntropyLoss(**options)(logits, target)  # type: ignore[arg-type]
    actual = SoftmaxFocalLoss(0.0, **options)(logits, target)  # type: ignore[arg-type]
    torch.testing.assert_close(actual, expected)
    gradients = [torch.autograd.grad(loss.sum(), logits, retain_graph=True)[0] for loss in (actual, expected)]
    torch.testing.assert_close(*gradients)


# p = (1/4, 3/4), and ℓ is the cross-entropy with the probabilities q
THREE_TO_ONE = torch.tensor([[0.0, math.log(3.0)]], dtype=torch.float64)
EVEN = math.log(16 / 3) / 2  # q = (1/2, 1/2): e^-ℓ = √3 / 4
SMOOTH = math.log(4) / 4 + 3 * math.log(4 / 3) / 4  # q = (1/4, 3/4)


@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        (torch.tensor([[0.5, 0.5]]), {}, (1 - 3**0.5 / 4) * EVEN),
        (torch.tensor([[0.5, 0.5]]), {"gamma": 2.0}, (1 - 3**0.5 / 4) ** 2 * EVEN),
        (torch.tensor([[0.0, 1.0]]), {}, 1 / 4 * math.log(4 / 3)),
        (torch.tensor([1]), {"label_smoothing": 0.5}, (1 - math.exp(-SMOOTH)) * SMOOTH),
        (torch.tensor([[0.0, 1.0]]), {"label_smoothing": 0.5}, (1 - math.exp(-SMOOTH)) * SMOOTH),
        # the weights (2, 6) are in the loss, 2·½·log 4 + 6·½·log(4/3), and not in the factor; a mean over probabilities
        # divides by their number, over classes by Σ w
        (
            torch.tensor([[0.5, 0.5]]),
            {"weight": torch.tensor([2.0, 6.0])},
            (1 - 3**0.5 / 4) * (math.log(4) + 3 * math.log(4 / 3)),
        ),
        (
            torch.tensor([1]),
            {"weight": torch.tensor([2.0, 6.0]), "label_smoothing": 0.5},
            (1 - math.exp(-SMOOTH)) * (2 * math.log(4) / 4 + 6 * 3 * math.log(4 / 3) / 4) / 6,
        ),
    ],
)
def test_focal_loss_of_probabilities_by_hand(target: Tensor, options: dict, expected: float) -> None:
    loss = SoftmaxFocalLoss(**{"gamma": 1.0} | options)
    assert loss(THREE_TO_ONE, target).item() == pytest.approx(expected, rel=1e-12)


def test_two_classes_are_a_yes_no_question() -> None:
    logits, target = torch.randn(9, dtype=torch.float64), torch.rand(9, dtype=torch.float64)
    both = SoftmaxFocalLoss()(torch.stack([torch.zeros(9), logits], 1), torch.stack([1 - target, target], 1))
    torch.testing.assert_close(both, SigmoidFocalLoss(alpha=None)(logits, target))


def test_the_loss_of_probabilities_is_least_where_they_are_predicted() -> None:
    target = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64)
    logits = target.log().requires_grad_()
    (gradient,) = torch.autograd.grad(SoftmaxFocalLoss()(logits, target), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_gamma_zero_is_the_plain_loss() -> None:
    output, yes, values = torch.randn(8), torch.randint(2, (8,)).float(), torch.randn(8)
    bce = F.binary_cross_entropy_with_logits(output, yes)
    torch.testing.assert_close(SigmoidFocalLoss(0.0, alpha=None)(output, yes), bce)
    torch.testing.assert_close(RegressionFocalLoss(0.0)(output, values), F.l1_loss(output, values))
    torch.testing.assert_close(RegressionFocalLoss(0.0, kind="l2")(output, values), F.mse_loss(output, values))


@given(loss=st.floats(0, 50), gamma=st.floats(0, 5), more=st.floats(0, 5))
def test_a_larger_gamma_never_gives_a_larger_loss(loss: float, gamma: float, more: float) -> None:
    value = torch.tensor(loss, dtype=torch.float64)
    assert functional.focal(value, gamma + more) <= functional.focal(value, gamma) * (1 + 1e-9)


def numbers(target: Tensor) -> Tensor:
    return torch.where(target == -100, math.nan, target.float() / 2)


def probabilities(target: Tensor) -> Tensor:
    one_hot = F.one_hot(target.clamp(min=0), 3).float()
    return torch.where((target == -100).unsqueeze(1), math.nan, one_hot)


# by name: the loss, and its output and target from logits [batch, 3] and classes 0 to 2, -100 where there is no label
EACH_LOSS: dict[str, tuple[torch.nn.Module, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]] = {
    "softmax": (SoftmaxFocalLoss(), lambda logits, target: (logits, target)),
    "softmax, weighted": (SoftmaxFocalLoss(weight=torch.tensor([1.0, 3.0, 0.5])), lambda logits, target: (logits, target)),
    "softmax, smoothed": (SoftmaxFocalLoss(label_smoothing=0.1), lambda logits, target: (logits, target)),
    "softmax, bytes": (
        SoftmaxFocalLoss(ignore_index=255, weight=torch.tensor([1.0, 3.0, 0.5])),
        lambda logits, target: (logits, target.where(target != -100, 255).to(torch.uint8)),
    ),
    "softmax, probabilities": (SoftmaxFocalLoss(), lambda logits, target: (logits, probabilities(target))),
    "sigmoid": (SigmoidFocalLoss(), lambda logits, target: (logits[:, 0], numbers(target))),
    "sigmoid, whole": (SigmoidFocalLoss(), lambda logits, target: (logits[:, 0], target.clamp(max=1))),
    "sigmoid, marked floats": (
        SigmoidFocalLoss(ignore_index=-1),
        lambda logits, target: (logits[:, 0], numbers(target).nan_to_num(-1)),
    ),
    "regression": (RegressionFocalLoss(scale=9.0), lambda logits, target: (logits[:, 0], numbers(target))),
    "regression, l2": (RegressionFocalLoss(kind="l2", scale=9.0), lambda logits, target: (logits[:, 0], numbers(target))),
    "regression, linear": (
        RegressionFocalLoss(kind="linear", scale=9.0),
        lambda logits, target: (logits[:, 0], numbers(target)),
    ),
}
each_loss = pytest.mark.parametrize("name", EACH_LOSS)


def labels(count: int) -> Tensor:
    return torch.arange(count) % 3


@each_loss
@pytest.mark.parametrize("worst", [1.0, math.inf, math.nan])
def test_elements_without_a_label_change_nothing_and_get_no_gradient(name: str, worst: float) -> None:
    module, given_by = EACH_LOSS[name]
    logits, target = torch.randn(6, 3), labels(6)
    target[2], target[4], logits[2] = -100, -100, worst
    keep = target != -100
    logits.requires_grad_()
    output, answers = given_by(logits, target)
    loss = module(output, answers)
    torch.testing.assert_close(loss, module(output[keep], answers[keep]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~keep] == 0).all()
    assert gradient[keep].isfinite().all()
    assert gradient.any()


@each_loss
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_labelled_is_a_zero_with_a_graph(name: str, reduction: str) -> None:
    module, given_by = EACH_LOSS[name]
    logits = torch.full((4, 3), math.inf, requires_grad=True)
    with patch.object(module, "reduction", reduction):
        loss = module(*given_by(logits, torch.full((4,), -100)))
    assert loss == 0
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient == 0).all()


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_half_precision_sums_are_those_of_float32(name: str, dtype: torch.dtype, reduction: str) -> None:
    module, given_by = EACH_LOSS[name]
    target = labels(70_000)
    target[::7] = -100
    logits = torch.randn(70_000, 3).to(dtype).requires_grad_()
    whole = logits.detach().float().requires_grad_()
    with patch.object(module, "reduction", reduction):
        output, answers = given_by(logits, target)
        answers = answers.to(dtype) if answers.is_floating_point() else answers
        with torch.autocast("cpu", dtype):
            loss = deepcopy(module).to(dtype)(output, answers)  # class weights in half precision too
        expected = module(given_by(whole, target)[0], answers.float() if answers.is_floating_point() else answers)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    factor = 1000.0 if reduction == "mean" else 1.0  # as a GradScaler's: the gradient of a mean is too small for float16
    gradient, right = (torch.autograd.grad(factor * value, x)[0] for value, x in ((loss, logits), (expected, whole)))
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, right.to(dtype))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16])
@pytest.mark.parametrize("shape", [(6,), (3,), (3, 2, 2)])
def test_any_integer_type_gives_the_figure_of_int64(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    weight, logits = torch.tensor([1.0, 2.0, 5.0]), torch.randn(shape[0], 3, *shape[1:])
    target = torch.randint(3, shape)
    for reduction in ("mean", "none"):
        loss = SoftmaxFocalLoss(weight=weight, reduction=reduction)  # type: ignore[arg-type]
        assert loss(logits, target.to(dtype)).equal(loss(logits, target))
    assert functional.class_weight(target.to(dtype), weight, -100).equal(weight[target])


def test_a_truth_value_is_a_class_and_an_answer() -> None:
    logits, target = torch.randn(6, 2), labels(6) == 1
    assert SoftmaxFocalLoss()(logits, target).equal(SoftmaxFocalLoss()(logits, target.long()))
    assert SigmoidFocalLoss()(logits[:, 0], target).equal(SigmoidFocalLoss()(logits[:, 0], target.float()))


def test_class_156_of_a_byte_is_a_label() -> None:
    logits = torch.randn(2, 200)
    torch.testing.assert_close(
        SoftmaxFocalLoss(0.0)(logits, torch.tensor([156, 3], dtype=torch.uint8)),
        F.cross_entropy(logits, torch.tensor([156, 3])),
    )


@each_loss
def test_each_example_of_a_vmap_has_its_own_gradient(name: str) -> None:
    module, given_by = EACH_LOSS[name]
    logits, target = torch.randn(4, 3), labels(4)
    output, answers = given_by(logits, target)
    with patch.object(module, "reduction", "sum"):
        each = torch.func.vmap(torch.func.grad(lambda x, y: module(x.unsqueeze(0), y.unsqueeze(0))))(output, answers)
        all_at_once = torch.func.grad(lambda x: module(x, answers))(output)
    torch.testing.assert_close(each, all_at_once)


@each_loss
def test_does_not_wait_for_the_device(name: str) -> None:
    module, given_by = EACH_LOSS[name]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:  # a fake tensor has no values: reading one raises
        output, answers = (mode.from_tensor(tensor) for tensor in given_by(torch.randn(6, 3), labels(6)))
        assert module(output, answers).shape == ()


def test_reduction_none_keeps_the_shape() -> None:
    assert SoftmaxFocalLoss(reduction="none")(torch.randn(2, 3, 5, 4), torch.zeros(2, 5, 4, dtype=torch.long)).shape == (
        2,
        5,
        4,
    )


@each_loss
def test_compiles_to_one_graph(name: str) -> None:
    module, given_by = EACH_LOSS[name]
    torch._dynamo.reset()
    output, answers = given_by(torch.randn(4, 3), torch.tensor([0, 1, 2, -100]))
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(output, answers), module(output, answers))


ONE = torch.zeros(1, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftmaxFocalLoss(ignore_index=255)(ONE, torch.tensor([-1])), r"\(255\) .*; got -1"),
        (lambda: functional.class_weight(torch.tensor([-1]), torch.ones(3), -100), "0 to 2, .*; got -1"),
        *(
            (lambda mark=mark: SigmoidFocalLoss(ignore_index=7)(torch.zeros(1), torch.tensor([mark])), f"got {mark:g}")
            for mark in (255, -1, -100, 255.0, -1.0, 1.5)
        ),
    ],
)
def test_bad_input_gets_a_sentence(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
