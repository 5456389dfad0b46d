"""SoftAdapt against its equation in NumPy, and by hand (Heydari et al., 2019)."""

import math

import pytest
import torch
from torch import Tensor

from hardfirst.balancers import SoftAdapt

TASKS = ["a", "b", "c"]
HISTORY = [[5.0, 3.0, 1.0], [4.0, 3.5, 1.2], [2.0, 3.2, 0.7], [1.5, 4.0, 0.9], [1.8, 3.0, 0.2], [1.0, 3.3, 0.4]]


def weights(balancer: SoftAdapt) -> Tensor:
    return torch.stack([*balancer.weights.values()])


def fed(history: list[list[float]], **options: object) -> SoftAdapt:
    balancer = SoftAdapt(TASKS[: len(history[0])], **options)
    for losses in history:
        balancer({task: torch.tensor(loss) for task, loss in zip(TASKS, losses, strict=False)})
    return balancer


@pytest.mark.parametrize("window", [2, 3, 5])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("weigh", [True, False])
def test_the_equation(window: int, normalize: bool, weigh: bool) -> None:
    np = pytest.importorskip("numpy")
    latest = np.array(HISTORY[-window:])
    slopes = np.polyfit(range(window), latest, 1)[0]
    if normalize:
        slopes = slopes / np.abs(slopes).sum()
    expected = np.exp(0.7 * slopes) * (latest.mean(0) if weigh else 1)
    found = weights(fed(HISTORY, beta=0.7, window=window, normalize=normalize, weigh=weigh))
    torch.testing.assert_close(found, torch.tensor(3 * expected / expected.sum()).float(), rtol=1e-4, atol=1e-5)


def test_weights_are_1_until_windows_are_full() -> None:
    assert weights(fed(HISTORY[:4], beta=5)).tolist() == [1, 1, 1]
    assert weights(fed(HISTORY[:5], beta=5)).tolist() != [1, 1, 1]


def test_a_task_that_came_later_weighs_1_beside_the_others() -> None:
    balancer = fed([[4.0, 1.0, 0.0], [2.0, 2.0, 0.0], [1.0, 2.0, 7.0]], beta=1, window=2)
    found = weights(balancer)
    assert found[2] == 1
    assert (found[1] / found[0]).item() == pytest.approx(math.e)
    assert found[:2].sum().item() == pytest.approx(2)


def test_an_absent_tasks_window_does_not_move() -> None:
    balancer = fed([[4.0, 1.0], [2.0, 2.0], [0.0, 2.0]], beta=1, window=2)
    assert balancer.history.view(2, 2).tolist() == [[4, 2], [2, 2]]


def test_losses_that_do_not_move_give_equal_weights() -> None:
    assert weights(fed([[1.0, 2.0, 3.0]] * 5, beta=9)).tolist() == pytest.approx([1, 1, 1])


def test_extreme_losses_leave_finite_weights() -> None:
    found = weights(fed([[1e-30, 1e15], [1e-35, 1e-3]], beta=1e6, window=2, normalize=False, weigh=True))
    assert found.isfinite().all()
