"""Learning progress against its algorithm in numpy, and what it is for (Graves et al., ICML 2017)."""

import numpy as np
import pytest
import torch

from hardfirst.balancers import LearningProgress

TASKS = ["a", "b", "c"]


def test_against_numpy_past_the_end_of_the_ring() -> None:
    random = np.random.default_rng(0)
    balancer = LearningProgress(TASKS, eta=0.01, epsilon=0.1)
    score, last = np.zeros(3), np.full(3, np.nan)
    recent: list[list[float]] = [[], [], []]
    for _ in range(300):
        losses = (random.random(3) * [0.1, 1.0, 2.0] + 0.01).astype(np.float32)
        losses[random.random(3) < 0.1] = np.nan  # absent
        total = balancer({task: torch.tensor(loss) for task, loss in zip(TASKS, losses, strict=True) if loss > 0})
        share = np.exp(score - score.max()) / np.exp(score - score.max()).sum()
        assert float(total) == pytest.approx(np.nansum(3 * (0.9 * share + 0.1 / 3) * losses), rel=1e-4)
        reward = last - losses
        for ring, value in zip(recent, reward, strict=True):
            if not np.isnan(value):
                ring.append(value)
        seen = np.concatenate([ring[-256:] for ring in recent])
        if len(seen):
            low, high = np.quantile(seen, [0.2, 0.8])
            scaled = np.zeros(3) if high == low else np.clip(2 * (reward - low) / (high - low) - 1, -1, 1)
            score += 0.01 * np.nan_to_num(scaled)
        last = np.where(np.isnan(losses), last, losses)
        torch.testing.assert_close(balancer.score.double(), torch.tensor(score), rtol=1e-4, atol=1e-5)


def test_by_hand() -> None:
    """Rewards .5 and −.1: quantiles .02 and .38, so both are beyond an end; then 0 and .1 beside them."""
    balancer = LearningProgress(["a", "b"], eta=0.1, epsilon=0.0)
    for a, b in ((1.0, 1.0), (0.5, 1.1)):
        balancer({"a": torch.tensor(a), "b": torch.tensor(b)})
    assert balancer.score.tolist() == pytest.approx([0.1, -0.1])
    balancer({"a": torch.tensor(0.5), "b": torch.tensor(1.0)})
    # of −.1, 0, .1 and .5: q(.2) = −.1 + .6·.1 = −.04 and q(.8) = .1 + .4·.4 = .26; 0 becomes −.7333, .1 becomes −.0667
    assert balancer.score.tolist() == pytest.approx([0.1 - 0.07333, -0.1 - 0.00667], abs=1e-4)


def test_while_all_rewards_are_the_same_nothing_moves() -> None:
    balancer = LearningProgress(TASKS)
    for _ in range(5):
        balancer(dict.fromkeys(TASKS, torch.tensor(1.0)))
    assert balancer.score.tolist() == [0.0, 0.0, 0.0]


def test_a_reward_above_equal_ones_is_the_best() -> None:
    """Both quantiles are 0 when most rewards are: one above them is 1, not infinite."""
    balancer = LearningProgress(TASKS, eta=0.5)
    for _ in range(20):
        balancer(dict.fromkeys(TASKS, torch.tensor(1.0)))
    balancer({"a": torch.tensor(0.9), "b": torch.tensor(1.0), "c": torch.tensor(1.1)})
    assert balancer.score.tolist() == [0.5, 0.0, -0.5]
