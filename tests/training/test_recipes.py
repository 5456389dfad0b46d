"""Runs by any recipe: the loop that each is held against, and stops in the middle of an epoch."""

import copy
import math
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst import records
from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import PROBLEMS, Augmented, ConcatSplit, Problem, Splits, Task, TensorTable, collate
from hardfirst.recipes import Recipe, Schedule
from hardfirst.training import Interrupted, Trial, _devices, epoch_order, fit, trial_seconds
from resumed_runs import Stop

TASKS, EPOCHS, RATE = ("a", "b"), 3, 0.01
Item = tuple[Tensor, Mapping[str, Tensor]]


def table(count: int, seed: int) -> TensorTable:
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return TensorTable(inputs, {"a": (inputs[:, 0] > 0).long(), "b": (inputs[:, 1] * inputs[:, 2] > 0).long()})


def noisy(item: Item, generator: torch.Generator) -> Item:
    inputs, targets = item
    return inputs.add_(torch.randn(4, generator=generator)), targets  # in place, which must not reach the table


def network() -> nn.Module:
    trunk = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2))
    return HardSharing(trunk, {task: nn.Linear(8, 2) for task in TASKS})


def splits() -> Splits:
    return Splits(Augmented(table(52, 1), noisy), table(40, 2), table(40, 3))


def problem(**changes: Any) -> Problem:
    tasks = tuple(Task(task, F.cross_entropy, accuracy) for task in TASKS)
    options: dict[str, Any] = {"batch_size": 8, "epochs": EPOCHS, "learning_rate": RATE}
    return Problem("tiny", tasks, network, splits, **options | changes)


@pytest.fixture(autouse=True)
def _builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBLEMS.loaded, "tiny", problem)


def train(folder: Path, balancer: str = "dtp", **recipe: Any) -> tuple[records.Record, dict[str, Any]]:
    trial = Trial.plan("tiny", Spec.parse(balancer), recipe=recipe)
    record = fit(trial, record_file=folder / "r.jsonl", checkpoint=folder / "c.pt", accelerator="cpu")
    return record, torch.load(folder / "c.pt", weights_only=True)


def stopped(folder: Path, epoch: int, step: int, balancer: str = "dtp", **recipe: Any) -> tuple[int, dict[str, Any]]:
    """The batch of the epoch after which it stopped, and the state in the end, after it was resumed."""
    trial = Trial.plan("tiny", Spec.parse(balancer), recipe=recipe)
    files: dict[str, Any] = {"record_file": folder / "r.jsonl", "checkpoint": folder / "c.pt", "accelerator": "cpu"}
    with pytest.raises(Interrupted) as interrupted:
        fit(trial, **files, watcher=Stop(epoch, step))
    fit(trial, **files, resume=True)
    return interrupted.value.step, torch.load(folder / "c.pt", weights_only=True)


