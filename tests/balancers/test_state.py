"""The state of every balancer: task names in it, numbers of any size, and what leaves it alone."""

import copy
import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from hardfirst import DTP, InputError, MovingKPI, Spec
from hardfirst.balancers import Balancer, Uncertainty
from hardfirst.stopping import TaskEarlyStopping
from table import EVERY, TASKS

REVERSED = TASKS[::-1]
SIZES = dict(zip(TASKS, (0.1, 2.0, 30.0), strict=True))
NAMES = "_extra_state"


@pytest.fixture(params=EVERY, ids=str)
def spec(request: pytest.FixtureRequest) -> Spec:
    return request.param


def steps(balancer: Balancer, count: int, *, seed: int = 0, change: Callable[[int, Tensor], Tensor] | None = None) -> None:
    """Training steps whose losses and KPIs belong to the names of tasks; `change` is applied to the losses of a step."""
    shared = nn.Parameter(torch.tensor([1.0, -0.5, 2.0]))
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        rows, kpis = torch.rand(3, 3, generator=generator), torch.rand(3, generator=generator)
        losses = {task: SIZES[task] * ((row * shared).sum().square() + 0.1) for task, row in zip(TASKS, rows, strict=True)}
        if change is not None:
            losses = {task: change(number, loss) for task, loss in losses.items()}
        balancer.backward(losses, dict(zip(TASKS, kpis, strict=True)), shared=[shared])
        if number % 2:
            balancer.end_epoch()


def trained(spec: Spec, tasks: Sequence[str] = TASKS) -> Balancer:
    balancer = spec.build(tasks)
    steps(balancer, 6)
    return balancer


def assert_equal(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def without_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith(NAMES)}


def test_a_state_in_another_order_of_tasks_is_loaded_by_name(spec: Spec) -> None:
    balancer, other, back = trained(spec), spec.build(REVERSED), spec.build(TASKS)
    other.load_state_dict(balancer.state_dict())
    assert_equal({task: other.weights[task] for task in TASKS}, {task: balancer.weights[task] for task in TASKS})
    back.load_state_dict(other.state_dict())
    assert_equal(dict(back.state_dict()), dict(balancer.state_dict()))
    if spec.name not in ("random", "pcgrad", "gradvac", "graddrop"):  # what these draw depends on positions
        alike = trained(spec, REVERSED).state_dict()
        torch.testing.assert_close(dict(other.state_dict()), dict(alike), equal_nan=True, rtol=1e-3, atol=1e-5)


def test_every_per_task_buffer_is_reordered(spec: Spec) -> None:
    """Also those that the steps above leave as they began."""
    balancer, other, back = spec.build(TASKS), spec.build(REVERSED), spec.build(TASKS)
    state = dict(balancer.state_dict())
    for key, value in without_names(state).items():
        state[key] = torch.arange(value.numel()).to(value).view(value.shape)
    other.load_state_dict(state)
    for key, value in without_names(other.state_dict()).items():
        if len(value) == len(TASKS):
            assert_equal(value, state[key].flip(0))
    back.load_state_dict(other.state_dict())
    assert_equal(dict(back.state_dict()), state)


def test_a_state_of_other_tasks_is_refused(spec: Spec) -> None:
    state = trained(spec).state_dict()
    for tasks in (["easy", "hard one", "c"], ["easy"], [*TASKS, "d"]):
        other = Spec.parse("dtp").build(tasks) if state == {} else _same_method(spec, tasks)
        if state == {} or other is None:
            continue
        with pytest.raises(InputError, match=r"that of the tasks easy, hard one, c\.d; this \w+ has " + ", ".join(tasks)):
            other.load_state_dict(state)
        with pytest.raises(InputError, match="leave out its keys"):
            nn.ModuleList([other]).load_state_dict({f"0.{key}": value for key, value in state.items()}, strict=False)


def _same_method(spec: Spec, tasks: Sequence[str]) -> Balancer | None:
    """The method for other tasks; None if its options name tasks."""
    try:
        return spec.build(tasks)
    except InputError:
        return None


def test_names_are_saved_once_and_only_with_a_state(spec: Spec) -> None:
    state = spec.build(TASKS).state_dict()
    assert [key for key in state if NAMES in key] == ([NAMES] if len(state) else [])
    assert NAMES not in dict(spec.build(TASKS).named_buffers())


