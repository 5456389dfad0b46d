"""What every gradient balancer promises, for every one in the registry: a new method is tested without asking for it."""

import math
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gradient_steps import Bowls, assert_equal, flat, make, state, step, train
from hardfirst.balancers import GradientBalancer, Spec, card
from hardfirst.errors import InputError, MissingPackage
from table import GRADIENT, TASKS

pytestmark = pytest.mark.filterwarnings("ignore:.*weights_only:FutureWarning")

# the share of the gradient in an average's first step, of the methods that combine averages
FIRST_AVERAGES = {"db_mtl": 0.1, "moco": 0.5}


@pytest.fixture(params=GRADIENT, ids=str)
def spec(request: pytest.FixtureRequest) -> Spec:
    return request.param


@pytest.fixture
def balancer(spec: Spec) -> GradientBalancer:
    return make(spec)


def test_averages_of_its_copies(balancer: GradientBalancer) -> None:
    """A module that holds the balancer, of which a copy is kept whose parameters and buffers are moving averages."""
    bowls = Bowls()
    module = nn.ModuleDict({"balancer": balancer, "others": nn.ParameterList(bowls.shared)})
    module["norm"] = nn.BatchNorm1d(2)
    averaged = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    for seed in range(3):
        step(balancer, seed, bowls)
        averaged.update_parameters(module)
    assert averaged.module["norm"].running_var.tolist() == [1, 1]
    assert all(tensor.isfinite().all() for tensor in averaged.state_dict().values())


def test_a_seed_decides_the_draws_and_nothing_else_does(spec: Spec) -> None:
    before = torch.get_rng_state()
    one, other = make(spec), make(spec)
    found = train(one)
    torch.rand(5)
    assert_equal(train(other), found)
    torch.set_rng_state(before)
    train(one)
    assert_equal(torch.get_rng_state(), before)
    if "draws.key" in one.state_dict():
        seeded = make(spec.replace({"seed": 7}))
        assert any(not torch.equal(flat(a), flat(b)) for a, b in zip(train(seeded, 20), train(make(spec), 20), strict=True))


def test_a_task_left_out_is_a_zero_loss_and_shrinks_the_jacobian(spec: Spec) -> None:
    absent, rest = TASKS[1], (TASKS[0], TASKS[2])
    left_out, zero, without = make(spec), make(spec), make(spec, rest)
    one, other, third = Bowls(), Bowls(), Bowls()
    left_out.backward({task: one.losses(1)[task] for task in rest}, shared=one.shared)
    losses = other.losses(1)
    zero.backward({**losses, absent: losses[absent] * 0}, shared=other.shared)
    without.backward({task: third.losses(1)[task] for task in rest}, shared=third.shared)
    found, expected = one.gradients(), other.gradients()
    assert_equal(found["shared"], expected["shared"])
    assert_equal(expected["heads"][1], torch.zeros(3))  # a zero loss has a graph, so that DDP sees its head
    assert_equal(found["heads"][1], torch.full((3,), 12345.0))
    assert_equal(state(left_out), state(zero))
    torch.testing.assert_close(third.gradients()["shared"], found["shared"])
    assert left_out.weights[absent] == 1  # as it was


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_loss_reaches_the_gradients_and_never_the_state(spec: Spec, value: float) -> None:
    broken, without = make(spec), make(spec)
    one, other = Bowls(), Bowls()
    losses = one.losses(1)
    given: list[Tensor] = []
    broken.backward({**losses, "easy": losses["easy"] * value}, shared=one.shared, using=given.append)
    assert not given[0].isfinite()
    given[0].backward()
    assert not flat(one.gradients()).isfinite().all()
    rest = {task: loss for task, loss in other.losses(1).items() if task != "easy"}
    without.backward(rest, shared=other.shared)
    assert_equal(state(broken), state(without))


def test_a_gradient_that_is_not_finite_is_set_aside(spec: Spec) -> None:
    broken, without = make(spec), make(spec)
    one, other = Bowls(), Bowls()
    endless = (one.shared[0][0, 0] - one.shared[0][0, 0].detach()).abs().sqrt() + 1  # its slope is infinite here
    broken.backward({**one.losses(1), "easy": endless}, shared=one.shared)
    without.backward({task: loss for task, loss in other.losses(1).items() if task != "easy"}, shared=other.shared)
    assert_equal(state(broken), state(without))
    assert not one.gradients()["shared"][0].isfinite().all()
    assert_equal(one.gradients()["shared"][1], torch.full((4,), 12345.0))


