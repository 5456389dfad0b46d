"""The curriculum's schedule by hand, and the three properties that Bengio et al. (ICML 2009) ask of one."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardfirst import Spec
from hardfirst.balancers import Curriculum

TASKS = ["hard", "easy", "medium"]
ORDER = ["easy", "medium", "hard"]


def schedule(balancer: Curriculum, epochs: int) -> list[list[float]]:
    """The weights of all epochs, in the tasks' order."""
    found = []
    for _ in range(epochs):
        found.append([float(weight) for weight in balancer.weights.values()])
        balancer.end_epoch()
    return found


def test_by_hand() -> None:
    """Three tasks over four epochs: half a task more with each epoch."""
    assert schedule(Curriculum(TASKS, order=ORDER, epochs=4), 6) == [
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 0.5],
        [0.0, 1.0, 1.0],
        [0.5, 1.0, 1.0],
        [1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0],
    ]


def entropy(weights: list[float]) -> float:
    return -sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights if w)


@given(tasks=st.integers(1, 7), epochs=st.integers(1, 30), data=st.data())
def test_no_weight_falls_the_entropy_rises_and_all_end_at_one(tasks: int, epochs: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations([f"task {number}" for number in range(tasks)]))
    found = schedule(Curriculum(sorted(order), order=order, epochs=epochs), epochs + 2)
    ranked = [[weights[sorted(order).index(task)] for task in order] for weights in found]
    assert ranked[0] == [1.0] + [0.0] * (tasks - 1)
    assert ranked[-1] == ranked[-2] == [1.0] * tasks
    for before, after in pairwise(ranked):
        assert all(earlier <= later for earlier, later in zip(before, after, strict=True))
        assert entropy(after) >= entropy(before) - 1e-6
    for epoch, weights in enumerate(ranked[: epochs + 1]):
        assert weights == sorted(weights, reverse=True)
        assert sum(weights) == pytest.approx(1 + (tasks - 1) * epoch / epochs, rel=1e-5)


def test_from_a_spec() -> None:
    spec = Spec.parse("curriculum:order=easy+medium+hard,epochs=4")
    assert str(spec) == "curriculum:epochs=4,order=easy+medium+hard"
    balancer = spec.build(TASKS)
    assert isinstance(balancer, Curriculum)
    assert balancer.rank.tolist() == [2.0, 0.0, 1.0]
    assert [str(one) for one in Spec.parse_list("curriculum:order=easy+hard,epochs=4,equal")][1] == "equal"
    assert Spec.parse("curriculum:order=easy,epochs=4").build(["easy"])({"easy": torch.tensor(2.0)}) == 2  # type: ignore[operator]
