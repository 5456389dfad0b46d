"""GradNorm against independent values and the paper's Algorithm 1 written out (Chen et al., ICML 2018)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hardfirst import functional
from hardfirst.balancers import Equal, GradNorm
from hardfirst.errors import InputError

CASE = json.loads((Path(__file__).parents[1] / "vectors.json").read_text())["gradnorm"]
TASKS = ["a", "b", "c"]


def tensor(name: str) -> Tensor:
    return torch.tensor(CASE[name], dtype=torch.float64)


def test_target_and_gradient_of_the_weights() -> None:
    weights = tensor("weights").requires_grad_()
    norms = weights * tensor("unweighted_gradient_norms")
    target = functional.gradnorm_target(norms, tensor("losses") / tensor("first_losses"), CASE["alpha"]).detach()
    torch.testing.assert_close(target, tensor("target"), rtol=1e-10, atol=0)
    balance = (norms - target).abs().sum()
    torch.testing.assert_close(balance, tensor("balance_loss"), rtol=1e-10, atol=0)
    balance.backward()
    torch.testing.assert_close(weights.grad, tensor("grad_weights"), rtol=1e-10, atol=0)


def bowls(shared: Tensor) -> dict[str, Tensor]:
    """A loss per task, quadratic in the shared parameter, of different size and place."""
    centres, sizes = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]), torch.tensor([0.1, 1.0, 10.0])
    return dict(zip(TASKS, (sizes * (shared - centres).square().sum(1) + 0.1).unbind(), strict=True))


def test_training_is_algorithm_1() -> None:
    balancer = GradNorm(TASKS, alpha=0.7, lr=0.01)
    ours, theirs = (torch.nn.Parameter(torch.tensor([3.0, -2.0])) for _ in range(2))
    weights = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weights], lr=0.01)
    first = torch.stack(list(bowls(theirs).values())).detach()
    for _ in range(40):
        losses = torch.stack(list(bowls(theirs).values()))
        norms = torch.stack(
            [
                torch.autograd.grad(w * loss, theirs, create_graph=True)[0].norm()
                for w, loss in zip(weights, losses, strict=True)
            ]
        )
        rates = (losses / first).detach()
        target = norms.mean().detach() * (rates / rates.mean()) ** 0.7
        total = (weights.detach().clone() * losses).sum()
        (weights.grad,) = torch.autograd.grad((norms - target).abs().sum(), weights)
        optimizer.step()
        weights.data.mul_(3 / weights.data.sum())
        found = balancer(bowls(ours), shared=[ours])
        torch.testing.assert_close(found, total, rtol=1e-4, atol=0)
        torch.testing.assert_close(balancer.weight, weights.data, rtol=1e-4, atol=1e-5)
        for parameter, loss in ((ours, found), (theirs, total)):
            parameter.data -= 0.01 * torch.autograd.grad(loss, parameter)[0]


def test_by_hand() -> None:
    """Norms 3 and 1, then rates 1/2 and 1 of the first losses: target 2·(2/3)^α and 2·(4/3)^α."""
    shared = torch.nn.Parameter(torch.tensor(1.0))
    balancer = GradNorm(["a", "b"], lr=0.1)
    balancer({"a": 3 * shared, "b": 1 * shared}, shared=[shared])
    assert balancer.weight.tolist() == pytest.approx([0.9, 1.1], rel=1e-5)  # a first step of Adam is lr whatever the size
    torch.testing.assert_close(
        functional.gradnorm_target(torch.tensor([3.0, 1.0]), torch.tensor([0.5, 1.0]), 2.0), torch.tensor([8 / 9, 32 / 9])
    )


def test_absent_and_independent_tasks_stay_and_the_others_keep_their_sum() -> None:
    shared = torch.nn.Parameter(torch.ones(()))
    alone = torch.nn.Parameter(torch.ones(()))
    balancer = GradNorm(["a", "b", "absent", "independent"])
    balancer({"a": 5 * shared, "b": shared, "absent": shared, "independent": 2 * shared}, shared=[shared])
    before = balancer.weight.clone()
    balancer({"a": 5 * shared, "b": shared, "absent": 0 * shared, "independent": 9 * alone}, shared=[shared])
    assert balancer.weight[2:].tolist() == before[2:].tolist()
    assert balancer.weight[0] < before[0]
    assert float(balancer.weight[:2].sum()) == pytest.approx(float(before[:2].sum()), rel=1e-6)


@pytest.mark.parametrize("broken", [lambda x: x.sqrt(), lambda x: (x * x).sqrt()], ids=["inf", "nan"])
def test_a_broken_gradient_touches_no_other_task(broken: Callable[[Tensor], Tensor]) -> None:
    """√ at 0 has a finite value, and a gradient that is not."""
    shared = torch.nn.Parameter(torch.zeros(()))
    one, two = GradNorm(TASKS), GradNorm(TASKS)
    good = {"a": 1 + shared, "b": 1 + 3 * shared}
    one({**good, "c": 1 + broken(shared)}, shared=[shared])
    two(good, shared=[shared])
    torch.testing.assert_close(one.weight, two.weight, rtol=0, atol=0)


def test_a_weight_never_leaves_the_positive() -> None:
    shared = torch.nn.Parameter(torch.ones(()))
    balancer = GradNorm(["a", "b"], lr=0.5)
    for _ in range(50):
        balancer({"a": 1e6 * shared, "b": shared}, shared=[shared])
        assert balancer.weight.min() > 0
        assert float(balancer.weight.sum()) == pytest.approx(2, rel=1e-5)


def test_in_eval_it_needs_no_shared_parameters() -> None:
    balancer = GradNorm(["a", "b"]).eval()
    assert balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)}) == 3


def test_one_parameter_or_an_iterator_will_do() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    loss = layer(torch.ones(1)).square().sum()
    for shared in (layer.weight, layer.parameters()):
        balancer = GradNorm(["a", "b"], lr=0.025)
        balancer({"a": loss, "b": 2 * loss}, shared=shared)
        assert balancer.weight.tolist() == pytest.approx([1.025, 0.975], rel=1e-5)


def test_shared_is_checked() -> None:
    parameter, other = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    losses = {"a": parameter.sum()}
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    for shared in (None, [], [frozen], [parameter, frozen], ["weight"]):
        with pytest.raises(InputError, match="needs the parameters that all tasks share"):
            GradNorm(TASKS)(losses, shared=shared)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="none of them does"):
        GradNorm(TASKS)(losses, shared=[other])
    with pytest.raises(InputError, match="none of them does"), torch.no_grad():
        GradNorm(TASKS)({"a": parameter.sum()}, shared=[parameter])
    assert GradNorm(TASKS)({"a": torch.zeros(()), "b": torch.zeros((), requires_grad=True)}, shared=[parameter]) == 0


def test_features_are_refused_and_methods_that_need_no_gradients_ignore_them() -> None:
    weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    with pytest.raises(InputError, match=r"GradNorm needs gradients of parameters.* Give `shared="):
        GradNorm(TASKS).backward(bowls(weight), features=2 * weight)
    Equal(TASKS).backward(bowls(weight), features=2 * weight)
    (expected,) = torch.autograd.grad(sum(bowls(weight).values()), weight)
    torch.testing.assert_close(weight.grad, expected)
