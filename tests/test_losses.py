"""The example-level focal losses: independent values, the plain loss at γ = 0, and finite gradients everywhere."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

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


@given(seed=st.integers(0, 2**31), weighted=st.booleans(), trailing=st.sampled_from([(), (3,), (2, 3)]))
def test_gamma_zero_is_cross_entropy(seed: int, weighted: bool, trailing: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 4, *trailing, generator=generator)
    target = torch.randint(4, (5, *trailing), generator=generator)
    target.view(-1)[1] = -100
    weight = torch.rand(4, generator=generator) + 0.1 if weighted else None
    expected = F.cross_entropy(logits, target, weight=weight)
    torch.testing.assert_close(SoftmaxFocalLoss(0.0, weight=weight)(logits, target), expected)


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


def test_unlabelled_elements_change_nothing() -> None:
    logits, values = torch.randn(6, 3), torch.randn(6)
    target = torch.tensor([0, 1, -100, 2, -100, 1])
    keep = target != -100
    loss = SoftmaxFocalLoss(weight=torch.tensor([1.0, 3.0, 0.5]))
    torch.testing.assert_close(loss(logits, target), loss(logits[keep], target[keep]))
    for module in (RegressionFocalLoss(), SigmoidFocalLoss()):
        some = torch.where(keep, (values > 0).float(), math.nan)
        torch.testing.assert_close(module(logits[:, 0], some), module(logits[keep, 0], some[keep]))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_labelled_is_a_zero_with_a_graph(reduction: str) -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    nan = torch.full((4, 3), math.nan)
    losses = [
        SoftmaxFocalLoss(reduction=reduction)(logits, torch.full((4,), -100)),  # type: ignore[arg-type]
        SigmoidFocalLoss(reduction=reduction)(logits, nan),  # type: ignore[arg-type]
        RegressionFocalLoss(reduction=reduction)(logits, nan),  # type: ignore[arg-type]
    ]
    for loss in losses:
        assert loss == 0
        (gradient,) = torch.autograd.grad(loss, logits)
        assert (gradient == 0).all()


def test_reduction_none_keeps_the_shape() -> None:
    assert SoftmaxFocalLoss(reduction="none")(torch.randn(2, 3, 5, 4), torch.zeros(2, 5, 4, dtype=torch.long)).shape == (
        2,
        5,
        4,
    )


@pytest.mark.parametrize("module", [SoftmaxFocalLoss(), SigmoidFocalLoss(), RegressionFocalLoss()])
def test_modules_compile_to_one_graph(module: torch.nn.Module) -> None:
    torch._dynamo.reset()
    output = torch.randn(4, 3)
    target = torch.tensor([0, 1, 2, -100]) if isinstance(module, SoftmaxFocalLoss) else torch.rand(4, 3)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(output, target), module(output, target))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftmaxFocalLoss(-1.0), "`gamma` to be at least 0; got -1.0"),
        (lambda: SoftmaxFocalLoss(reduction="avg"), "`reduction` to be 'mean', 'sum' or 'none'; got 'avg'"),  # type: ignore[arg-type]
        (lambda: SigmoidFocalLoss(alpha=1.5), "`alpha` to be at most 1; got 1.5"),
        (lambda: RegressionFocalLoss(scale=0.0), "`scale` to be above 0; got 0.0"),
        (lambda: RegressionFocalLoss(kind="l3"), "`kind` to be 'l1', 'l2' or 'linear'; got 'l3'"),  # type: ignore[arg-type]
        (lambda: RegressionFocalLoss()(torch.ones(3), torch.ones(3, 1)), r"same shape; got \[3\] and \[3, 1\]"),
    ],
)
def test_bad_input_gets_a_sentence(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
