"""HardFirst against a reference in Python numbers, in both phases, and its search by hand."""

import math
import warnings
from collections.abc import Iterator, Sequence

import pytest
import torch

from hardfirst.balancers import Fixed, HardFirst, LossBalancer
from hardfirst.balancers.hard_first import _closable_gap, _moments
from hardfirst.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:The search of HardFirst has ended")

TASKS = ("easy", "hard", "noise")
STEPS = 400  # of which the search has 60
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


def gap(seen: Sequence[tuple[int, float]], average: float, steps: int) -> float:
    """By the weighted regression of the KPIs on their ages at the latest one."""
    latest, window = seen[-1][0], 0.15 * steps
    parts = [((1 - 1 / window) ** (latest - step), latest - step, value) for step, value in seen]
    n = sum(weight for weight, *_ in parts)
    age, mean = (sum(part[0] * part[i] for part in parts) / n for i in (1, 2))
    spread = sum(weight * (a - age) ** 2 for weight, a, _ in parts) / n
    slope = -sum(weight * (a - age) * (value - mean) for weight, a, value in parts) / n / spread
    residual = sum(weight * (value - mean + slope * (a - age)) ** 2 for weight, a, value in parts) / n
    error = math.sqrt(max(residual, 1e-8) / spread / max(n - 2, 1))
    certainty = min(max(slope / (2 * error), 0), 1)
    return min(1 - average, 0.5 * steps * certainty * max(slope, 0))


def reference(steps: int) -> Iterator[tuple[list[float], list[float]]]:
    """Yield each step's weights, and P after it."""
    seen: Seen = [[], [], []]
    average, priority = [math.nan] * 3, [0.0] * 3
    for step in range(steps):
        if step < 0.15 * steps:
            for t, value in enumerate(kpis(step)):
                if not math.isnan(value):
                    seen[t].append((step, value))
                    average[t] = value if math.isnan(average[t]) else average[t] + 0.1 * (value - average[t])
            shares = [1.0] * 3
            if step >= 20:
                focal = [share(1 - gap(seen[t], average[t], steps)) + 1e-5 for t in range(3)]
                shares = [3 * one / sum(focal) for one in focal]
            if step >= 0.05 * steps:
                priority = [p + s for p, s in zip(priority, shares, strict=True)]
            yield [1.0] * 3, priority
        else:
            equal = min(max((step / steps - 0.6) / 0.2, 0), 1)
            found = [0.8 * 3 * p / sum(priority) + 0.2 for p in priority]
            yield [(1 - equal) * w + equal for w in found], priority


def take_step(balancer: LossBalancer, step: int) -> list[float]:
    """Take a step and return the effective weights."""
    losses = torch.ones(3, requires_grad=True)
    total = balancer(dict(zip(TASKS, losses.unbind(), strict=True)), dict(zip(TASKS, kpis(step), strict=True)))
    return torch.autograd.grad(total, losses)[0].tolist()


@pytest.mark.parametrize("steps", [160, STEPS])  # P begins at step 8 or 20; the first 20 shares are equal
def test_weights_and_priorities_by_the_reference(steps: int) -> None:
    balancer = HardFirst(TASKS, steps=steps)
    restarts = []
    for step, (weights, priority) in enumerate(reference(steps)):
        assert take_step(balancer, step) == pytest.approx(weights, rel=2e-4)
        assert balancer.priority.tolist() == pytest.approx(priority, rel=2e-4)
        restarts += [step + 1] * balancer.restarted
    assert restarts == [balancer.restart_step] == [0.15 * steps]
    assert max(weights) == pytest.approx(1)
    easy, hard, noise = balancer.priority.tolist()
    assert hard > (4 if steps == STEPS else 1) * max(easy, noise)


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


def gap_after(values: torch.Tensor, average: float, *, every: int, window: int, dtype: torch.dtype = torch.float32) -> float:
    """The gap of a KPI that is measured every few steps, with a horizon of half a training of 0.15 windows."""
    sums, decay = torch.zeros(1, 6, dtype=dtype), (1 - 1 / window) ** every
    for number, value in enumerate(values.to(dtype)):
        time = torch.tensor([every * number / window], dtype=dtype)
        sums = decay * sums + _moments(time, value.unsqueeze(0))
    return float(_closable_gap(sums, torch.tensor([average], dtype=dtype), 0.5 / 0.15))


def test_a_kpi_of_every_tenth_step_has_the_same_trend() -> None:
    for every in (1, 10):
        gap = gap_after(0.2 + 0.001 * torch.arange(0, 400, every), 0.5, every=every, window=150)
        assert gap == pytest.approx(0.5, rel=1e-3)
        assert gap_after(0.2 + 0.0005 * torch.arange(0, 400, every), 0.4, every=every, window=150) == pytest.approx(
            0.25, 0.01
        )