def same(one: Any, other: Any) -> None:
    """Assert that two states have the same bits."""
    if isinstance(one, Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one.keys() - {"seconds", "epoch_seconds"}:
            same(one[name], other[name])
    elif isinstance(one, list | tuple):
        for mine, theirs in zip(one, other, strict=True):
            same(mine, theirs)
    else:
        assert repr(one) == repr(other)  # NaN included


OPTIMIZERS = ("adam", "adamw:weight_decay=0.1", "sgd:momentum=0.9,nesterov=true", "sgd")
SCHEDULES = ("constant", "step:every=1,factor=0.3", "cosine:warmup=0.2", "onecycle", "plateau:patience=0,factor=0.5")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stop_changes_nothing(tmp_path: Path, optimizer: str, schedule: str) -> None:
    recipe = {"optimizer": optimizer, "schedule": schedule}
    _, whole = train(tmp_path / "whole", **recipe)
    at, resumed = stopped(tmp_path / "part", 2, 3, **recipe)
    assert at == 3
    same(whole, resumed)
    assert [line["learning_rate"] for line in records.read(tmp_path / "part/r.jsonl").epochs] == [
        line["learning_rate"] for line in records.read(tmp_path / "whole/r.jsonl").epochs
    ]


@pytest.mark.parametrize(
    "recipe",
    [
        {"accumulate": 2, "clip": 0.5},
        {"average": 0.9, "schedule": "onecycle"},
        {"loaders": 2, "drop_last": True},
        {"precision": "64-true", "average": 0.9},
        {"precision": "bf16-true", "clip": 1.0},
        {"precision": "bf16-mixed", "accumulate": 3, "average": 0.5, "optimizer": "sgd:momentum=0.9"},
    ],
    ids=str,
)
@pytest.mark.parametrize("balancer", ["dtp", "uncertainty", "pcgrad"])
def test_a_stop_changes_nothing_by_other_recipes(tmp_path: Path, recipe: dict[str, Any], balancer: str) -> None:
    _, whole = train(tmp_path / "whole", balancer, **recipe)
    at, resumed = stopped(tmp_path / "part", 2, 4, balancer, **recipe)
    assert at == math.ceil(4 / recipe.get("accumulate", 1)) * recipe.get("accumulate", 1), "at the end of a step"
    same(whole, resumed)


@pytest.mark.parametrize(
    ("schedule", "share", "stops"),
    [
        ("cosine:warmup=0.2", 0.45, [(1, 7), (2, 2), (2, 3), (2, 4)]),
        ("cosine:warmup=0.2", 0.33, [(1, 7), (2, 1)]),
        ("step:every=1,factor=0.3", 0.45, [(2, 2), (2, 3), (2, 4)]),
        ("plateau:patience=0,factor=0.5", 0.9, [(3, 5)]),
    ],
    ids=["in an epoch", "between epochs", "by epoch", "late"],
)
def test_a_stop_around_a_restart_changes_nothing(
    tmp_path: Path, schedule: str, share: float, stops: list[tuple[int, int]]
) -> None:
    """21 steps, of which the search has 10, up to (2, 3), or 7, up to the end of the first epoch, or 19, up to (3, 5)."""
    balancer, recipe = f"hard_first:search={share}", {"schedule": schedule, "average": 0.9}
    record, whole = train(tmp_path / "whole", balancer, **recipe)
    for number, stop in enumerate(stops):
        _, resumed = stopped(tmp_path / str(number), *stop, balancer, **recipe)
        same(whole, resumed)
        lines = records.read(tmp_path / str(number) / "r.jsonl").epochs
        assert [line.get("restarted") for line in lines] == [line.get("restarted") for line in record.epochs]


def test_no_epoch_before_a_restart_is_selected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if each epoch is worse than the one before it."""
    scores = iter([0.9, 0.8, 0.7])
    monkeypatch.setattr(records, "score", lambda *_, **__: next(scores))
    record, state = train(tmp_path, "hard_first:search=0.45")
    assert [line.get("restarted") for line in record.epochs] == [None, 10, None]
    assert record.candidates == record.epochs[1:]
    assert record.test is not None
    assert record.test["epoch"] == state["position"]["best_epoch"] == 2


def test_float16_scales_its_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, where float16 is slow and therefore refused, but right."""
    monkeypatch.setattr(_devices, "check_precision", lambda precision, accelerator: None)
    recipe = {"precision": "16-mixed", "accumulate": 2, "clip": 0.5, "optimizer": "sgd:momentum=0.9"}
    _, whole = train(tmp_path / "whole", **recipe)
    at, resumed = stopped(tmp_path / "part", 2, 3, **recipe)
    assert at == 4
    same(whole, resumed)
    _, full = train(tmp_path / "full", **recipe | {"precision": "32-true"})
    assert whole["scaler"]["scale"] > 1
    for name, weights in full["network"].items():
        torch.testing.assert_close(whole["network"][name], weights, rtol=0.05, atol=0.01)


def test_a_stop_after_the_last_batch_keeps_the_rate_of_the_epoch(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", schedule="cosine")
    stopped(tmp_path / "part", 2, 7, schedule="cosine")
    expected = [line["learning_rate"] for line in whole.epochs]
    assert [line["learning_rate"] for line in records.read(tmp_path / "part/r.jsonl").epochs] == expected
    # the rate of the last of 7 steps in each epoch
    assert expected == pytest.approx([RATE * (1 + math.cos(math.pi * done / 21)) / 2 for done in (6, 13, 20)])


def test_loaders_change_nothing(tmp_path: Path) -> None:
    states = [train(tmp_path / str(loaders), loaders=loaders)[1] for loaders in (0, 1, 3)]
    for state in states:
        state.pop("settings")
        same(states[0], state)


def bare_loop(recipe: Recipe, *, average: float | None = None, restart: int | None = None) -> dict[str, Tensor]:
    """Equal weights by hand: the weights in the end, or their average."""
    torch.manual_seed(0)
    net = network()
    initial = copy.deepcopy(net.state_dict())
    optimizer = recipe.make_optimizer(net, RATE)
    own, k = problem(recipe=recipe), recipe.accumulate
    data = splits()
    steps = math.ceil(7 / k)
    scheduler, after = recipe.make_schedule(optimizer, steps, EPOCHS)
    seen: list[dict[str, Tensor]] = []
    for epoch in range(EPOCHS):
        net.train()
        order = epoch_order(own, data.train, seed=0, epoch=epoch)
        batches = [collate(ConcatSplit(data.train, draw=(0, epoch)).__getitems__(indices)) for indices in order]
        for start in range(0, len(batches), k):
            if (done := epoch * steps + start // k) == restart:
                net.load_state_dict(initial)
                seen.clear()
                optimizer = recipe.make_optimizer(net, RATE)
                scheduler, after = recipe.make_schedule(optimizer, steps, math.ceil((EPOCHS * steps - done) / steps))
            optimizer.zero_grad()
            group = batches[start : start + k]
            for inputs, targets in group:
                outputs = net(inputs)
                losses = [F.cross_entropy(outputs[task], targets[task]) for task in TASKS]
                (torch.stack(losses).sum() / len(group)).backward()
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()
            seen.append({name: value.detach().clone() for name, value in net.named_parameters()})
            if after == "step":
                scheduler.step()
        if after == "epoch" and scheduler is not None:
            scheduler.step()
    if average is None:
        return seen[-1]
    shares = [average ** (len(seen) - 1 - number) for number in range(len(seen))]
    return {
        name: sum(share * weights[name] for share, weights in zip(shares, seen, strict=True)) / sum(shares)
        for name in seen[0]
    }


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("sgd:momentum=0.9", "cosine:warmup=0.1"),
        Recipe("adamw:weight_decay=0.1", "step:every=1", clip=0.3),
        Recipe("sgd", accumulate=3),
        Recipe(accumulate=2, clip=0.1),
        Recipe("sgd:momentum=0.9", average=0.8),
    ],
    ids=lambda recipe: str(recipe.settings()),
)
@pytest.mark.parametrize("share", [0, 0.4])  # of a search, after which the network goes back to step 0
def test_the_weights_are_those_of_a_loop_by_hand(
    tmp_path: Path, recipe: Recipe, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROBLEMS.loaded, "tiny", lambda: problem(recipe=recipe))
    _, state = train(tmp_path, f"hard_first:search={share},uniform=1" if share else "equal")
    restart = math.ceil(share * math.ceil(7 / recipe.accumulate) * EPOCHS) if share else None
    weights = {name: state["network"][name] for name in dict(network().named_parameters())}
    for name, expected in bare_loop(recipe, restart=restart).items():
        torch.testing.assert_close(weights[name], expected, rtol=1e-4, atol=1e-6)
    if recipe.average is not None:
        averages = dict(zip(weights, state["average"]["averages"], strict=True))
        for name, expected in bare_loop(recipe, average=recipe.average, restart=restart).items():
            torch.testing.assert_close(averages[name], expected, rtol=1e-4, atol=1e-6)


def test_the_average_is_evaluated_and_kept(tmp_path: Path) -> None:
    record, state = train(tmp_path, average=0.9)
    if record.test is not None and record.test["epoch"] == EPOCHS:
        assert torch.equal(state["best"]["trunk.0.weight"], state["average"]["averages"][0])
    assert not torch.equal(state["best"]["trunk.0.weight"], state["network"]["trunk.0.weight"])
    net, test = network(), table(40, 3)
    net.load_state_dict(state["best"])
    assert record.test_kpi("a") == pytest.approx(float(accuracy(net.eval()(test.inputs)["a"], test.targets["a"])))


def test_a_balancer_learns_once_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the KPIs of each step's batches moves the averages once."""
    observed: list[Mapping[str, Tensor]] = []
    from hardfirst.balancers import DTP

    update = DTP.update
    monkeypatch.setattr(DTP, "update", lambda self, kpis: (observed.append(kpis), update(self, kpis))[1])
    train(tmp_path, accumulate=3)
    by_batch = [kpis for kpis in observed if kpis]
    assert len(by_batch) == EPOCHS * 3, "7 batches are 3 steps"


def test_a_plateau_follows_the_criterion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A score that never rises halves the rate after each epoch but the first."""

    def constant(output: Tensor, target: Tensor) -> Tensor:
        return torch.tensor(0.5)

    tasks = tuple(Task(task, F.cross_entropy, constant) for task in TASKS)
    monkeypatch.setitem(PROBLEMS.loaded, "tiny", lambda: Problem("tiny", tasks, network, splits, 8, 4, RATE))
    record, _ = train(tmp_path, schedule="plateau:patience=0,factor=0.5")
    assert [line["learning_rate"] for line in record.epochs] == pytest.approx([RATE, RATE, RATE / 2, RATE / 4])


def test_a_recipe_is_part_of_the_key_where_it_is_not_the_default() -> None:
    def key(chosen: Mapping[str, Any], **changes: Any) -> str:
        trial = Trial.plan("tiny", Spec("dtp"), recipe=chosen, loaded=problem(**changes))
        return trial.key(trial.of(problem(**changes)))

    plain = Trial.plan("tiny", Spec("dtp"))
    assert "recipe" not in plain.describe(problem())
    assert key({}) == key({"optimizer": "adam", "clip": None}) == plain.key(problem())
    own = {"recipe": Recipe("sgd")}
    keys = [key({}), key({"optimizer": "sgd"}), key({"optimizer": "sgd", "clip": 1.0}), key({"average": 0.9})]
    assert len(set(keys)) == 4
    assert key({}, **own) == key({"optimizer": "sgd"}), "it does not matter who chose it"
    assert key({"optimizer": "adam"}, **own) == key({})
    hash(Trial.plan("tiny", Spec("dtp"), recipe={"optimizer": "sgd", "clip": 1.0}))


def test_the_record_has_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(optimizer: torch.optim.Optimizer, steps: int, epochs: int) -> Schedule:
        return Schedule(torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5), "step")

    monkeypatch.setitem(PROBLEMS.loaded, "tiny", lambda: problem(recipe=Recipe(schedule=halved, clip=1.0)))
    record, _ = train(tmp_path, optimizer="sgd:momentum=0.9")
    assert record.trial["recipe"]["optimizer"] == "sgd:momentum=0.9"
    assert record.trial["recipe"]["clip"] == 1.0
    assert "halved" in record.trial["recipe"]["schedule"]
    assert record.epochs[0]["learning_rate"] == pytest.approx(RATE / 2**6)


def test_a_schedule_may_be_shorter_than_what_is_timed() -> None:
    assert trial_seconds(Trial.plan("tiny", Spec("dtp"), epochs=1, recipe={"schedule": "onecycle", "accumulate": 2})) > 0


def test_drop_last_leaves_out_what_remains() -> None:
    dropping = problem(recipe=Recipe(drop_last=True), batch_size=10)
    assert [len(batch) for batch in epoch_order(dropping, table(52, 1), 0, 0)] == [10] * 5
    several = {"small": table(12, 1), "large": table(35, 2)}
    for sampling in ("proportional", "round_robin", "temperature"):
        order = epoch_order(problem(recipe=Recipe(drop_last=True), batch_size=10, sampling=sampling), several, 0, 0)
        assert [len(batch) for batch in order] == [10] * 4
        assert all(len(set(batch)) == 10 for batch in order)
    with pytest.raises(InputError, match="has 5 examples, less than a batch of 10, so `drop_last` leaves nothing of it"):
        epoch_order(dropping, {"tiny": table(5, 1), "large": table(35, 2)}, 0, 0)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"schedul": "cosine"}, "Unknown part of a recipe: 'schedul'; did you mean 'schedule'?"),
        ({"precision": "16-mixed"}, "Precision 16-mixed needs a CUDA GPU, but the device is cpu. Use bf16-mixed."),
    ],
)
def test_what_is_wrong_with_it_is_said_before_the_run(tmp_path: Path, recipe: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        train(tmp_path, **recipe)
    assert str(error.value).startswith(sentence)


class SparseWords(nn.Module):
    """A trunk with a table of sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(2, 8))

    def forward(self, inputs: Tensor) -> Tensor:
        return F.embedding((inputs[:, 0] > 0).long(), self.table, sparse=True)


