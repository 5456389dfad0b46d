"""What every loss balancer promises, for every one in the registry; what all balancers promise is in test_contract.py."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch._subclasses import FakeTensorMode

from hardfirst.balancers import BALANCERS, Balancer, LossBalancer, Spec, task_weights
from hardfirst.errors import InputError
from table import COMPILED, EAGER, LINEAR, SHARED, SPECS, TASKS, make

pytestmark = pytest.mark.filterwarnings("ignore:.*weights_only:FutureWarning")


@pytest.fixture(params=SPECS, ids=str)
def spec(request: pytest.FixtureRequest) -> Spec:
    return request.param


@pytest.fixture
def balancer(spec: Spec) -> LossBalancer:
    return make(spec)


def steps(count: int, seed: int = 1) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Losses and KPIs of some steps; the losses differ in size from task to task, and depend on the shared parameter."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        losses = torch.rand(3, generator=generator) * torch.tensor([0.1, 2.0, 30.0]) + 0.01
        kpis = torch.rand(3, generator=generator)
        yield dict(zip(TASKS, (losses * SHARED.mean()).unbind(), strict=True)), dict(zip(TASKS, kpis, strict=True))


def train(balancer: LossBalancer, count: int = 5, seed: int = 1) -> list[Tensor]:
    totals = []
    for number, (losses, kpis) in enumerate(steps(count, seed)):
        totals.append(balancer(losses, kpis).detach())
        if number % 2:
            balancer.end_epoch()
    return totals


def state(balancer: Balancer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in balancer.state_dict().items()}


def assert_same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor.nan_to_num(-7.0), other[name].nan_to_num(-7.0)), name


@pytest.mark.parametrize("trained", [0, 5])
def test_a_task_left_out_a_zero_loss_and_others_weights(spec: Spec, trained: int) -> None:
    left_out, zero, whole = make(spec), make(spec), make(spec)
    for balancer in (left_out, zero, whole):
        train(balancer, trained)
    absent = TASKS[1]
    losses, kpis = next(steps(1, seed=4))
    fewer = {task: loss for task, loss in losses.items() if task != absent}
    fewer_kpis = {task: kpi for task, kpi in kpis.items() if task != absent}
    zeroed = {**losses, absent: losses[absent] * 0}
    before = state(left_out)
    one = left_out(fewer, fewer_kpis)
    other = zero(zeroed, {**kpis, absent: torch.tensor(math.nan)})
    assert torch.equal(one, other)
    assert_same_state(state(left_out), state(zero))
    assert task_weights(other, zeroed)[absent].isfinite()
    position = TASKS.index(absent)
    for name, buffer in state(left_out).items():
        if buffer.shape == (3,):
            assert torch.equal(buffer[position].nan_to_num(-7), before[name][position].nan_to_num(-7)), name


ANNEALED = [
    spec for spec in SPECS if spec.name not in ("equal", "curriculum", "dtp_paper") and spec.option("anneal") is None
]


@pytest.mark.parametrize("spec", ANNEALED, ids=str)
@pytest.mark.parametrize(("anneal", "shares"), [((0.25, 0.75), [0, 0, 0.5, 1, 1]), ((0.5, 0.25), [1, 1, 0, 0, 0])])
def test_annealing_goes_over_to_equal_weights(spec: Spec, anneal: tuple[float, float], shares: list[float]) -> None:
    plain, annealed = make(spec), make(spec.replace({"anneal": anneal, "steps": 4}))
    for share, (losses, kpis) in zip(shares, steps(5), strict=True):
        weights, mixed = (task_weights(balancer(losses, kpis), losses) for balancer in (plain, annealed))
        for task in TASKS:
            torch.testing.assert_close(mixed[task], (1 - share) * weights[task] + share)
    assert dict(annealed.weights) == (dict.fromkeys(TASKS, torch.tensor(1.0)) if shares[-1] else dict(plain.weights))


def test_annealing_needs_the_number_of_steps() -> None:
    balancer = make(Spec.parse("dtp:anneal=0.6+0.8"))
    losses, kpis = next(steps(1))
    with pytest.raises(InputError, match="number of training steps"):
        balancer(losses, kpis)
    assert balancer.needs_steps
    balancer.plan_steps(5)
    balancer.plan_steps(9)  # the first, or the user's, counts
    assert balancer.steps == 5
    balancer(losses, kpis)


def test_a_nan_kpi_is_no_kpi(spec: Spec) -> None:
    nan, none = make(spec), make(spec)
    for balancer in (nan, none):
        train(balancer)
    kpis = {"easy": 0.3, "c.d": torch.tensor(0.9)}
    nan.update({**kpis, "hard one": math.nan})
    none.update(kpis)
    assert_same_state(state(nan), state(none))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_loss_reaches_the_total_and_never_the_state(spec: Spec, value: float) -> None:
    broken, without = make(spec), make(spec)
    for balancer in (broken, without):
        train(balancer)
    losses, kpis = next(steps(1, seed=6))
    total = broken({**losses, "easy": losses["easy"] * value}, kpis)
    without({task: loss for task, loss in losses.items() if task != "easy"}, kpis)
    assert not total.isfinite()
    assert_same_state(state(broken), state(without))


def test_update_then_forward_is_forward_with_kpis(spec: Spec) -> None:
    one, other = make(spec), make(spec)
    for losses, kpis in steps(4):
        other.update(kpis)
        assert torch.equal(one(losses, kpis), other(losses))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch looks at it in all inputs of a graph
@pytest.mark.parametrize("spec", COMPILED, ids=str)
def test_one_compiled_graph_over_twenty_steps(spec: Spec) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    balancer, eager = make(spec), make(spec)
    compiled = torch.compile(balancer, backend=counter, fullgraph=True)
    for losses, kpis in steps(20):
        torch.testing.assert_close(compiled(losses, kpis), eager(losses, kpis))
        compiled.end_epoch()
        eager.end_epoch()
    assert counter.frame_count == 1
    torch.testing.assert_close(state(balancer), state(eager), equal_nan=True)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("spec", COMPILED, ids=str)
def test_compiled_gradients_are_those_of_this_steps_weights(spec: Spec) -> None:
    """Also with the compiler's partition of forward and backward, which would rather recompute than save."""
    torch._dynamo.reset()
    balancer, eager = make(spec), make(spec)
    compiled = torch.compile(balancer, backend="aot_eager_decomp_partition", fullgraph=True)
    for losses, kpis in steps(4):
        found, expected = (task_weights(one(losses, kpis), losses) for one in (compiled, eager))
        torch.testing.assert_close(found, expected)
        compiled.end_epoch()
        eager.end_epoch()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("spec", EAGER, ids=str)
