"""Every loss method against its paper's equation in Python numbers, at three sizes of loss, with tasks that are absent."""

import math
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
import torch

from hardfirst.balancers import LossBalancer, Spec, task_weights

TASKS = ("a", "b", "c")
STEPS, EPOCH = 12, 4
Batch = dict[int, float]  # the losses of the tasks that are present, by position


def batches(scale: float) -> Iterator[tuple[Batch, dict[int, float]]]:
    """Losses of some steps, which differ from task to task, and KPIs. A different task is absent in every third step."""
    for step in range(STEPS):
        losses = {t: scale * (t + 1) * (1.3 + math.sin(2.0 * step + t)) for t in range(3)}
        kpis = {t: 0.5 + 0.4 * math.sin(0.7 * step + 2 * t) for t in range(3)}
        if step % 3 == 2:
            del losses[step // 3 % 3], kpis[step // 3 % 3]
        yield losses, kpis


def softmax(logits: dict[int, float]) -> dict[int, float]:
    highest = max(logits.values())
    exps = {t: math.exp(value - highest) for t, value in logits.items()}
    return {t: value / sum(exps.values()) for t, value in exps.items()}


class Reference(Protocol):
    """A method by its paper: `step` gives a step's total and ∂total/∂loss, then learns."""

    def kpis(self, kpis: dict[int, float]) -> None:
        pass

    def step(self, losses: Batch) -> tuple[float, Batch]: ...

    def end_epoch(self) -> None:
        pass


class Adam:
    def __init__(self, lr: float, decay: float = 0.0) -> None:
        self.lr, self.decay, self.state = lr, decay, dict.fromkeys(range(3), (0.0, 0.0, 0))

    def move(self, value: list[float], t: int, gradient: float) -> None:
        gradient += self.decay * value[t]
        first, second, n = self.state[t]
        first, second, n = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2, n + 1
        value[t] -= self.lr * (first / (1 - 0.9**n)) / (math.sqrt(second / (1 - 0.999**n)) + 1e-8)
        self.state[t] = first, second, n


class Means:
    """Of each task's losses in an epoch, over the steps that had it."""

    def __init__(self) -> None:
        self.losses: dict[int, list[float]] = {}

    def add(self, losses: Batch) -> None:
        for t, loss in losses.items():
            self.losses.setdefault(t, []).append(loss)

    def close(self) -> Batch:
        means = {t: sum(losses) / len(losses) for t, losses in self.losses.items()}
        self.losses = {}
        return means


class Uncertainty(Reference):
    """Σ ½·e⁻ˢ·L + ½·s."""

    def __init__(self) -> None:
        self.s, self.adam = [0.0] * 3, Adam(0.025)

    def step(self, losses: Batch) -> tuple[float, Batch]:
        weights = {t: 0.5 * math.exp(-self.s[t]) for t in losses}
        total = sum(weights[t] * loss + 0.5 * self.s[t] for t, loss in losses.items())
        for t, loss in losses.items():
            self.adam.move(self.s, t, 0.5 - weights[t] * loss)
        return total, weights


class IMTLL(Reference):
    """Σ eˢ·L − s."""

    def __init__(self) -> None:
        self.s, self.adam = [0.0] * 3, Adam(0.025)

    def step(self, losses: Batch) -> tuple[float, Batch]:
        weights = {t: math.exp(self.s[t]) for t in losses}
        total = sum(weights[t] * loss - self.s[t] for t, loss in losses.items())
        for t, loss in losses.items():
            self.adam.move(self.s, t, weights[t] * loss - 1)
        return total, weights


class Geometric(Reference):
    """(Π L)^(1/T)."""

    def step(self, losses: Batch) -> tuple[float, Batch]:
        total = math.exp(sum(map(math.log, losses.values())) / len(losses))
        return total, {t: total / (len(losses) * loss) for t, loss in losses.items()}


class UWSO(Reference):
    """w = T·softmax(1/(τ·L)), τ = 1."""

    def step(self, losses: Batch) -> tuple[float, Batch]:
        shares = softmax({t: 1 / loss for t, loss in losses.items()})
        weights = {t: len(losses) * share for t, share in shares.items()}
        return sum(weights[t] * loss for t, loss in losses.items()), weights


class DWA(Reference):
    """w = T·softmax(r/2), r the ratio of the means of the last two epochs."""

    def __init__(self) -> None:
        self.means, self.previous, self.weights = Means(), {}, [1.0] * 3

    def step(self, losses: Batch) -> tuple[float, Batch]:
        self.means.add(losses)
        return sum(self.weights[t] * loss for t, loss in losses.items()), {t: self.weights[t] for t in losses}

    def end_epoch(self) -> None:
        means = self.means.close()
        ratios = {t: means[t] / self.previous[t] if t in means and t in self.previous else 1.0 for t in range(3)}
        self.weights = [3 * share for share in softmax({t: ratio / 2 for t, ratio in ratios.items()}).values()]
        self.previous = means


class FAMO(Reference):
    """Σ z·log D over Σ z/D, z = softmax(ξ); ξ by Adam with weight decay against the falls of the logs."""

    def __init__(self) -> None:
        self.xi, self.last, self.adam = [0.0] * 3, {}, Adam(0.025, decay=0.001)

    def step(self, losses: Batch) -> tuple[float, Batch]:
        left = {t: loss + 1e-8 for t, loss in losses.items()}
        z = softmax({t: self.xi[t] for t in losses})
        scale = sum(z[t] / left[t] for t in losses)
        total = sum(z[t] * math.log(left[t]) for t in losses) / scale
        fall = {t: math.log(self.last[t] + 1e-8) - math.log(left[t]) for t in losses if t in self.last}
        if fall:
            z_seen = softmax({t: self.xi[t] for t in fall})
            mean = sum(z_seen[t] * fall[t] for t in fall)
            for t, value in fall.items():
                self.adam.move(self.xi, t, z_seen[t] * (value - mean))
        self.last.update(losses)
        return total, {t: z[t] / left[t] / scale for t in losses}


class STCH(Reference):
    """Σ log L in the first epoch; then T·log Σ L/n, n the means of the first (μ = 1)."""

    def __init__(self) -> None:
        self.means, self.nadir, self.epochs = Means(), {}, 0

    def step(self, losses: Batch) -> tuple[float, Batch]:
        self.means.add(losses)
        if not self.epochs:
            return sum(map(math.log, losses.values())), {t: 1 / loss for t, loss in losses.items()}
        parts = {t: loss / self.nadir[t] for t, loss in losses.items()}
        total = len(losses) * math.log(sum(parts.values()))
        return total, {t: len(losses) * parts[t] / sum(parts.values()) / losses[t] for t in losses}

    def end_epoch(self) -> None:
        means = self.means.close()
        self.nadir, self.epochs = self.nadir if self.epochs else means, self.epochs + 1


class Achievement(Reference):
    """Π L^w, w = softmax((1 − κ̄/1.05)²), κ̄ a moving average."""

    def __init__(self) -> None:
        self.average: dict[int, float] = {}

    def kpis(self, kpis: dict[int, float]) -> None:
        for t, kpi in kpis.items():
            self.average[t] = 0.1 * kpi + 0.9 * self.average.get(t, kpi)

    def step(self, losses: Batch) -> tuple[float, Batch]:
        shares = softmax({t: max(1 - self.average[t] / 1.05, 0) ** 2 for t in range(3)})
        present = sum(shares[t] for t in losses)
        total = math.exp(sum(shares[t] / present * math.log(loss) for t, loss in losses.items()))
        return total, {t: shares[t] / present * total / loss for t, loss in losses.items()}


class DTP(Achievement):
    """w ∝ −(1 − κ̄)·log κ̄, with the sum T."""

    def step(self, losses: Batch) -> tuple[float, Batch]:
        raw = {t: -(1 - kpi) * math.log(kpi) for t, kpi in self.average.items()}
        weights = {t: 3 * raw[t] / sum(raw.values()) for t in losses}
        return sum(weights[t] * loss for t, loss in losses.items()), weights


class SelfPaced(Reference):
    """1[L < λ]; λ is the median of the first epoch's means, then grows by 1.5."""

    def __init__(self) -> None:
        self.means, self.threshold = Means(), math.inf

    def step(self, losses: Batch) -> tuple[float, Batch]:
        self.means.add(losses)
        weights = {t: float(loss < self.threshold) for t, loss in losses.items()}
        return sum(weights[t] * loss for t, loss in losses.items()), weights

    def end_epoch(self) -> None:
        means = sorted(self.means.close().values())
        self.threshold = means[1] if self.threshold == math.inf else 1.5 * self.threshold


class LearningProgress(Reference):
    """w = T·(.95·softmax(s) + .05/T); s by .1 times the scaled fall of the loss."""

    def __init__(self) -> None:
        self.score, self.last, self.rewards = [0.0] * 3, {}, []

    def step(self, losses: Batch) -> tuple[float, Batch]:
        shares = softmax(dict(enumerate(self.score)))
        weights = {t: 3 * 0.95 * shares[t] + 0.05 for t in losses}
        reward = {t: self.last[t] - loss for t, loss in losses.items() if t in self.last}
        self.rewards += reward.values()
        low, high = (self._quantile(share) for share in (0.2, 0.8))
        for t, value in reward.items():
            scaled = 2 * (value - low) / (high - low) - 1 if high > low else 0.0
            self.score[t] += 0.1 * min(max(scaled, -1), 1)
        self.last.update(losses)
        return sum(weights[t] * loss for t, loss in losses.items()), weights

    def _quantile(self, share: float) -> float:
        ordered = sorted(self.rewards) or [0.0]
        place = share * (len(ordered) - 1)
        low = ordered[math.floor(place)]
        return low + (place % 1) * (ordered[math.ceil(place)] - low)


REFERENCES: dict[str, type[Reference]] = {
    "uncertainty:lr=0.025": Uncertainty,
    "imtl_l:lr=0.025": IMTLL,
    "geometric": Geometric,
    "uw_so": UWSO,
    "dwa": DWA,
    "famo:lr=0.025": FAMO,
    "stch:warmup_epochs=1": STCH,
    "achievement": Achievement,
    "dtp": DTP,
    "self_paced": SelfPaced,
    "learning_progress:eta=0.1": LearningProgress,
}


def make(spec: str) -> LossBalancer:
    balancer = Spec.parse(spec).build(TASKS)
    assert isinstance(balancer, LossBalancer)
    return balancer


def by_name(values: dict[int, float], **options: Any) -> dict[str, torch.Tensor]:
    return {TASKS[t]: torch.tensor(value, **options) for t, value in values.items()}


@pytest.mark.parametrize("spec", REFERENCES)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_totals_and_weights_by_the_paper(spec: str, scale: float) -> None:
    balancer, reference = make(spec), REFERENCES[spec]()
    for number, (losses, kpis) in enumerate(batches(scale), start=1):
        given = by_name(losses, requires_grad=True)
        reference.kpis(kpis)
        total = balancer(given, {TASKS[t]: kpi for t, kpi in kpis.items()})
        expected, weights = reference.step(losses)
        assert total.item() == pytest.approx(expected, rel=2e-4, abs=1e-12)
        found = {task: weight.item() for task, weight in task_weights(total, given).items()}
        assert found == pytest.approx({TASKS[t]: weight for t, weight in weights.items()}, rel=2e-4)
        if number % EPOCH == 0:
            balancer.end_epoch()
            reference.end_epoch()


@pytest.mark.parametrize("spec", [*REFERENCES, "random", "dtp:potential.a=0.9"])
@pytest.mark.parametrize("outlier", [1e18, 1e20, -1e20, 1e30, math.inf, math.nan])
@pytest.mark.parametrize("at", [0, 5])
def test_one_enormous_loss_does_not_stay_in_the_state(spec: str, outlier: float, at: int) -> None:
    struck, spared = make(spec), make(spec)
    for number, (losses, kpis) in enumerate(batches(1.0)):
        named = {TASKS[t]: kpi for t, kpi in kpis.items()}
        struck(by_name(losses | {0: outlier} if number == at else losses), named)
        spared(by_name({t: loss for t, loss in losses.items() if t or number != at}), named)
        if number % EPOCH == EPOCH - 1:
            struck.end_epoch()
            spared.end_epoch()
    assert all(state.isfinite().all() for name, state in struck.state_dict().items() if "rewards" not in name)
    if abs(outlier) > 2**64 or math.isnan(outlier):
        torch.testing.assert_close(struck.weights, spared.weights)
