"""Trials that are trained together: their weights and records are those of single runs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from hardfirst import records
from hardfirst.balancers import Spec
from hardfirst.balancers._stacked import StackedBalancers
from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, r2, within
from hardfirst.networks import HardSharing
from hardfirst.problems import PROBLEMS, Metric, Problem, Splits, Task, TensorTable, load_problem
from hardfirst.problems.builtin import census
from hardfirst.recipes import Recipe
from hardfirst.training import Trial, fit
from hardfirst.training._devices import setup_fabric
from hardfirst.training._randomness import forked_randomness
from hardfirst.training.vectorized import NotVectorizable, _group, _stack, _work, fit_together
from hardfirst.training.vectorized._balancers import EachBalancer, balancers_of
from hardfirst.training.vectorized._group import Group
from hardfirst.training.vectorized._preview import bytes_per_trial
from hardfirst.training.vectorized._rows import Rows, in_order

EXACT = 1e-9
TASKS = ("kind", "value", "never")


def table(count: int, seed: int, *, gaps: bool = False) -> TensorTable:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 2, 4, 4, generator=generator, dtype=torch.float64)
    kind, value = (inputs[:, 0, 0, 0] > 0).long(), inputs[:, 1, 1].sum(1)
    if gaps:
        kind[::3], value[torch.arange(count) % 4 != 0] = -100, math.nan
    never = torch.full((count,), math.nan, dtype=torch.float64)
    return TensorTable(inputs, {"kind": kind, "value": value, "never": never})


class Items(Dataset[Any]):
    """The same data as single items, without the keys of missing targets."""

    def __init__(self, data: TensorTable) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        inputs, targets = self.data[index]
        return inputs, {task: target for task, target in targets.items() if not (target.isnan() or target == -100)}


class Squeezed(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        return {task: out.squeeze(1) if out.shape[1] == 1 else out for task, out in self.network(inputs).items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        return self.network.shared_parameters()  # type: ignore[operator,no-any-return]


def network(*layers: Callable[[], nn.Module], features: int = 6) -> nn.Module:
    heads = {"kind": nn.Linear(features, 2), "value": nn.Linear(features, 1), "never": nn.Linear(features, 1)}
    return Squeezed(HardSharing(nn.Sequential(*(layer() for layer in layers)), heads)).double()


class Levels(nn.Module):
    """A number's level, as a class."""

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.flatten(1)[:, :3] > 0).long()


LINEAR = (nn.Flatten, partial(nn.Linear, 32, 6), nn.ReLU)
NETWORKS = {
    "linear": LINEAR,
    "batch norm": (*LINEAR, partial(nn.BatchNorm1d, 6)),
    "layer norm": (*LINEAR, partial(nn.LayerNorm, 6)),
    "convolution": (
        partial(nn.Conv2d, 2, 3, 3, padding=1),
        partial(nn.BatchNorm2d, 3),
        nn.ReLU,
        nn.Flatten,
        partial(nn.Linear, 48, 6),
    ),
    "embedding": (Levels, partial(nn.Embedding, 2, 2), nn.Flatten),
    "lazy": (nn.Flatten, partial(nn.LazyLinear, 6), nn.Tanh),
    "dropout": (*LINEAR, partial(nn.Dropout, 0.5)),
}


def indexed_mse(output: Tensor, target: Tensor) -> Tensor:
    """A user's loss, which selects labels by a Boolean index."""
    return ((output - target)[~target.isnan()] ** 2).mean()


def problem(*, layers: str = "linear", gaps: bool = False, value_loss: Any = F.mse_loss, **changes: Any) -> Problem:
    options: dict[str, Any] = {
        "name": "toy",
        "tasks": (
            Task("kind", F.cross_entropy, accuracy, {"log_loss": Metric(F.cross_entropy, higher_is_better=False)}),
            Task("value", value_loss, r2, kpi_from="validation", scale=0.5),
            Task("never", F.mse_loss, partial(within, threshold=0.5)),
        ),
        "network": lambda: network(*NETWORKS[layers]),
        "data": lambda: Splits(table(90, 1, gaps=gaps), table(40, 2), table(40, 3)),
        "batch_size": 16,
        "learning_rate": 0.01,
    }
    return Problem(**{**options, **changes})