@pytest.mark.parametrize("fullgraph", [True, False])
def test_a_method_that_cannot_be_compiled_says_so(balancer: LossBalancer, fullgraph: bool) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(balancer, backend="eager", fullgraph=fullgraph)
    with pytest.raises(RuntimeError, match=r"InputError: \w+ .* runs only in eager mode\. Keep the balancer out"):
        compiled(*next(steps(1)))


def test_no_host_sync_and_no_branch_on_values(spec: Spec) -> None:
    with FakeTensorMode():
        balancer = make(spec)
        shared = torch.nn.Parameter(torch.ones(2))
        for number in range(3):
            losses = {task: torch.rand(()) * shared.mean() for task in TASKS[: 2 + number % 2]}
            balancer.backward(losses, {task: torch.rand(()) for task in losses}, shared=[shared])
            balancer.end_epoch()
        assert balancer.weights.keys() == set(TASKS)


@pytest.mark.parametrize("spec", LINEAR, ids=str)
def test_weights_are_the_autograd_truth(balancer: LossBalancer) -> None:
    train(balancer)
    balancer.eval()
    losses, _ = next(steps(1, seed=7))
    truth = task_weights(balancer(losses), losses)
    for task, weight in balancer.weights.items():
        assert weight.shape == ()
        assert not weight.requires_grad
        torch.testing.assert_close(weight, truth[task])


@pytest.mark.parametrize("spec", LINEAR, ids=str)
def test_micro_batches_equal_one_batch(spec: Spec) -> None:
    whole, parts = make(spec), make(spec)
    for balancer in (whole, parts):
        train(balancer)
    losses, kpis = next(steps(1, seed=8))
    expected = task_weights(whole(losses, kpis), losses)
    parts.update(kpis)
    gathered = dict.fromkeys(TASKS, torch.zeros(()))
    for last in (False, False, True):
        parts.train(last)
        third = {task: loss / 3 for task, loss in losses.items()}
        found = task_weights(parts(third), losses)
        gathered = {task: gathered[task] + found[task] for task in TASKS}
    torch.testing.assert_close(gathered, expected)


@pytest.mark.parametrize("tasks", [[], ["a", "a"], ["a", ""], "ab", [1]])
def test_tasks_are_checked(tasks: object) -> None:
    with pytest.raises(InputError, match="Expected"):
        BALANCERS["equal"](tasks)