def test_a_loss_of_0_with_a_gradient_is_present(spec: Spec) -> None:
    """Signed losses can be 0 by chance. The toy problem of CAGrad and Nash-MTL starts like this."""
    if spec.name == "db_mtl":
        pytest.skip("it has the logarithm of the losses")
    zero, shifted = make(spec), make(spec)
    one, other = (nn.Parameter(torch.zeros(4)) for _ in range(2))
    rows = torch.tensor([[2.0, 1, 0, 0], [-1.0, 1, 1, 0], [0.0, 1, -1, 1]])
    zero.backward(dict(zip(TASKS, rows @ one, strict=True)), shared=[one])
    shifted.backward(dict(zip(TASKS, 1 + rows @ other, strict=True)), shared=[other])
    assert one.grad is not None
    assert one.grad.abs().sum() > 0
    assert_equal(one.grad, other.grad)
    assert_equal(state(zero), state(shifted))


def test_a_loss_that_is_not_0_without_a_slope_is_present(spec: Spec) -> None:
    """MGDA has no step there, for instance: the task is where it cannot improve."""
    if spec.name == "excess_mtl":
        pytest.skip("a first step leaves its weights as they are")
    flat_task, shared = TASKS[0], nn.Parameter(torch.zeros(4))
    balancer = make(spec)
    balancer.weight.fill_(7)
    balancer.backward({flat_task: 1 + 0 * shared.sum(), TASKS[1]: 1 + shared[0]}, shared=[shared])
    assert balancer.weights[flat_task] != 7
    assert shared.grad is not None
    assert shared.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e-38, 1e-25, 2e19, 1e30])
def test_one_gradient_of_another_size_leaves_the_update_finite(spec: Spec, size: float) -> None:
    shared, balancer = nn.Parameter(torch.zeros(2)), make(spec)
    balancer.backward({TASKS[0]: 1 + size * shared[0], TASKS[1]: 1 + shared[1] - 0.5 * shared[0]}, shared=[shared])
    assert shared.grad is not None
    assert shared.grad.isfinite().all()
    assert shared.grad[1] >= -1e-6 * shared.grad.norm()
    assert all(tensor.isfinite().all() for tensor in state(balancer).values())


def test_heads_get_the_gradient_of_their_own_loss(spec: Spec, balancer: GradientBalancer) -> None:
    bowls, ordinary = Bowls(), Bowls()
    balancer.backward(bowls.losses(1), shared=bowls.shared)
    losses = ordinary.losses(1)
    objectives = [loss.log() if spec.name == "db_mtl" else loss for loss in losses.values()]
    torch.stack(objectives).sum().backward()
    torch.testing.assert_close(bowls.gradients()["heads"], ordinary.gradients()["heads"])


def test_gradients_add_up_in_grad(spec: Spec) -> None:
    one, other = make(spec), make(spec)
    together, alone = Bowls(), Bowls()
    for seed in (1, 2):
        one.backward(together.losses(seed), shared=together.shared)
    parts = [step(other, seed, alone) for seed in (1, 2)]
    torch.testing.assert_close(flat(together.gradients()), flat(parts[0]) + flat(parts[1]))


def test_the_hosts_own_backward_is_called_once_and_scales(spec: Spec) -> None:
    plain, scaled = make(spec), make(spec)
    expected = step(plain, 1)
    bowls = Bowls()
    given: list[Tensor] = []
    scaled.backward(bowls.losses(1), shared=bowls.shared, using=given.append)
    torch.testing.assert_close(given, [torch.stack(list(bowls.losses(1).values())).sum()])
    (1024 * given[0]).backward()
    found = bowls.gradients()
    for what in ("shared", "heads"):
        assert_equal(found[what], [1024 * part for part in expected[what]])


def test_weights_are_those_of_the_rows(spec: Spec, balancer: GradientBalancer) -> None:
    assert [float(weight) for weight in balancer.weights.values()] == [1, 1, 1]
    bowls = Bowls()
    losses = bowls.losses(1)
    jacobian = bowls.jacobian(losses)
    balancer.backward(losses, shared=bowls.shared)
    weights = torch.stack(list(balancer.weights.values()))
    update, combined = flat(bowls.gradients()), weights @ jacobian
    if spec.name == "graddrop":  # no sum of rows, but the nearest one: what it leaves is square to every row
        torch.testing.assert_close(jacobian @ (update - combined) / jacobian.norm(dim=1), torch.zeros(3), rtol=0, atol=1e-2)
    elif spec.name in FIRST_AVERAGES:
        torch.testing.assert_close(update, FIRST_AVERAGES[spec.name] * combined, rtol=1e-4, atol=1e-5)
    else:
        torch.testing.assert_close(update, combined, rtol=1e-4, atol=1e-4)


def test_parameters_that_only_some_tasks_reach_and_those_that_none_does(balancer: GradientBalancer) -> None:
    """As in a task hierarchy: the first task reads a block, the others the block after it."""
    early, late, unused = (nn.Parameter(torch.ones(3)) for _ in range(3))
    losses = {
        "easy": (early**2).sum(),
        "hard one": ((early * late).sum() - 1) ** 2,
        "c.d": ((early * late - torch.arange(3.0)) ** 2).sum(),
    }
    balancer.backward(losses, shared=[early, late, unused])
    assert early.grad is not None
    assert late.grad is not None
    assert unused.grad is None
    assert early.grad.abs().sum() > 0
    assert late.grad.abs().sum() > 0