def trials_of(
    balancers: Sequence[str] = ("dtp",) * 3, *, seeds: Sequence[int] = (0, 1, 2), rates: Sequence[float] = (0.01,) * 3
) -> list[Trial]:
    settings = zip(balancers, seeds, rates, strict=True)
    return [Trial("toy", Spec.parse(spec), seed, 2, rate) for spec, seed, rate in settings]


class Outcome:
    """Records, and by trial the weights after the last step."""

    def __init__(self, made: list[records.Record], weights: list[dict[str, Tensor]]) -> None:
        self.records, self.weights = made, weights


def together(trials: Sequence[Trial], made: Problem, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    monkeypatch.setitem(PROBLEMS.loaded, "toy", lambda: made)
    final: list[dict[str, Tensor]] = []
    restore = _stack.Stack.restore

    def seen(self: _stack.Stack, weights: Any, *rows: slice) -> None:
        if not rows:  # those of all networks, at the end
            final.append({name: tensor.detach().clone() for name, tensor in self.tensors().items()})
        restore(self, weights, *rows)

    monkeypatch.setattr(_stack.Stack, "restore", seen)
    files = [folder / f"together{row}.jsonl" for row in range(len(trials))]
    made_records = fit_together(trials, record_files=files, accelerator="cpu")
    order = in_order(trials, made)
    rows = (
        [{name: tensor[order.index(place)] for name, tensor in final[0].items()} for place in range(len(trials))]
        if final
        else []
    )
    return Outcome(made_records, rows)


def singly(trials: Sequence[Trial], folder: Path) -> Outcome:
    made, weights = [], []
    for row, trial in enumerate(trials):
        checkpoint = folder / f"single{row}.pt"
        made.append(fit(trial, record_file=folder / f"single{row}.jsonl", checkpoint=checkpoint, accelerator="cpu"))
        weights.append(torch.load(checkpoint, weights_only=True)["network"] if checkpoint.exists() else {})
    return Outcome(made, weights)


def numbers(value: Any, path: str = "") -> dict[str, float]:
    """The numbers of a record's line by their place, but for times."""
    if isinstance(value, dict):
        return {
            k: v for name, item in value.items() if name != "seconds" for k, v in numbers(item, f"{path}/{name}").items()
        }
    return {path: float(value)} if isinstance(value, int | float) else {}


def assert_same(outcome: Outcome, expected: Outcome, tolerance: float = EXACT) -> None:
    for record, single in zip(outcome.records, expected.records, strict=True):
        assert (record.outcome, record.reason, record.trial) == (single.outcome, single.reason, single.trial)
        assert len(record.epochs) == len(single.epochs)
        for line, other in zip([*record.epochs, record.test], [*single.epochs, single.test], strict=True):
            # KPIs are float32, and a class may be at the edge in one of them
            assert numbers(line) == pytest.approx(numbers(other), abs=max(tolerance, 1e-6), nan_ok=True)
    for weights, single_weights in zip(outcome.weights, expected.weights, strict=True):
        for name, value in single_weights.items():
            torch.testing.assert_close(weights[name], value, rtol=0, atol=tolerance)


@pytest.mark.parametrize("layers", [name for name in NETWORKS if name != "dropout"])
def test_networks(layers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of()
    outcome = together(trials, problem(layers=layers), tmp_path, monkeypatch)
    assert_same(outcome, singly(trials, tmp_path))


@pytest.mark.parametrize(
    "balancers",
    [
        ("equal",) * 3,
        ("dtp:gamma=0.5", "dtp:gamma=2", "dtp:alpha=0.5"),
        ("fixed:kind=1,value=2,never=1", "fixed:kind=1,value=0,never=0", "fixed:kind=0,value=1,never=0"),
        ("fixed:kind=1,value=2,never=1,anneal=0.2+0.6", "equal", "dtp:anneal=0.7+0.2"),
        ("uncertainty", "uncertainty:lr=0.001", "uncertainty"),
        ("dwa",) * 3,
        ("gradnorm", "gradnorm:alpha=0.5,lr=0.01", "gradnorm:anneal=0.2+0.8"),
        ("random",) * 3,
        ("dtp", "equal", "dtp:priority=easy"),
    ],
    ids=lambda specs: "-".join(dict.fromkeys(spec.partition(":")[0] for spec in specs)),
)
def test_balancers(balancers: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of(balancers)
    outcome = together(trials, problem(), tmp_path, monkeypatch)
    assert_same(outcome, singly(trials, tmp_path))


@pytest.mark.parametrize(
    ("specs", "kind"),
    [
        (["dtp", "dtp:gamma=2", "dtp:alpha=0.5", "dtp:uniform=0.3"] * 2, StackedBalancers),
        (["dtp:anneal=0.1+0.9", "dtp:gamma=2,anneal=0.6+0.3"] * 4, StackedBalancers),
        (["dtp", "dtp:priority=easy"] * 4, EachBalancer),
    ],
    ids=["stacked", "annealed", "each"],
)
def test_many_balancers(specs: list[str], kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(
        _group, "balancers_of", lambda *args, **options: made.append(balancers_of(*args, **options)) or made[0]
    )
    trials = trials_of(specs, seeds=range(8), rates=(0.01,) * 8)
    outcome = together(trials, problem(), tmp_path, monkeypatch)
    # stacked balancers round their state, which is float32, in other places
    assert_same(outcome, singly(trials, tmp_path), 1e-6 if kind is StackedBalancers else EXACT)
    assert type(made[0]) is kind


RECIPES = {
    "weight decay": Recipe("adam:weight_decay=0.1"),
    "adamw": Recipe("adamw:weight_decay=0.1"),
    "momentum": Recipe("sgd:momentum=0.9,nesterov=true,weight_decay=0.01"),
    "clip": Recipe("sgd", clip=0.5),
    "cosine": Recipe(schedule="cosine:warmup=0.2"),
    "onecycle": Recipe(schedule="onecycle"),
    "step": Recipe(schedule="step:every=1"),
    "average": Recipe(average=0.9),
    "drop last": Recipe(drop_last=True),
    "accumulate": Recipe("sgd:momentum=0.9", accumulate=4, clip=0.5, schedule="cosine"),  # of six batches
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_and_rates(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of(seeds=(0, 1, 1), rates=(0.01, 0.03, 0.001))
    outcome = together(trials, problem(recipe=RECIPES[recipe]), tmp_path, monkeypatch)
    assert_same(outcome, singly(trials, tmp_path))


@pytest.mark.parametrize("recipe", ["adamw", "onecycle", "average", "accumulate", "plateau:patience=0"])
def test_networks_go_back_to_step_0(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = ("hard_first:search=0.7,anneal=false", "equal", "hard_first:search=0.5", "hard_first:search=0.2")
    trials = [replace(each, epochs=6) for each in trials_of(specs, seeds=range(4), rates=(0.01, 0.03, 0.01, 0.02))]
    made = problem(recipe=RECIPES.get(recipe) or Recipe(schedule=recipe), layers="batch norm")
    outcome = together(trials, made, tmp_path, monkeypatch)
    assert_same(outcome, singly(trials, tmp_path), 1e-6)
    steps = [[line.get("restarted") for line in record.epochs] for record in outcome.records]
    if recipe != "accumulate":  # 36 steps
        assert steps[0] == [None] * 4 + [26, None]
        assert steps[1] == [None] * 6
        assert steps[2] == [None] * 3 + [18, None, None]
        weights = [line["tasks"]["kind"]["weight"] for line in outcome.records[0].epochs]
        assert weights[:4] == [1] * 4
        assert weights[5] != pytest.approx(1, abs=0.01)
    for record in outcome.records:
        assert record.test is not None
        assert record.test["epoch"] == record.selected()[0] >= record.candidates[0]["epoch"]


def test_plateau_follows_each_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(schedule="plateau:patience=0,factor=0.1")
    trials = [replace(trial, epochs=6) for trial in trials_of(rates=(0.01, 0.3, 0.01))]
    outcome = together(trials, problem(recipe=recipe), tmp_path, monkeypatch)
    assert_same(outcome, singly(trials, tmp_path))
    falls = {
        tuple(line["learning_rate"] / trial.learning_rate for line in record.epochs)
        for trial, record in zip(trials, outcome.records, strict=True)
    }
    assert len(falls) > 1


@pytest.mark.parametrize("items", [False, True], ids=["table", "items"])
@pytest.mark.parametrize(
    ("loss", "method"),
    [(F.mse_loss, "dtp"), (indexed_mse, "dtp"), (F.mse_loss, "gradnorm")],
    ids=["mse", "indexed", "gradnorm"],
)
def test_gaps(items: bool, loss: Any, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = Splits(table(90, 1, gaps=True), table(40, 2, gaps=True), table(40, 3, gaps=True))
    if items:
        splits = Splits(*map(Items, (splits.train, splits.validation, splits.test)))  # type: ignore[arg-type]
    trials = trials_of((method,) * 3)
    outcome = together(trials, problem(value_loss=loss, data=lambda: splits, batch_size=30), tmp_path, monkeypatch)
    assert_same(outcome, singly(trials, tmp_path))


@pytest.mark.parametrize(
    ("layers", "method", "single"),
    [("linear", "equal", False), ("convolution", "equal", False), ("linear", "equal", True), ("linear", "gradnorm", False)],
)
def test_a_diverging_trial_leaves_the_others_alone(
    layers: str, method: str, single: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = problem(layers=layers, recipe=Recipe("sgd"))
    trials = trials_of((method,) * 3, rates=(0.01, 1e200, 0.02))
    if single:
        trials = [replace(trial, only=task) for trial, task in zip(trials, ("value", "kind", "value"), strict=True)]
    outcome = together(trials, made, tmp_path, monkeypatch)
    assert [record.outcome for record in outcome.records] == ["finished", "diverged", "finished"]
    expected = singly(trials, tmp_path)
    outcome.weights[1] = expected.weights[1] = {}
    assert_same(outcome, expected)


ALONE = ("value", "kind", "kind", "value")


@pytest.mark.parametrize(
    ("only", "recipe"),
    [
        (("value",) * 4, "weight decay"),
        (ALONE, "weight decay"),
        (ALONE, "momentum"),
        (ALONE, "accumulate"),
        (ALONE, "average"),
    ],
    ids=lambda value: value if isinstance(value, str) else "mixed" if len(set(value)) > 1 else "one",
)
def test_single_tasks(only: Sequence[str], recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = alone(only)
    outcome = together(trials, problem(layers="convolution", recipe=RECIPES[recipe]), tmp_path, monkeypatch)
    assert_same(outcome, singly(trials, tmp_path))


@pytest.mark.parametrize("loss", [F.mse_loss, indexed_mse], ids=["mse", "indexed"])
def test_single_tasks_with_gaps(loss: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = alone(ALONE)
    made = problem(gaps=True, value_loss=loss, batch_size=30)
    outcome, expected = together(trials, made, tmp_path, monkeypatch), singly(trials, tmp_path)
    assert_same(outcome, expected)
    for record, single in zip(outcome.records, expected.records, strict=True):
        assert (record.tasks, record.parameters) == (single.tasks, single.parameters)
        assert record.made_with.keys() - single.made_with.keys() == {"vectorized"}


def alone(only: Sequence[str]) -> list[Trial]:
    """Single-task runs."""
    trials = trials_of(("equal",) * 4, seeds=(0, 1, 0, 2), rates=(0.01, 0.02, 0.01, 0.01))
    return [replace(trial, only=task) for trial, task in zip(trials, only, strict=True)]


def in_float64(table: TensorTable, count: int) -> TensorTable:
    inputs, targets = table[slice(count)]  # type: ignore[index]  # tensors take slices
    double = {name: value.double() if value.is_floating_point() else value for name, value in targets.items()}
    return TensorTable(inputs.double(), double)


def digits() -> Problem:
    """The built-in problem in float64, with fewer images."""
    made = load_problem("digits")
    splits = made.data()
    tables = [in_float64(table, 600) for table in (splits.train, splits.validation, splits.test)]
    return replace(made, network=lambda: made.network().double(), data=lambda: Splits(*tables))


def people(count: int, seed: int) -> TensorTable:
    """Random answers to the questions of census, with as many labels missing."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(answers + 1, (count,), generator=generator) for answers in census.CATEGORIES.values()]
    numbers = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    targets = {question: torch.rand(count, generator=generator).round().double() for question in census.QUESTIONS}
    targets["union"][torch.arange(count) % 10 > 0] = math.nan
    targets["capital_gain"][::4] = math.nan
    targets["education"] = torch.randint(16, (count,), generator=generator).index_fill(0, torch.arange(0, count, 4), -100)
    targets["weeks"] = numbers[:, 0].index_fill(0, torch.arange(0, count, 4), math.nan)
    return TensorTable({"categories": torch.stack(columns, 1).byte(), "numbers": numbers}, targets)


def like_census() -> Problem:
    """Embeddings, and many labels that are missing."""
    made, splits = census.problem(), Splits(people(240, 1), people(120, 2), people(120, 3))
    return replace(made, network=lambda: census.network(8).double(), data=lambda: splits, batch_size=80)


@pytest.mark.parametrize(
    "made",
    [digits, like_census, partial(problem, layers="convolution", gaps=True, batch_size=30)],
    ids=["digits", "census", "convolution"],
)
def test_problems(made: Callable[[], Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of()
    assert_same(together(trials, made(), tmp_path, monkeypatch), singly(trials, tmp_path))


@pytest.mark.parametrize("made", [digits, like_census], ids=["digits", "census"])
def test_single_tasks_of_problems(made: Callable[[], Problem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = alone([made().task_names[number] for number in (3, 0, 1, 2)])
    assert_same(together(trials, made(), tmp_path, monkeypatch), singly(trials, tmp_path))


@pytest.mark.parametrize("network", ["mmoe", "cross_stitch", "task_hierarchy"])
def test_single_tasks_of_networks_whose_structure_follows_the_tasks(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = load_problem("digits")
    splits = made.data()
    tables = [TensorTable(*table[slice(300)]) for table in (splits.train, splits.validation, splits.test)]
    fewer = replace(made, data=lambda: Splits(*tables))
    trials = [replace(trial, network=network) for trial in alone(["sum", "left", "left", "right"])]
    assert_same(together(trials, fewer, tmp_path, monkeypatch), singly(trials, tmp_path), 1e-3)  # float32


def test_many_labels_are_missing_and_all_is_measured_at_once() -> None:
    group = Group(Rows(trials_of(), like_census()), setup_fabric(1, "cpu", "32-true"))
    with forked_randomness():
        group.begin()
    assert not group.measures.singly
    assert [len(tasks) for tasks in group.measures.together] == [3, 2, 1, 1]


def test_digits_in_float32(tmp_path: Path) -> None:
    trials = [Trial.plan("digits", Spec.parse("dtp"), seed=seed, epochs=1) for seed in range(2)]
    files = [tmp_path / f"{trial.seed}.jsonl" for trial in trials]
    for record, single in zip(
        fit_together(trials, record_files=files, accelerator="cpu"), singly(trials, tmp_path).records, strict=True
    ):
        assert record.selected()[1] == pytest.approx(single.selected()[1], abs=0.01)


def test_dropout_differs_between_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = trials_of(("equal",) * 2, seeds=(0, 0), rates=(0.01,) * 2)
    outcome = together(trials, problem(layers="dropout"), tmp_path, monkeypatch)
    assert outcome.records[0].epochs[0]["tasks"] != outcome.records[1].epochs[0]["tasks"]


def test_records_say_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = together(trials_of(), problem(), tmp_path, monkeypatch)
    assert [record.made_with["vectorized"] for record in outcome.records] == [3] * 3
    assert {record.made_with["device"] for record in outcome.records} == {"cpu"}
    assert all(record.seconds > 0 and record.parameters for record in outcome.records)


def falling(optimizer: Any, steps: int, epochs: int) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


class ByValue(nn.Module):
    """Takes another way by the values of its inputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs if inputs.sum() > 0 else -inputs


class Extra(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs

    def get_extra_state(self) -> int:
        return 1

    def set_extra_state(self, state: object) -> None: ...


def with_layer(layer: Callable[[], nn.Module]) -> Problem:
    return problem(network=lambda: network(*LINEAR, layer))


@pytest.mark.parametrize(
    ("made", "trials", "reason"),
    [
        (problem(recipe=Recipe(schedule=falling)), trials_of(), "schedule other than"),
        (problem(recipe=Recipe(precision="bf16-mixed")), trials_of(), "precision"),
        (with_layer(ByValue), trials_of(), "network does not run under"),
        (with_layer(Extra), trials_of(), "extra state"),
        (problem(), trials_of(("upgrad",) * 3), "gradients"),
        (problem(), trials_of(("equal", "upgrad", "dtp")), "method upgrad works on gradients"),
        (problem(), [replace(trial, epochs=trial.seed + 1) for trial in trials_of()], "differ in more than"),
        (problem(), trials_of(("equal", "gradnorm", "dtp")), "GradNorm is trained together with itself alone"),
        (problem(recipe=Recipe(accumulate=2)), trials_of(("gradnorm",) * 3), "several batches"),
        (problem(gaps=True, batch_size=2), trials_of(), "no label of a task"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_write_nothing(
    made: Problem, trials: list[Trial], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotVectorizable, match=reason):
        together(trials, made, tmp_path, monkeypatch)
    assert not list(tmp_path.iterdir())


def test_a_large_step_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_work, "_MOST_OPERATIONS", 10**4)
    with pytest.raises(NotVectorizable, match="has 0 million operations, for which training together is not faster"):
        together(trials_of(), problem(), tmp_path, monkeypatch)
    assert not list(tmp_path.iterdir())


def test_work_of_a_step() -> None:
    inputs, weights = torch.ones(4, 3), torch.ones(3, 5, requires_grad=True)
    work = _work.Work()
    with work.counted():
        (inputs @ weights).exp().sum().backward()
    # forward: the product, exp, the sum; backward: the gradients of exp and of the product, and a one
    assert work.operations == 2 * 4 * 3 * 5 + 4 * 5 + 1 + 1 + 4 * 5 + 2 * 4 * 3 * 5
    assert work.bytes == inputs.nbytes + 4 * 4 * 5  # what the two gradients need


def test_convolutions_count_four_times() -> None:
    work, inputs = _work.Work(), torch.ones(2, 3, 8)
    with work.counted(), torch.no_grad():
        torch.conv1d(inputs, torch.ones(5, 3, 3), padding=1)
    assert (work.operations - 5 * 3 * 3, work.convolutions) == (4 * 2 * 2 * 8 * 5 * 3 * 3, 1)


def test_memory_of_a_trial() -> None:
    small, large = (problem(batch_size=size) for size in (16, 64))
    trial = trials_of()[0]
    needed = bytes_per_trial(trial, small, "cpu")
    network = sum(tensor.nbytes for tensor in small.network().parameters())
    assert needed > 8 * network + 16 * 2 * 4 * 4 * 8  # copies of the network, and a batch
    # an evaluation has more examples than a batch of either
    row = (2 * 4 * 4 + 3) * 8
    assert bytes_per_trial(trial, large, "cpu") - needed == pytest.approx(48 * row, rel=0.05)


class Growing(Dataset[Any]):
    """Items whose shape depends on the data set's age, as a random crop may."""

    def __init__(self, data: TensorTable) -> None:
        self.data, self.batches = data, 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        self.batches += 1
        inputs, targets = self.data[torch.as_tensor(indices)]
        return F.pad(inputs, (0, int(self.batches > 20))), targets


def test_a_later_refusal_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = problem(
        network=lambda: network(partial(nn.AdaptiveAvgPool2d, 4), *LINEAR),
        data=lambda: Splits(Growing(table(90, 1)), table(40, 2), table(40, 3)),
    )
    with pytest.raises(NotVectorizable, match="differ in shape"):
        together(trials_of(), made, tmp_path, monkeypatch)
    assert not list(tmp_path.iterdir())


def test_each_trial_has_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a record file for each trial; got 3 trials and 1 files"):
        fit_together(trials_of(), record_files=[tmp_path / "record.jsonl"])