@pytest.mark.parametrize(("slope", "noise"), [(1e-4, 0.03), (3e-5, 0.03), (0.0, 0.03), (0.0, 0.0)])
def test_sums_in_float32_stay_accurate_over_a_long_search(slope: float, noise: float) -> None:
    """Of 150,000 steps, with a KPI in every hundredth of them."""
    values = 0.5 + slope * torch.arange(1500) + noise * torch.randn(1500, generator=torch.Generator().manual_seed(0))
    gaps = [gap_after(values, 0.5, every=100, window=150_000, dtype=dtype) for dtype in (torch.float32, torch.float64)]
    assert gaps[0] == pytest.approx(gaps[1], rel=0.01, abs=1e-3)
    assert (gaps[1] > 0.1) == (slope > 0)


def test_a_kpi_without_noise_counts_as_one_with_little() -> None:
    """Its residual variance is 1e-8 at least, so that rounding is no trend."""
    weights = 0.995 ** torch.arange(1000, dtype=torch.float64)
    ages = torch.arange(1000, dtype=torch.float64) / 200
    n = float(weights.sum())
    spread = float((weights * ages**2).sum() / n - ((weights * ages).sum() / n) ** 2)
    slope = math.sqrt(1e-8 / spread / (n - 2))  # half as certain as a trend of twice its error
    values = 0.5 + slope / 200 * torch.arange(1000, dtype=torch.float64)
    found = gap_after(values, 0.5, every=1, window=200, dtype=torch.float64)
    assert found == pytest.approx(0.5 / 0.15 * 0.5 * slope, rel=1e-3)


@pytest.mark.parametrize(("values", "known"), [([0.5], False), ([0.5, 0.6], False), ([0.5, 0.6, 0.7], True)])
def test_a_task_needs_three_kpis_for_a_trend(values: list[float], known: bool) -> None:
    assert math.isnan(gap_after(torch.tensor(values), 0.6, every=1, window=100)) != known


def test_three_kpis_have_the_certainty_of_one_degree_of_freedom() -> None:
    """Their discounted number, of 2.7, is that of less."""
    seen = list(enumerate([0.5, 0.5005, 0.5002]))
    found = gap_after(torch.tensor([kpi for _, kpi in seen]), 0.5, every=1, window=9, dtype=torch.float64)
    assert found == pytest.approx(gap(seen, 0.5, 60), rel=1e-3)


def test_kpis_at_one_time_have_no_trend() -> None:
    assert math.isnan(gap_after(torch.tensor([0.5, 0.5, 0.7, 0.9]), 0.6, every=0, window=100))


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


@pytest.mark.parametrize("nothing", [{}, {"hard": math.nan}], ids=str)
def test_an_update_without_a_kpi_changes_nothing(nothing: dict) -> None:
    """The trainer updates at the end of each epoch, whether or not KPIs come from validation."""
    balancer = HardFirst(TASKS, steps=STEPS)
    for step in range(40):
        take_step(balancer, step)
    before = {name: value.clone() for name, value in balancer.state_dict().items()}
    balancer.update(nothing)
    torch.testing.assert_close(balancer.state_dict(), before, rtol=0, atol=0)


def test_a_search_without_restart_goes_on_with_its_weights() -> None:
    balancer = HardFirst(TASKS, steps=STEPS, restart=False, anneal=False)
    for step in range(60):
        take_step(balancer, step)
    assert balancer.restart_step is None
    assert not balancer.restarted
    assert balancer.weights["hard"] > 1.5


@pytest.mark.parametrize(("options", "reads"), [({}, False), ({}, True), ({"restart": False}, False)])
def test_a_loop_that_never_asks_for_the_restart_is_warned(options: dict, reads: bool) -> None:
    balancer = HardFirst(TASKS, steps=20, **options)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for step in range(6):
            take_step(balancer, step)
            assert not (reads and balancer.restarted and step != 2)
    assert len(seen) == (not options and not reads)
    assert all("ended after 3 training steps, and the loop has not read" in str(each.message) for each in seen)


def test_the_weights_change_with_the_restart() -> None:
    """0.07 of 100 is more than 7 in floating-point numbers, and 7 in float32."""
    balancer = HardFirst(TASKS, steps=100, search=0.07)
    balancer.priority += torch.tensor([0.0, 1.0, 2.0])
    for step in range(9):
        equal = take_step(balancer, step) == pytest.approx([1, 1, 1])
        assert equal == (step < 8 == balancer.restart_step)


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


def test_a_search_may_take_more_steps() -> None:
    """Such as those of whole epochs; no network has to go back."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights = HardFirst.search(TASKS, lambda balancer, steps: trained(balancer, steps + 5), steps=STEPS)
    assert weights == HardFirst.search(TASKS, trained, steps=STEPS)


def test_a_search_that_ends_early_is_refused() -> None:
    with pytest.raises(InputError, match="needs 60 training steps, and `train` took 10"):
        HardFirst.search(TASKS, lambda balancer, steps: trained(balancer, 10), steps=STEPS)


def test_a_step_without_the_number_of_steps_is_refused() -> None:
    for act in (lambda b: b.update({"easy": 0.5}), lambda b: b({"easy": torch.tensor(1.0)})):
        with pytest.raises(InputError, match=r"Give `steps=epochs \* len\(loader\)`"):
            act(HardFirst(TASKS))