def test_a_task_apart_from_the_shared_parameters_has_no_row(spec: Spec) -> None:
    with_it, without = make(spec), make(spec)
    one, other = Bowls(), Bowls()
    apart = nn.Parameter(torch.tensor(2.0))
    with_it.backward({**one.losses(1), "easy": apart**2}, shared=one.shared)
    without.backward({task: loss for task, loss in other.losses(1).items() if task != "easy"}, shared=other.shared)
    assert_equal(one.gradients()["shared"], other.gradients()["shared"])
    assert apart.grad == (1.0 if spec.name == "db_mtl" else 4.0)


def test_losses_must_depend_on_shared(balancer: GradientBalancer) -> None:
    bowls = Bowls()
    with pytest.raises(InputError, match="Expected the losses to depend on `shared`"):
        balancer.backward(bowls.losses(1), shared=[nn.Parameter(torch.ones(2))])
    with torch.no_grad(), pytest.raises(InputError, match="Expected the losses to depend on `shared`"):
        balancer.backward(bowls.losses(1), shared=bowls.shared)


def test_shared_is_needed(balancer: GradientBalancer) -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    for shared in (None, [], [frozen]):
        with pytest.raises(InputError, match=r"\w+ needs the parameters that all tasks share, all of them trainable"):
            balancer.backward(Bowls().losses(1), shared=shared)


def test_an_update_may_be_delivered_after_the_next_step(spec: Spec) -> None:
    late, expected = make(spec), train(make(spec), 2)
    given: list[tuple[Bowls, Tensor]] = []
    for seed in range(2):
        bowls = Bowls()
        late.backward(bowls.losses(seed), shared=bowls.shared, using=lambda total, bowls=bowls: given.append((bowls, total)))
    for _, total in given:
        total.backward()
    assert_equal([bowls.gradients()["shared"] for bowls, _ in given], [found["shared"] for found in expected])


class First(GradientBalancer):
    """Its update is a row of the Jacobian itself."""

    def aggregate(self, jacobian: Tensor, gramian: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        return jacobian[0], torch.eye(len(present))[0]


def test_an_update_that_is_a_row() -> None:
    balancer, given, bowls = First(TASKS), [], [Bowls(), Bowls()]
    for seed, each in enumerate(bowls):
        balancer.backward(each.losses(seed), shared=each.shared, using=given.append)
    given[0].backward()
    other = Bowls()
    torch.testing.assert_close(flat(bowls[0].gradients()), other.jacobian(other.losses(0))[0])


def test_there_is_no_total(balancer: GradientBalancer) -> None:
    with pytest.raises(InputError, match=r"has no total\. Replace"):
        balancer(Bowls().losses(1))


def test_it_cannot_be_compiled(balancer: GradientBalancer) -> None:
    torch._dynamo.reset()
    bowls = Bowls()

    @torch.compile(backend="eager")
    def compiled() -> None:
        balancer.backward(bowls.losses(1), shared=bowls.shared)

    with pytest.raises(RuntimeError, match=r"InputError: \w+ .* runs only in eager mode\. Keep the balancer out"):
        compiled()


def test_a_card_says_what_it_costs(spec: Spec) -> None:
    found = card(spec.name)
    assert "backward pass per task" in found.cost
    assert "memory" in found.cost
    assert found.needs == ("shared",)
    assert found.state is not None
    assert not found.linear
    assert not found.compiles


def test_a_missing_package_is_said_at_construction(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchjd", None)
    if spec.name != "cagrad":
        make(spec)
        return
    with pytest.raises(MissingPackage, match=r"needs TorchJD and its solvers .*pip install 'hardfirst\[gradient\]'"):
        make(spec)
    assert card(spec.name).state is None


def test_a_missing_solver_is_said_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    mixins = pytest.importorskip("torchjd._mixins")

    find = mixins.find_spec
    monkeypatch.setattr(mixins, "find_spec", lambda module: None if module == "cvxpy" else find(module))
    with pytest.raises(MissingPackage, match=r"cvxpy.*pip install 'hardfirst\[gradient\]'"):
        make(Spec.parse("cagrad"))


def test_compiled_networks(balancer: GradientBalancer) -> None:
    pytest.importorskip("torchjd")
    from torch._functorch import config

    torch._dynamo.reset()
    bowls, eager = Bowls(), Bowls()
    with config.patch(donated_buffer=False):
        compiled = torch.compile(bowls.losses, backend="aot_eager")
        balancer.backward(compiled(1), shared=bowls.shared)
    expected = step(make(Spec.parse("pcgrad")), 1, eager)
    assert [part.shape for part in bowls.gradients()["shared"]] == [part.shape for part in expected["shared"]]