@pytest.mark.parametrize(
    ("recipe", "refuses"), [({}, "the optimizer"), ({"optimizer": "sgd"}, "the optimizer"), ({"clip": 1.0}, "`clip`")]
)
def test_sparse_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any], refuses: str) -> None:
    def words() -> nn.Module:
        return HardSharing(SparseWords(), {task: nn.Linear(8, 2) for task in TASKS})

    monkeypatch.setitem(PROBLEMS.loaded, "tiny", lambda: replace(problem(), network=words))
    with pytest.raises(InputError, match=rf"The gradient of \S*table is sparse, which {refuses} does not support"):
        train(tmp_path, "equal", **recipe)
    own = Recipe(lambda network, rate: torch.optim.SGD(network.parameters(), lr=rate))
    monkeypatch.setitem(PROBLEMS.loaded, "tiny", lambda: replace(problem(recipe=own), network=words))
    assert train(tmp_path / "own", "equal")[0].outcome == "finished"


class Broken(TensorTable):
    """A data set whose items fail in one place."""

    def __init__(self, error: Exception | None) -> None:
        plain = table(40, 1)
        super().__init__(plain.inputs, plain.targets)
        self.error = error

    def __getitems__(self, indices: Any) -> Any:
        if self.error is None:
            os.kill(os.getpid(), signal.SIGKILL)
        raise self.error  # type: ignore[misc]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("The picture 3 is missing. Restore it."), "The picture 3 is missing. Restore it."),
        (None, "A process that loads batches was killed. If it ran out of memory, use fewer `loaders`, or a smaller batch."),
    ],
)
def test_an_error_in_a_process_that_loads(error: Exception | None, sentence: str) -> None:
    from hardfirst.training._loading import Loading, load

    with pytest.raises(InputError) as raised:
        list(load(Broken(error), [[0, 1], [2, 3]], Loading(1)))
    assert str(raised.value) == sentence
