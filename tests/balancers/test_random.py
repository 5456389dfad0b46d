"""Random loss weighting: its numbers against other implementations of hash and quantile (Lin et al., TMLR 2022)."""

import numpy as np
import pytest
import torch
from scipy import stats

from hardfirst.balancers import RLW

TASKS = ["a", "b", "c"]
STRIDE = np.uint32(0x9E3779B9)


def draw(balancer: RLW, steps: int) -> torch.Tensor:
    """The weights of some steps, [steps, T]."""
    rows = []
    for _ in range(steps):
        rows.append(torch.stack(list(balancer.weights.values())))
        balancer({task: torch.tensor(1.0) for task in balancer.tasks})
    return torch.stack(rows)


def mix(words: np.ndarray) -> np.ndarray:
    """The hash in unsigned numbers that wrap around, as its authors write it."""
    for shift, factor in ((16, 0x604BAA5D), (15, 0x43D6CE97)):
        words = (words ^ (words >> np.uint32(shift))) * np.uint32(factor)
    return words ^ (words >> np.uint32(15))


@pytest.mark.parametrize(("seed", "words"), [(0, [0]), (12345, [12345]), (5 * 2**32 + 7, [7, 5])])
def test_independent_values(seed: int, words: list[int]) -> None:
    key = mix(np.arange(3, dtype=np.uint32) + STRIDE)
    for word in words:
        key = mix(key + np.uint32(word) + STRIDE)
    expected = []
    for step in range(5):
        uniform = ((mix(mix(key + np.uint32(step)) + key) >> np.uint32(9)) + 0.5) / 2**23
        powers = np.exp(stats.norm.ppf(uniform))
        expected.append(3 * powers / powers.sum())
    torch.testing.assert_close(draw(RLW(TASKS, seed=seed), 5).numpy(), np.float32(expected), rtol=1e-4, atol=0)


def test_a_seed_is_a_sequence() -> None:
    one, same, other, far = (draw(RLW(TASKS, seed=seed), 20) for seed in (1, 1, 2, 1 + 2**32))
    assert torch.equal(one, same)
    assert not torch.isclose(one, other).any()
    assert not torch.isclose(one, far).any()


def test_nobody_elses_random_numbers_are_touched_or_used() -> None:
    before = torch.get_rng_state()
    one = draw(RLW(TASKS), 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(draw(RLW(TASKS), 3), one)


def test_the_next_weights_come_with_a_training_step_that_had_a_task() -> None:
    balancer = RLW(TASKS)
    first = balancer.weights
    balancer({})
    balancer({"a": torch.tensor(torch.nan)})
    balancer.eval()
    balancer({"a": torch.tensor(1.0)})
    assert balancer.weights == first
    balancer.train()
    balancer({"a": torch.tensor(1.0)})
    assert balancer.weights != first
