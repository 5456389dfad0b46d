"""Balancers in loops of several kinds: tasks left out, one task a step, closures, and loops that teach them nothing."""

import copy
import pickle
import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hardfirst import DTP, LossBalancer, Spec
from hardfirst.balancers import Balancer, card, task_weights
from hardfirst.balancers._watch import EVALUATIONS, STEPS, STEPS_OF_AN_EPOCH
from host_loops import adam_steps
from table import EVERY, SPECS, TASKS

SIZES = dict(zip(TASKS, (0.1, 2.0, 30.0), strict=True))
KPIS = dict(zip(TASKS, (0.2, 0.5, 0.9), strict=True))
BY_NAME = {str(spec): spec for spec in EVERY}
UNTRAINED = ("paused", "validated", "no_grad")  # ways in which eval mode is meant
# weights that these losses and KPIs do not tell from equal or given ones; annealed ones end as equal ones
CONSTANT = ("equal", "fixed", "curriculum", "self_paced", "hard_first")


@pytest.fixture(params=EVERY, ids=str)
def spec(request: pytest.FixtureRequest) -> Spec:
    return request.param


def losses_of(shared: Tensor, number: int, tasks: tuple[str, ...] = TASKS) -> dict[str, Tensor]:
    rows = torch.rand(3, 3, generator=torch.Generator().manual_seed(number)) - 0.3
    losses = {task: SIZES[task] * ((row * shared).sum().square() + 0.1) for task, row in zip(TASKS, rows, strict=True)}
    return {task: losses[task] for task in tasks}


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -0.5, 2.0]))


def trained(spec: Spec) -> Balancer:
    balancer, shared = spec.build(TASKS), parameter()
    for number in range(12):
        balancer.backward(losses_of(shared, number), KPIS, shared=[shared])
        if number % 2:
            balancer.end_epoch()
    return balancer


def weights_in_a_step(balancer: Balancer, tasks: tuple[str, ...]) -> list[float]:
    """The weights of the first two tasks in a step."""
    shared = parameter()
    losses = losses_of(shared, 99, tasks)
    if isinstance(balancer, LossBalancer):
        found = task_weights(balancer(losses, shared=[shared]), losses)
    else:
        balancer.backward(losses, shared=[shared])
        found = dict(balancer.weights)
    return [round(float(found[task]), 4) for task in TASKS[:2]]


def factors_alone(balancer: Balancer) -> set[float]:
    """The factors on the gradients of each task's loss, at the end of steps with the loss of one task each."""
    factors = set()
    for number in range(60):
        shared, task = parameter(), TASKS[number % 3]
        losses = losses_of(shared, number, (task,))
        (expected,) = torch.autograd.grad(losses[task], shared, retain_graph=True)
        balancer.backward(losses, {task: KPIS[task]}, shared=[shared])
        assert shared.grad is not None
        if number >= 57:
            factors.add(round(float((shared.grad @ expected) / (expected @ expected)), 3))
        if number % 12 == 11:
            balancer.end_epoch()
    return factors


def test_a_method_says_whether_a_task_left_out_changes_the_others(spec: Spec) -> None:
    whole, part = (weights_in_a_step(trained(spec), tasks) for tasks in (TASKS, TASKS[:2]))
    if spec.name not in ("pcgrad", "upgrad", "gradvac", "graddrop", "db_mtl"):  # these only in some steps
        assert spec.method.joint == (whole != part)
    assert ("the weights of the others" in card(spec.name).absence) == spec.method.joint


def test_a_method_says_whether_one_task_a_step_is_equal_weights(spec: Spec) -> None:
    alike = len(factors_alone(spec.build(TASKS))) == 1
    if spec.name not in CONSTANT and not spec.option("anneal") and str(spec) != "nash_mtl:max_norm=0":
        assert spec.method.equal_alone == alike
    assert ("all tasks count alike" in card(spec.name).absence) == spec.method.equal_alone


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_losses_of_exactly_zero_keep_their_gradients(spec: Spec) -> None:
    """Signed losses may all be 0 at the start, as those of the usual toy problem are."""
    shared = nn.Parameter(torch.zeros(2))
    losses = {TASKS[0]: 2 * shared[0] + shared[1], TASKS[2]: shared[1] - shared[0]}
    balancer = spec.build(TASKS)
    assert isinstance(balancer, LossBalancer)
    before = {key: value.clone() for key, value in balancer.state_dict().items()}
    total = balancer(losses, shared=[shared])
    total.backward()
    assert total == 0
    assert shared.grad is not None
    assert shared.grad.isfinite().all()
    assert bool(shared.grad.any()) == (spec.name != "stch")  # the logarithm of 0 has no gradient to give
    before |= {
        key: value + 1 for key, value in before.items() if key == "steps_done"
    }  # it counts every step of the training
    torch.testing.assert_close(dict(balancer.state_dict()), before, rtol=0, atol=0, equal_nan=True)


