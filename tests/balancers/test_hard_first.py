"""HardFirst against a reference in Python numbers, in both phases, and its search by hand."""

import math
from collections.abc import Iterator, Sequence

import pytest
import torch

from hardfirst.balancers import Fixed, HardFirst, LossBalancer
from hardfirst.balancers.hard_first import _closable_gap, _with_kpi
from hardfirst.errors import InputError

TASKS = ("easy", "hard", "noise")
STEPS = 400  # of which the search has 60, and P begins at step 20
Seen = list[list[tuple[int, float]]]  # by task, the steps and values of its KPIs


def kpis(step: int) -> list[float]:
    """Three tasks: learned, rising and noisy. Every third KPI of one of them is missing, and one is missing for long."""
    values = [0.95 - 0.3 * 0.9**step, min(0.2 + 0.006 * step, 0.9), 0.3 + 0.1 * math.sin(2.5 * step)]
    if step % 3 == 1:
        values[step // 3 % 3] = math.nan
    if 30 <= step < 45:
        values[1] = math.nan
    return values


def share(number: float) -> float:
    """-(1 - x) ln x."""
    number = min(max(number, 0.001), 0.999)
    return -(1 - number) * math.log(number)


def gap(seen: Sequence[tuple[int, float]], average: float) -> float:
    """By the weighted regression of the KPIs on their ages at the latest one."""
    latest, window = seen[-1][0], 0.15 * STEPS
    parts = [((1 - 1 / window) ** (latest - step), latest - step, value) for step, value in seen]
    n = sum(weight for weight, *_ in parts)
    age, mean = (sum(part[0] * part[i] for part in parts) / n for i in (1, 2))
    spread = sum(weight * (a - age) ** 2 for weight, a, _ in parts) / n
    slope = -sum(weight * (a - age) * (value - mean) for weight, a, value in parts) / n / spread
    residual = sum(weight * (value - mean + slope * (a - age)) ** 2 for weight, a, value in parts) / n
    error = math.sqrt(max(residual, 1e-8) / spread / max(n - 2, 1))
    certainty = min(max(slope / (2 * error), 0), 1)
    return min(1 - average, 0.5 * STEPS * certainty * max(slope, 0))


def reference() -> Iterator[tuple[list[float], list[float]]]:
    """Yield each step's weights, and P after it."""
    seen: Seen = [[], [], []]
    average, priority = [math.nan] * 3, [0.0] * 3
    for step in range(STEPS):
        if step < 60:
            for t, value in enumerate(kpis(step)):
                if not math.isnan(value):
                    seen[t].append((step, value))
                    average[t] = value if math.isnan(average[t]) else average[t] + 0.1 * (value - average[t])
            shares = [1.0] * 3
            if step >= 20:
                focal = [share(1 - gap(seen[t], average[t])) + 1e-5 for t in range(3)]
                shares = [3 * one / sum(focal) for one in focal]
            if step >= 20:
                priority = [p + s for p, s in zip(priority, shares, strict=True)]
            yield [1.0] * 3, priority
        else:
            equal = min(max((step / STEPS - 0.6) / 0.2, 0), 1)
            found = [0.8 * 3 * p / sum(priority) + 0.2 for p in priority]
            yield [(1 - equal) * w + equal for w in found], priority


def take_step(balancer: LossBalancer, step: int) -> list[float]:
    """Take a step and return the effective weights."""
    losses = torch.ones(3, requires_grad=True)
    total = balancer(dict(zip(TASKS, losses.unbind(), strict=True)), dict(zip(TASKS, kpis(step), strict=True)))
    return torch.autograd.grad(total, losses)[0].tolist()


def test_weights_and_priorities_by_the_reference() -> None:
    balancer = HardFirst(TASKS, steps=STEPS)
    restarts = []
    for step, (weights, priority) in enumerate(reference()):
        assert take_step(balancer, step) == pytest.approx(weights, rel=2e-4)
        assert balancer.priority.tolist() == pytest.approx(priority, rel=2e-4)
        restarts += [step + 1] * balancer.restarted
    assert restarts == [balancer.restart_step] == [60]
    assert max(weights) == pytest.approx(1)
    easy, hard, noise = balancer.priority.tolist()
    assert hard > 4 * easy
    assert hard > 4 * noise


@pytest.mark.parametrize("saved", [0, 25, 59, 60, 61, 300])
def test_a_resumed_search_and_training_are_bit_equal(saved: int) -> None:
    whole, resumed = HardFirst(TASKS, steps=STEPS), HardFirst(TASKS[::-1], steps=STEPS)
    for step in range(saved):
        take_step(whole, step)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.restarted == whole.restarted == (saved == 60)
    for step in range(saved, saved + 8):
        assert take_step(resumed, step) == take_step(whole, step)
        assert torch.equal(resumed.priority, whole.priority.flip(0))


def test_a_compiled_search_and_training_are_those_in_eager_mode() -> None:
    torch._dynamo.reset()
    eager, compiled = (HardFirst(TASKS, steps=150, search=0.2) for _ in range(2))
    graph = torch.compile(compiled, backend="eager", fullgraph=True)
    for step in range(35):
        named = {task: torch.tensor(kpi) for task, kpi in zip(TASKS, kpis(step), strict=True)}
        losses = {task: torch.tensor(1.0) for task in TASKS}
        torch.testing.assert_close(graph(losses, named), eager(losses, named))
    torch.testing.assert_close(compiled.state_dict(), eager.state_dict(), equal_nan=True)


def test_a_kpi_of_every_tenth_step_has_the_same_trend() -> None:
    gaps = {}
    for every in (1, 10):
        sums, average = torch.zeros(1, 6), torch.tensor([0.5])
        for step in range(0, 400, every):
            sums = _with_kpi(sums, torch.tensor([0.2 + 0.001 * step]), torch.tensor([float(every)]), 1 - 1 / 150)
        gaps[every] = float(_closable_gap(sums, average, 200.0))
    assert gaps == {1: pytest.approx(0.2, rel=1e-3), 10: pytest.approx(0.2, rel=1e-3)}


def test_sums_in_float32_stay_accurate_over_long_ages() -> None:
    """As after 150,000 steps, with a KPI in every hundredth of them."""
    generator = torch.Generator().manual_seed(0)
    gaps = []
    for dtype in (torch.float32, torch.float64):
        sums, noise = torch.zeros(2, 6, dtype=dtype), torch.randn(1500, 2, generator=generator.manual_seed(0))
        for number in range(1500):
            kpi = torch.tensor([0.5, 0.3]) + torch.tensor([1e-4, 0.0]) * number + 0.03 * noise[number]
            sums = _with_kpi(sums, kpi.to(dtype), torch.full((2,), 100.0, dtype=dtype), 1 - 1 / 150_000)
        gaps.append(_closable_gap(sums, torch.tensor([0.6, 0.3], dtype=dtype), 500_000.0).double())
    torch.testing.assert_close(gaps[0], gaps[1], rtol=0.02, atol=1e-3)
    assert gaps[1][0] == pytest.approx(0.4)


@pytest.mark.parametrize(("values", "known"), [([0.5], False), ([0.5, 0.6], False), ([0.5, 0.6, 0.7], True)])
def test_a_task_needs_three_kpis_for_a_trend(values: list[float], known: bool) -> None:
    sums = torch.zeros(1, 6)
    for value in values:
        sums = _with_kpi(sums, torch.tensor([value]), torch.tensor([1.0]), 0.999)
    assert bool(_closable_gap(sums, torch.tensor([0.6]), 100.0).isnan()) != known


def test_without_kpis_all_weights_stay_equal() -> None:
    balancer = HardFirst(TASKS, steps=STEPS)
    for _ in range(80):
        balancer({task: torch.tensor(1.0) for task in TASKS})
    assert [float(weight) for weight in balancer.weights.values()] == [1, 1, 1]


def test_a_task_without_kpis_keeps_the_weight_1() -> None:
    balancer = HardFirst(TASKS, steps=STEPS)
    for step in range(60):
        balancer.update({"easy": 0.9, "hard": 0.2 + 0.005 * step})
        balancer({task: torch.tensor(1.0) for task in TASKS})
    weights = balancer.weights
    assert weights["noise"] == pytest.approx(1)
    assert weights["easy"] + weights["hard"] == pytest.approx(2)


def test_a_search_without_restart_goes_on_with_its_weights() -> None:
    balancer = HardFirst(TASKS, steps=STEPS, restart=False, anneal=False)
    for step in range(60):
        take_step(balancer, step)
    assert balancer.restart_step is None
    assert not balancer.restarted
    assert balancer.weights["hard"] > 1.5


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_short_trainings_leave_a_step_for_the_weights(steps: int) -> None:
    balancer = HardFirst(TASKS, steps=steps, search=0.99)
    assert balancer.restart_step == steps - 1
    for step in range(steps):
        assert take_step(balancer, step) == pytest.approx([1, 1, 1])


def trained(balancer: LossBalancer, steps: int) -> None:
    for step in range(steps):
        take_step(balancer, step)


def test_the_search_alone_finds_the_weights_of_the_method() -> None:
    weights = HardFirst.search(TASKS, trained, steps=STEPS)
    whole = HardFirst(TASKS, steps=STEPS)
    trained(whole, 60)
    assert weights == {task: float(weight) for task, weight in whole.weights.items()}
    fixed = Fixed(TASKS, weights, anneal=(0.6, 0.8), steps=STEPS)
    trained(fixed, 60)
    assert take_step(fixed, 60) == pytest.approx(take_step(whole, 60))


def test_a_search_that_ends_early_is_refused() -> None:
    with pytest.raises(InputError, match="needs 60 training steps, and `train` took 10"):
        HardFirst.search(TASKS, lambda balancer, steps: trained(balancer, 10), steps=STEPS)


def test_a_step_without_the_number_of_steps_is_refused() -> None:
    for act in (lambda b: b.update({"easy": 0.5}), lambda b: b({"easy": torch.tensor(1.0)})):
        with pytest.raises(InputError, match=r"Give `steps=epochs \* len\(loader\)`"):
            act(HardFirst(TASKS))
