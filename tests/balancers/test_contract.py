"""What every balancer promises, for every name in the registry: a new method is tested without asking for it."""

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn

from gradient_steps import Bowls, assert_equal, flat, kpis, state, step, train
from hardfirst.balancers import Balancer, Spec
from hardfirst.errors import InputError
from table import EVERY, TASKS

pytestmark = pytest.mark.filterwarnings("ignore:.*weights_only:FutureWarning")


@pytest.fixture(params=EVERY, ids=str)
def spec(request: pytest.FixtureRequest) -> Spec:
    return request.param


@pytest.fixture
def balancer(spec: Spec) -> Balancer:
    return spec.build(TASKS)


def test_state_is_buffers_of_fixed_shape_and_dtype(spec: Spec) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        balancer = spec.build(TASKS)
        before = {name: (b.shape, b.dtype) for name, b in balancer.named_buffers()}
        train(balancer)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {name: (b.shape, b.dtype) for name, b in balancer.named_buffers()} == before
    assert {dtype for _, dtype in before.values()} <= {torch.float32, torch.int64}
    assert list(balancer.parameters()) == []


def test_resume_is_bit_equal(spec: Spec) -> None:
    whole, resumed, file = spec.build(TASKS), spec.build(TASKS), io.BytesIO()
    train(whole)
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert_equal(train(resumed, 6, start=10), train(whole, 6, start=10))
    assert_equal(state(resumed), state(whole))


def test_eval_changes_nothing(balancer: Balancer) -> None:
    train(balancer)
    before = state(balancer)
    balancer.eval()
    first, second = (step(balancer, 7) for _ in range(2))
    assert_equal(state(balancer), before)
    assert_equal(first, second)
    assert flat(first).abs().sum() > 0


def test_nothing_labelled(balancer: Balancer) -> None:
    train(balancer)
    before = state(balancer)
    given: list[Tensor] = []
    balancer.backward({}, shared=Bowls().shared, using=given.append)
    assert given[0] == 0
    given[0].backward()
    if "steps_done" in before:  # a schedule counts every step of the training
        before["steps_done"] += 1
    assert_equal(state(balancer), before)


def test_the_order_of_the_mapping_does_not_matter(spec: Spec) -> None:
    one, other = spec.build(TASKS), spec.build(TASKS)
    for seed in range(4):
        bowls, expected = Bowls(), step(one, seed)
        backwards = (dict(reversed(values.items())) for values in (bowls.losses(seed), kpis(seed)))
        other.backward(*backwards, shared=bowls.shared)
        assert_equal(bowls.gradients()["shared"], expected["shared"])


def test_copies_and_pickles_go_on_alike(balancer: Balancer) -> None:
    train(balancer)
    copies = [copy.deepcopy(balancer), pickle.loads(pickle.dumps(balancer))]
    expected = train(balancer, start=10)
    for twin in copies:
        assert_equal(train(twin, start=10), expected)


def test_reset_makes_it_new(spec: Spec, balancer: Balancer) -> None:
    train(balancer)
    balancer.reset()
    assert_equal(state(balancer), state(spec.build(TASKS)))
    assert_equal(train(balancer), train(spec.build(TASKS)))


def test_reset_after_to_empty(spec: Spec) -> None:
    with torch.device("meta"):
        balancer = spec.build(TASKS)
    balancer.to_empty(device="cpu").reset()
    assert_equal(train(balancer), train(spec.build(TASKS)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_cast_leaves_state_in_float32(balancer: Balancer, dtype: torch.dtype) -> None:
    train(balancer)
    before = state(balancer)
    network = nn.Sequential(balancer).to(dtype)
    assert_equal(state(balancer), before)
    assert all(buffer.dtype in (torch.float32, torch.int64) for buffer in network.buffers())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_losses_and_parameters_of_any_float_dtype(balancer: Balancer, dtype: torch.dtype) -> None:
    for seed in range(3):
        bowls = Bowls()
        for parameter in (*bowls.shared, *bowls.heads.values()):
            parameter.data = parameter.data.to(dtype)
        losses, measured = ({task: value.to(dtype) for task, value in of.items()} for of in (bowls.losses(seed), kpis(seed)))
        balancer.backward(losses, measured, shared=bowls.shared)
        found = bowls.gradients()
        assert all(part.isfinite().all() and part.dtype == dtype for parts in found.values() for part in parts)
    assert all(buffer.dtype in (torch.float32, torch.int64) for buffer in balancer.buffers())


def test_names_and_shapes_are_checked(balancer: Balancer) -> None:
    bowls = Bowls()
    losses = bowls.losses(1)
    for wrong in (({**losses, "hard on": losses["easy"]},), (losses, {"hard on": 0.5})):
        with pytest.raises(InputError, match=r"Unknown task 'hard on'; did you mean 'hard one'\?"):
            balancer.backward(*wrong, shared=bowls.shared)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"loss of task 'easy' to be a 0-d tensor; got shape \[4\]"):
        balancer.backward({"easy": torch.ones(4)}, shared=bowls.shared)
    with pytest.raises(InputError, match=r"loss of task 'easy' to be a tensor; got 1\.0"):
        balancer.backward({"easy": 1.0}, shared=bowls.shared)  # type: ignore[dict-item]