def test_a_paused_balancer_stands_still_and_then_learns_once(spec: Spec) -> None:
    """The documented way for LBFGS and its like."""
    balancer, once = trained(spec), trained(spec)
    shared = parameter()
    network = nn.ModuleDict({"balancer": balancer})
    before = {key: value.clone() for key, value in balancer.state_dict().items()}
    found = []
    with balancer.paused():
        for _ in range(3):
            network.train()  # as closures do
            shared.grad = None
            balancer.backward(losses_of(shared, 0), KPIS, shared=[shared])
            assert shared.grad is not None
            found.append(shared.grad.clone())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(dict(balancer.state_dict()), before, rtol=0, atol=0, equal_nan=True)
    assert balancer.training
    shared.grad = None
    for each in (balancer, once):
        each.backward(losses_of(shared, 0), KPIS, shared=[shared], using=lambda total: None)
    assert shared.grad is None, "nothing but the balancer has learned"
    torch.testing.assert_close(dict(balancer.state_dict()), dict(once.state_dict()), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("text", ["uncertainty", "gradnorm", "dtp", "upgrad"])
def test_lbfgs_with_a_paused_balancer_reaches_the_minimum(text: str) -> None:
    torch.manual_seed(0)
    inputs, layer = torch.randn(64, 3), nn.Linear(3, 2)
    targets = inputs @ torch.randn(3, 2)
    balancer = Spec.parse(text).build(["a", "b"])
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=10, line_search_fn="strong_wolfe")

    def compute() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        errors = (layer(inputs) - targets).square().mean(0)
        return {"a": errors[0], "b": 100 * errors[1]}, {"a": (1 - errors[0]).clamp(0, 1), "b": (1 - errors[1]).clamp(0, 1)}

    def closure() -> Tensor:
        optimizer.zero_grad()
        losses, kpis = compute()
        totals: list[Tensor] = []
        balancer.backward(losses, kpis, shared=layer.parameters(), using=totals.append)
        totals[0].backward()
        return totals[0]

    for _ in range(8):
        with balancer.paused():
            optimizer.step(closure)
        losses, kpis = compute()
        balancer.backward(losses, kpis, shared=layer.parameters(), using=lambda total: None)
    assert all(loss < 1e-3 for loss in compute()[0].values())
    if text == "uncertainty":
        assert adam_steps(balancer.adam) == [8, 8]  # type: ignore[union-attr]


def test_the_closure_in_the_documents_runs() -> None:
    page = (Path(__file__).parents[2] / "docs/guides/loops.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^## Closures.*?^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shared, balancer = parameter(), Spec.parse("uncertainty").build(TASKS)
    names = {
        "balancer": balancer,
        "compute": lambda: (losses_of(shared, 0), KPIS),
        "optimizer": torch.optim.LBFGS([shared]),
        "shared": [shared],
        "steps": 3,
        "torch": torch,
    }
    before = sum(loss.item() for loss in losses_of(shared, 0).values())
    exec(code, names)
    assert adam_steps(balancer.adam) == [3, 3, 3]  # type: ignore[union-attr]
    assert sum(loss.item() for loss in losses_of(shared, 0).values()) < 0.9 * before


def warnings_of(balancer: Balancer, run: Callable[[], None]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(warning.message) for warning in caught]


def repeat(balancer: Balancer, times: int, *, tasks: tuple[str, ...] = TASKS, kpis: dict[str, float] | None = None) -> None:
    """Steps, of which the watch has not to count all one by one."""
    balancer.watch.steps += times - 2
    balancer.watch.since_epoch += times - 2
    losses = {task: torch.tensor(1.0, requires_grad=True) for task in tasks}
    for _ in range(3):
        balancer(losses, kpis)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("dtp", {}, ["DTP has had no KPI in 1000 training steps"]),
        ("achievement", {}, ["Ignore this warning if the first validation is still to come."]),
        ("dtp", {"kpis": {"easy": 0.5}}, []),
        ("dtp", {"kpis": {"easy": float("nan")}}, ["DTP has had no KPI"]),
        ("uncertainty", {}, []),
        ("geometric", {"tasks": TASKS[:1]}, ["Geometric has had the loss of only one task at a time for 1000"]),
        ("geometric", {"tasks": TASKS[:2]}, []),
        ("uncertainty", {"tasks": TASKS[:1]}, []),
    ],
)
def test_a_loop_that_gives_a_method_nothing_is_named_once(text: str, options: dict, expected: list[str]) -> None:
    balancer = Spec.parse(text).build(TASKS)
    found = warnings_of(balancer, lambda: repeat(balancer, STEPS, **options))
    found += warnings_of(balancer, lambda: repeat(balancer, STEPS_OF_AN_EPOCH - STEPS, **options))
    assert len(found) == len(expected)
    assert all(part in text for part, text in zip(expected, found, strict=True))


