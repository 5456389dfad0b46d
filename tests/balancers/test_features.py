"""Gradient balancers that combine the gradients of features rather than of parameters."""

import pytest
import torch
from torch import Tensor, nn

from gradient_steps import assert_equal, make, state
from hardfirst.balancers import GradientBalancer, Spec
from hardfirst.errors import InputError
from table import GRADIENT, TASKS


@pytest.fixture(params=GRADIENT, ids=str)
def spec(request: pytest.FixtureRequest) -> Spec:
    return request.param


@pytest.fixture
def balancer(spec: Spec) -> GradientBalancer:
    return make(spec)


class Branches:
    """An encoder that gives two features, and for each task a head that reads both."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.encoder, self.heads = nn.Linear(3, 4), nn.ModuleList(nn.Linear(4, 1) for _ in TASKS)
        self.inputs, self.passes = torch.randn(5, 3), 0

    def features(self) -> list[Tensor]:
        encoded = self.encoder(self.inputs)
        encoded.register_hook(self._count)
        return [encoded[:, :2].tanh(), encoded[:, 2:].exp()]

    def losses(self, features: list[Tensor]) -> dict[str, Tensor]:
        outputs = [head(torch.cat(features, 1)).squeeze(1) for head in self.heads]
        sizes = (0.1, 2.0, 30.0)
        return {
            task: size * (output - self.inputs[:, n]).square().mean()
            for n, (task, output, size) in enumerate(zip(TASKS, outputs, sizes, strict=True))
        }

    def gradients(self) -> list[Tensor | None]:
        return [parameter.grad for parameter in (*self.encoder.parameters(), *self.heads.parameters())]

    def _count(self, gradient: Tensor) -> None:
        self.passes += 1


def test_features_are_combined_and_go_back_through_the_encoder_once(spec: Spec) -> None:
    if not spec.method.takes_features:
        features = Branches().features()
        with pytest.raises(InputError, match=r"gradients of parameters, .* `features` do not\. Give `shared="):
            make(spec).backward(Branches().losses(features), features=features)
        return
    expected, found = Branches(), Branches()
    apart = [nn.Parameter(part.detach()) for part in expected.features()]
    by_hand = make(spec)
    by_hand.backward(expected.losses(apart), shared=apart)
    torch.autograd.backward(expected.features(), [part.grad for part in apart])
    features, balancer = found.features(), make(spec)
    balancer.backward(found.losses(features), features=features, using=lambda total: (4 * total).backward())
    torch.testing.assert_close(found.gradients(), [4 * gradient for gradient in expected.gradients()])
    assert found.passes == 1
    assert_equal(state(balancer), state(by_hand))


def test_features_of_a_linear_encoder_and_its_weight_give_one_direction(spec: Spec) -> None:
    """For one example x, the gradient of the weight is that of the features times xᵀ: the products differ by x·x alone."""
    if not spec.method.takes_features or spec.name == "graddrop":  # of which each number is drawn for
        pytest.skip("not of inner products alone")
    found = []
    inputs, rows = torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 2, 0], [-2.0, 1, 1], [0.5, -1, 3]])
    for which in ("shared", "features"):
        weight, balancer = nn.Parameter(torch.ones(3, 2)), make(spec)
        features = weight @ inputs
        given = {"shared": [weight]} if which == "shared" else {"features": features}
        balancer.backward(dict(zip(TASKS, rows @ features, strict=True)), **given)
        assert weight.grad is not None
        found.append(weight.grad / weight.grad.norm())
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-3)


def wrong_features(kind: str) -> None:
    branches, balancer = Branches(), make(GRADIENT[0])
    features = branches.features()
    losses = branches.losses(features)
    given: dict[str, object] = {"features": features}
    match kind:
        case "both":
            given["shared"] = branches.encoder.parameters()
        case "none":
            given["features"] = []
        case "parameters":
            given["features"] = branches.encoder.weight
        case "without a graph":
            given["features"] = features[0].detach()
        case "a way around":
            given["features"] = features[0]
        case "others":
            given["features"] = branches.features()
    balancer.backward(losses, **given)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("both", "either `shared` or `features`; got both"),
        ("none", "expects `features` to be tensors that the network computed"),
        ("parameters", "Pass parameters as `shared`"),
        ("without a graph", "with their graph"),
        ("a way around", "one loss bypasses them"),
        ("others", "Expected the losses to depend on the layers before `features` only through them"),
    ],
)
def test_wrong_features(kind: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        wrong_features(kind)


def test_features_computed_from_each_other() -> None:
    branches = Branches()
    first = branches.encoder(branches.inputs).tanh()
    second = first.exp()
    losses = branches.losses([second[:, :2], second[:, 2:]])
    with pytest.raises(InputError, match="do not depend on each other"):
        make(GRADIENT[0]).backward(losses, features=[first, second])


def test_features_belong_to_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    branches, balancer = Branches(), make(GRADIENT[0])
    features = branches.features()
    monkeypatch.setattr(balancer, "is_distributed", lambda: True)
    with pytest.raises(InputError, match="cannot average gradients of `features` over ranks"):
        balancer.backward(branches.losses(features), features=features)


def test_a_tensor_that_is_no_parameter_is_not_shared(balancer: GradientBalancer) -> None:
    branches = Branches()
    features = branches.features()
    with pytest.raises(InputError, match="expects parameters in `shared`; got a tensor that the network computed"):
        balancer.backward(branches.losses(features), shared=features)
