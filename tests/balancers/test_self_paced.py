"""Self-paced learning by hand (Kumar et al., NeurIPS 2010; the linear form by Jiang et al., 2014)."""

import pytest
import torch
from torch import Tensor

from hardfirst import functional
from hardfirst.balancers import SelfPaced, task_weights
from hardfirst.errors import InputError

TASKS = ["a", "b", "c"]


def losses(*values: float) -> dict[str, Tensor]:
    return dict(zip(TASKS, (torch.tensor(value, requires_grad=True) for value in values), strict=False))


def weights(balancer: SelfPaced, *values: float) -> list[float]:
    given = losses(*values)
    found = [float(weight) for weight in task_weights(balancer(given), given).values()]
    if balancer.training:
        assert [float(weight) for weight in balancer.weights.values()] == found
    return found


def test_the_two_kinds() -> None:
    loss = torch.tensor([0.0, 1.0, 1.9, 2.0, 7.0])
    assert functional.self_paced_weight(loss, 2.0).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    linear = functional.self_paced_weight(loss, torch.tensor(2.0), "linear")
    torch.testing.assert_close(linear, torch.tensor([1.0, 0.5, 0.05, 0.0, 0.0]))


def test_weights_of_examples_have_no_graph_and_the_shape_of_the_losses() -> None:
    loss = torch.rand(4, 5, requires_grad=True)
    for kind in ("hard", "linear"):
        weight = functional.self_paced_weight(loss, 0.5, kind)  # type: ignore[arg-type]
        assert not weight.requires_grad
        assert weight.shape == (4, 5)


def test_the_hard_kind_by_hand() -> None:
    """Epoch means 2, 4 and 9: λ = 4, then 6, 9 and 13.5."""
    balancer = SelfPaced(TASKS)
    assert weights(balancer, 1.0, 5.0, 8.0) == [1.0, 1.0, 1.0]
    assert weights(balancer, 3.0, 3.0, 10.0) == [1.0, 1.0, 1.0]
    balancer.end_epoch()
    assert balancer.threshold.tolist() == [4.0]
    assert weights(balancer, 3.9, 4.0, 9.0) == [1.0, 0.0, 0.0]
    assert weights(balancer, 4.1, 3.0, 9.0) == [0.0, 1.0, 0.0]
    for threshold, expected in ((6.0, [1.0, 1.0, 0.0]), (9.0, [1.0, 1.0, 0.0]), (13.5, [1.0, 1.0, 1.0])):
        balancer.end_epoch()
        assert balancer.threshold.tolist() == [threshold]
        assert weights(balancer, 2.0, 4.0, 9.0) == expected


def test_the_linear_kind_by_hand() -> None:
    balancer = SelfPaced(TASKS, kind="linear", growth=2.0)
    weights(balancer, 1.0, 4.0, 9.0)
    balancer.end_epoch()
    assert weights(balancer, 1.0, 4.0, 9.0) == [0.75, 0.0, 0.0]
    balancer.end_epoch()
    assert weights(balancer, 1.0, 4.0, 9.0) == [0.875, 0.5, 0.0]


def test_the_median_of_two_is_between_them() -> None:
    balancer = SelfPaced(["a", "b"])
    weights(balancer, 1.0, 4.0)
    balancer.end_epoch()
    assert balancer.threshold.tolist() == [2.5]


def test_a_task_that_the_first_epoch_did_not_see_is_paced_by_the_others_median() -> None:
    balancer = SelfPaced(TASKS)
    balancer(losses(1.0, 3.0))
    balancer.end_epoch()
    assert balancer.threshold.tolist() == [2.0]
    assert weights(balancer, 1.0, 3.0, 1.5) == [1.0, 0.0, 1.0]


def test_an_epoch_without_labels_is_not_the_first() -> None:
    balancer = SelfPaced(TASKS)
    balancer.end_epoch()
    assert weights(balancer, 1.0, 4.0, 9.0) == [1.0, 1.0, 1.0]
    balancer.end_epoch()
    assert balancer.threshold.tolist() == [4.0]


def test_eval_weighs_by_the_losses_given() -> None:
    balancer = SelfPaced(TASKS)
    weights(balancer, 1.0, 4.0, 9.0)
    balancer.end_epoch()
    balancer.eval()
    assert weights(balancer, 5.0, 1.0, 1.0) == [0.0, 1.0, 1.0]


def test_the_function_checks_its_kind() -> None:
    with pytest.raises(InputError, match="`kind` to be 'hard' or 'linear'; got 'soft'"):
        functional.self_paced_weight(torch.ones(2), 1.0, "soft")  # type: ignore[arg-type]