@pytest.mark.parametrize("text", ["geometric", "pcgrad"])
@pytest.mark.parametrize("call", ["total", "backward"])
def test_a_warning_points_at_the_loop(text: str, call: str) -> None:
    balancer, shared = Spec.parse(text).build(TASKS), nn.Parameter(torch.ones(()))
    balancer.watch.steps = STEPS - 1
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if call == "total" and text == "geometric":
            balancer({"easy": shared * 2})
        else:
            balancer.backward({"easy": shared * 2}, shared=[shared])
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("text", ["dwa", "self_paced", "stch", "curriculum:order=easy+hard one+c.d,epochs=3"])
def test_epochs_that_never_end_are_named(text: str) -> None:
    balancer, usual = (Spec.parse(text).build(TASKS) for _ in range(2))
    found = warnings_of(balancer, lambda: repeat(balancer, STEPS_OF_AN_EPOCH))
    assert len(found) == 1
    assert "counts epochs, and none has ended in 20000 training steps. Call `end_epoch()`" in found[0]
    repeat(usual, STEPS)
    usual.end_epoch()
    assert warnings_of(usual, lambda: repeat(usual, STEPS_OF_AN_EPOCH)) == []


def test_kpis_of_validations_are_waited_for_until_the_second_epoch_ends() -> None:
    balancer, driven = DTP(TASKS), DTP(TASKS)
    for each in (balancer, driven):
        each.watch.kpis_by_step = False
        assert warnings_of(each, lambda each=each: repeat(each, STEPS)) == []  # type: ignore[misc]
        assert warnings_of(each, each.end_epoch) == []
        assert warnings_of(each, each.end_epoch) == [], "an epoch has steps"
        repeat(each, 3)
    driven.update({"easy": 0.5})
    assert warnings_of(driven, driven.end_epoch) == []
    (text,) = warnings_of(balancer, balancer.end_epoch)
    assert "DTP has had no KPI in 2 epochs" in text
    assert "still to come" not in text
    assert "balancer.update(kpis)" in text


@pytest.mark.parametrize(("text", "lags"), [("dtp", True), ("achievement", True), ("dtp:alpha=0.75", False)])
@pytest.mark.parametrize("by_step", [False, True])
def test_an_alpha_for_batches_is_named_where_kpis_come_once_an_epoch(text: str, lags: bool, by_step: bool) -> None:
    balancer = Spec.parse(text).build(TASKS)
    found = []
    for _ in range(4):
        repeat(balancer, 20, kpis=KPIS if by_step else None)
        balancer.update(KPIS)
        found += warnings_of(balancer, balancer.end_epoch)
    assert len(found) == (lags and not by_step)
    assert all("has had one KPI per epoch. Its `alpha` of 0.1" in text and "alpha=0.75" in text for text in found)


def test_updates_without_a_kpi_are_no_kpi_an_epoch() -> None:
    balancer, found = DTP(TASKS), []
    for _ in range(4):
        repeat(balancer, 20)
        balancer.update({})
        found += warnings_of(balancer, balancer.end_epoch)
    (text,) = found
    assert "DTP has had no KPI in 2 epochs" in text


@pytest.mark.parametrize(
    ("text", "case"),
    [("upgrad", "trained"), *((text, case) for text in ("uncertainty", "equal") for case in ("trained", *UNTRAINED))],
)
def test_a_balancer_left_in_eval_mode_is_named_where_it_is_trained_with(text: str, case: str) -> None:
    """Validation with gradients is none of that: nothing is back-propagated."""
    balancer, shared = Spec.parse(text).build(TASKS).eval(), nn.Parameter(torch.ones(()))
    balancer.watch.evaluations = EVALUATIONS - 2

    def evaluate() -> None:
        for _ in range(4):
            with torch.set_grad_enabled(case != "no_grad"):
                if case in ("trained", "paused"):
                    balancer.backward({TASKS[0]: shared * 2}, shared=[shared])
                else:
                    balancer({TASKS[0]: shared * 2})

    with balancer.paused() if case == "paused" else nullcontext():
        found = warnings_of(balancer, evaluate)
    assert len(found) == (case == "trained" and text != "equal"), "equal has nothing to learn"
    assert all("has been in eval mode for 500 training steps in a row" in text for text in found)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("spec", ["dtp", "uncertainty", "upgrad"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))], ids=["copy", "pickle"])
def test_a_copy_of_a_paused_balancer_is_not_paused(copied: Callable, spec: str, training: bool) -> None:
    balancer = Spec.parse(spec).build(TASKS).train(training)
    with balancer.paused(), balancer.paused():
        other = copied(balancer)
    assert not other.is_paused
    assert [part.training for part in other.modules()] == [training] * len(list(balancer.modules()))
    assert other.eval().train().training
    assert balancer.training == training