@pytest.mark.parametrize("inside", [False, True])
def test_a_state_without_names_is_loaded_by_position_with_one_warning(spec: Spec, inside: bool) -> None:
    balancer, other = trained(spec), spec.build(TASKS)
    target = nn.ModuleDict({"balancer": other}) if inside else other
    old = {("balancer." if inside else "") + key: value for key, value in without_names(balancer.state_dict()).items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        target.load_state_dict(old)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == bool(old)
    assert all("saved without the names of its tasks" in text and "easy, hard one, c.d" in text for text in texts)
    assert all(warning.filename == __file__ for warning in caught), "it points at the caller, however deep it loads"
    assert_equal(dict(other.state_dict()), dict(balancer.state_dict()))


@pytest.mark.parametrize("assign", [False, True])
def test_a_state_in_another_dtype_is_taken_over_in_that_of_the_balancer(spec: Spec, assign: bool) -> None:
    balancer, other = trained(spec), spec.build(TASKS)
    dtypes = {key: value.dtype for key, value in balancer.state_dict().items()}
    half = {key: value.bfloat16() if value.is_floating_point() else value for key, value in balancer.state_dict().items()}
    other.load_state_dict(half, assign=assign)
    assert {key: value.dtype for key, value in other.state_dict().items()} == dtypes


def test_names_survive_every_way_to_save(tmp_path: Path) -> None:
    network = nn.ModuleDict({"layer": nn.Linear(1, 1), "balancer": trained(Spec.parse("dtp"))})
    weights = dict(network["balancer"].weights)
    other = nn.ModuleDict({"layer": nn.Linear(1, 1), "balancer": DTP(REVERSED)})

    def check(load: Callable[[nn.Module], object]) -> None:
        fresh = copy.deepcopy(other)
        load(fresh)
        assert_equal({task: fresh["balancer"].weights[task] for task in TASKS}, weights)  # type: ignore[index]

    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    check(lambda module: module.load_state_dict(state))
    check(lambda module: module.load_state_dict(state, assign=True))
    check(lambda module: module.load_state_dict({k: v for k, v in state.items() if "balancer" in k}, strict=False))
    assert set(state) == {"layer.weight", "layer.bias", "balancer._extra_state", "balancer.kpi.average"}


def test_names_survive_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    balancer, other = trained(Spec.parse("uncertainty")), Uncertainty(REVERSED)
    safetensors.save_file(balancer.state_dict(), tmp_path / "state.safetensors")
    other.load_state_dict(safetensors.load_file(tmp_path / "state.safetensors"))
    assert_equal({task: other.weights[task] for task in TASKS}, dict(balancer.weights))


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled", "ignore:.*TypedStorage")
def test_names_survive_distributed_checkpoints(tmp_path: Path) -> None:
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict

    one, other = (nn.ModuleDict({"balancer": DTP(tasks)}) for tasks in (TASKS, REVERSED))
    one["balancer"].update(dict(zip(TASKS, (0.2, 0.5, 0.9), strict=True)))  # type: ignore[operator]
    dcp.save(get_model_state_dict(one), checkpoint_id=tmp_path)
    state = get_model_state_dict(other)
    dcp.load(state, checkpoint_id=tmp_path)
    set_model_state_dict(other, state)
    assert other["balancer"].kpi.average.tolist() == pytest.approx([0.9, 0.5, 0.2])  # type: ignore[union-attr]


def test_averages_of_networks_copy_the_state(spec: Spec) -> None:
    """With `use_buffers=False`, as the documentation says: buffers that are averaged are no state."""
    network = nn.ModuleDict({"layer": nn.Linear(1, 1), "balancer": spec.build(TASKS)})
    average = AveragedModel(network)
    steps(network["balancer"], 3)  # type: ignore[arg-type]
    average.update_parameters(network)
    assert_equal(dict(average.module.named_buffers()), dict(network.named_buffers()))


@pytest.mark.parametrize("make", [MovingKPI, TaskEarlyStopping])
def test_other_states_by_task_have_names_too(make: type) -> None:
    one, other = make(["a", "b"]), make(["b", "a"])
    one.update({"a": 0.2, "b": 0.9})
    other.load_state_dict(one.state_dict())
    for name, buffer in one.named_buffers():
        assert_equal(other.get_buffer(name), buffer.flip(0))
    with pytest.raises(InputError, match="that of the tasks a, b; this"):
        make(["a", "c"]).load_state_dict(one.state_dict())


@pytest.mark.parametrize("names", [torch.tensor([1, 2]), torch.tensor(1.0), "ab", torch.tensor(list(b"[1]"))])
def test_damaged_names_get_a_sentence(names: object) -> None:
    with pytest.raises(InputError, match="no readable task names"):
        DTP(["a", "b"]).load_state_dict({NAMES: names, "kpi.average": torch.zeros(2)})


def test_a_subclass_may_have_an_extra_state_of_its_own() -> None:
    class Own(DTP):
        def get_extra_state(self) -> object:  # type: ignore[override]
            return {"mine": 3}

        def set_extra_state(self, state: object) -> None:
            self.restored = state

    own = Own(["a", "b"])
    other = Own(["a", "b"])
    own.update({"a": 0.5})
    other.load_state_dict(own.state_dict())
    assert other.restored == {"mine": 3}
    assert_equal(other.kpi.average, own.kpi.average)


@pytest.mark.parametrize("tasks", [{"a", "b"}, frozenset({"a", "b"})])
def test_a_set_has_no_order(tasks: object) -> None:
    with pytest.raises(InputError, match=r"got a set, whose order changes .*\['a', 'b'\]"):
        DTP(tasks)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`order` in a fixed order; got a set"):
        Spec.parse("curriculum:order=a+b,epochs=2").method(["a", "b"], order=tasks, epochs=2)
    assert DTP({"b": 1, "a": 2}.keys()).tasks == ("b", "a")  # type: ignore[arg-type]


# What a method's own equation does with such losses is in its card; its state has to live on, whatever they are.
SHOCKS = {
    "1e20": lambda loss: loss * 1e20,
    "1e30": lambda loss: loss * 1e30,
    "1e-30": lambda loss: loss * 1e-30,
    "nan": lambda loss: loss * math.nan,
    "inf": lambda loss: loss * math.inf,
    "negative": lambda loss: -loss,
    "zero": lambda loss: loss - loss.detach(),
}


@pytest.mark.parametrize("shock", SHOCKS)
def test_the_state_survives_any_loss(spec: Spec, shock: str) -> None:
    balancer = spec.build(TASKS)
    unknown = {key for key, value in balancer.state_dict().items() if value.isnan().any()}
    steps(balancer, 9, change=lambda number, loss: SHOCKS[shock](loss) if number == 4 else loss)
    for key, value in balancer.state_dict().items():
        assert not value.isinf().any(), key
        assert key in unknown or not value.isnan().any(), key
    assert all(weight.isfinite() for weight in balancer.weights.values())
