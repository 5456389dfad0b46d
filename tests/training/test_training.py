"""The training loop: records, selected epochs, interruption and errors."""

import errno
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst import records
from hardfirst.balancers import BALANCERS, Spec
from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, r2, within
from hardfirst.networks import HardSharing
from hardfirst.problems import PROBLEMS, Problem, Splits, Task, TensorTable
from hardfirst.records.selection import chosen
from hardfirst.training import Interrupted, Trial, _checkpoint, fit, step_seconds, trial_seconds
from hardfirst.training._batch import measure, select_labelled
from hardfirst.training._position import EpochSums
from hardfirst.training._steps import StepNumbers
from resumed_runs import Stop


def table(count: int, seed: int) -> TensorTable:
    """Four features; a class with a third of its labels missing, a value with most missing, a task without labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 4, generator=generator)
    kind = (inputs[:, 0] > 0).long()
    value = inputs[:, 1] * 2
    kind[::3] = -100
    value[torch.arange(count) % 4 != 0] = math.nan
    return TensorTable(inputs, {"kind": kind, "value": value, "never": torch.full((count,), math.nan)})


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        trunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2))
        self.shared = HardSharing(trunk, {"kind": nn.Linear(8, 2), "value": nn.Linear(8, 1), "never": nn.Linear(8, 1)})

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        outputs = self.shared(inputs)
        return {name: output.squeeze(1) if output.shape[1] == 1 else output for name, output in outputs.items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        return self.shared.shared_parameters()


def small(name: str = "small", **changes: object) -> Problem:
    options: dict = {
        "tasks": (
            Task("kind", F.cross_entropy, accuracy),
            Task("value", F.mse_loss, r2, kpi_from="validation", scale=0.5),
            Task("never", F.mse_loss, lambda output, target: within(output, target, threshold=0.5)),
        ),
        "network": Net,
        "data": lambda: Splits(table(200, 1), table(80, 2), table(80, 3)),
        "batch_size": 32,
        "epochs": 4,
        "learning_rate": 0.01,
    }
    return Problem(name, **{**options, **changes})


@pytest.fixture(autouse=True)
def _builtin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBLEMS.loaded, "small", small)


def run(folder: Path, balancer: str = "dtp", **options: object) -> records.Record:
    trial = Trial.plan("small", Spec.parse(balancer), **{"epochs": 4, **options})  # type: ignore[arg-type]
    return fit(trial, record_file=folder / "record.jsonl", checkpoint=folder / "checkpoint.pt", accelerator="cpu")


def test_the_record(tmp_path: Path) -> None:
    record = run(tmp_path)
    assert record.outcome == "finished"
    assert len(record.epochs) == 4
    assert record.trial["balancer"] == "dtp"
    assert record.made_with["versions"]["torch"] == torch.__version__.split("+")[0] or record.made_with["versions"]["torch"]
    last = record.epochs[-1]
    assert last["learning_rate"] == 0.01
    assert last["seconds"] > 0
    assert record.curve("kind", "validation_loss")[-1] < record.curve("kind", "validation_loss")[0]
    assert last["tasks"]["kind"]["weight"] + last["tasks"]["value"]["weight"] == pytest.approx(2, rel=1e-4)
    assert all(math.isnan(value) for value in record.curve("never", "loss"))
    assert math.isnan(record.test_kpi("never"))
    # a KPI that comes from validation drives the weights, and is what the record shows
    assert last["tasks"]["value"]["kpi"] == last["tasks"]["value"]["validation_kpi"]


def test_an_epochs_figures_are_means_over_labelled_examples() -> None:
    """Losses in their own units, whatever the scale; a batch whose KPI is NaN counts for the loss alone."""
    problem, sums = small(), EpochSums()
    for examples, loss, kpi, weight in ((3, 1.0, 0.5, 1.0), (1, 5.0, 0.9, 2.0), (4, 2.0, math.nan, 3.0)):
        # `value` has the scale 0.5, and what the balancer gets is the scaled loss
        numbers = ({"value": value} for value in (examples, 0.5 * loss, kpi, weight))
        sums.add(problem, StepNumbers(1, 0.0, *numbers))
    means = sums.means("value")
    assert means["loss"] == pytest.approx((3 * 1 + 1 * 5 + 4 * 2) / 8)
    assert means["kpi"] == pytest.approx((3 * 0.5 + 1 * 0.9) / 4)
    assert means["weight"] == pytest.approx(2.0)
    assert all(math.isnan(value) for value in sums.means("kind").values())


def test_the_test_figures_are_those_of_the_selected_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a KPI that falls as the logits grow, the first epoch is the best, and far from the last."""

    def calm(output: Tensor, target: Tensor) -> Tensor:
        return (-output.abs().mean()).exp()

    monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(tasks=(Task("kind", F.cross_entropy, calm),)))
    record = run(tmp_path, epochs=6)
    assert record.test is not None
    assert record.test["epoch"] == 1
    network, test = Net(), table(80, 3)
    network.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["best"])
    labelled = test.targets["kind"] != -100
    with torch.no_grad():
        output = network.eval()(test.inputs)["kind"]
    assert record.test["tasks"]["kind"]["loss"] == pytest.approx(
        float(F.cross_entropy(output, test.targets["kind"])), rel=1e-5
    )
    assert record.test_kpi("kind") == pytest.approx(float(calm(output[labelled], test.targets["kind"][labelled])), rel=1e-5)


def test_the_balancer_gets_scaled_losses_of_labelled_examples() -> None:
    data, network = table(32, 1), Net().eval()
    measured = measure(small(), select_labelled(small(), network(data.inputs), data.targets))
    labelled = ~data.targets["value"].isnan()
    expected = F.mse_loss(network(data.inputs)["value"][labelled], data.targets["value"][labelled])
    torch.testing.assert_close(measured.losses["value"], 0.5 * expected)
    assert measured.losses.keys() == {"kind", "value"}
    assert measured.kpis.keys() == {"kind"}  # that of `value` comes from validation


def test_the_test_split_is_not_read_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(TensorTable):
        def __getitems__(self, indices):  # type: ignore[no-untyped-def]
            lines = (tmp_path / "record.jsonl").read_text().count('"epoch"')
            assert lines >= 4, "read before training was over"
            return super().__getitems__(indices)

    test = table(80, 3)
    splits = Splits(table(200, 1), table(80, 2), Watched(test.inputs, test.targets))
    monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(data=lambda: splits))
    assert run(tmp_path).outcome == "finished"


def test_the_same_trial_gives_the_same_run(tmp_path: Path) -> None:
    one, other, third = run(tmp_path / "a"), run(tmp_path / "b"), run(tmp_path / "c", seed=1)
    assert one.test == other.test
    assert one.curve("kind", "loss") == other.curve("kind", "loss")
    assert one.curve("kind", "loss") != third.curve("kind", "loss")


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    run(tmp_path, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("balancer", ["dtp", "uncertainty", "equal", "dtp:anneal=0.2+0.9"])
@pytest.mark.parametrize("stop", [(1, 1), (2, 3), (3, 7)])
def test_resume_gives_the_same_weights_bit_for_bit(tmp_path: Path, balancer: str, stop: tuple[int, int]) -> None:
    run(tmp_path / "whole", balancer)
    trial = Trial.plan("small", Spec.parse(balancer), epochs=4)
    files = {"record_file": tmp_path / "part/record.jsonl", "checkpoint": tmp_path / "part/checkpoint.pt"}
    with pytest.raises(Interrupted, match=f"Stopped in epoch {stop[0]} after step {stop[1]}"):
        fit(trial, **files, watcher=Stop(*stop), accelerator="cpu")
    record = fit(trial, **files, resume=True, accelerator="cpu")
    whole, part = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "part"))
    for what in ("network", "best", "balancer"):
        assert whole[what].keys() == part[what].keys()
        for name, tensor in whole[what].items():
            torch.testing.assert_close(part[what][name], tensor, rtol=0, atol=0, equal_nan=True)
    expected = records.read(tmp_path / "whole/record.jsonl")
    assert record.test == expected.test
    assert len(record.epochs) == 4
    for task in ("kind", "value"):
        for what in ("loss", "kpi", "weight", "validation_kpi"):
            assert record.curve(task, what) == pytest.approx(expected.curve(task, what), rel=1e-12, nan_ok=True)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    class Twice(Stop):
        def step(self, epoch: int, step: int, steps: int) -> None:
            super().step(epoch, step, steps)
            super().step(epoch, step, steps)

    trial = Trial.plan("small", Spec.parse("dtp"), epochs=1)
    with pytest.raises(KeyboardInterrupt):
        fit(trial, record_file=tmp_path / "r.jsonl", watcher=Twice(1, 2), accelerator="cpu")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_runs_outside_the_main_thread(tmp_path: Path) -> None:
    thread = threading.Thread(target=run, args=(tmp_path,), kwargs={"epochs": 1})
    thread.start()
    thread.join()
    assert records.read(tmp_path / "record.jsonl").outcome == "finished"


def test_a_run_that_diverges_records_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, target) * math.inf

    tasks = (Task("kind", F.cross_entropy, accuracy), Task("value", explode, r2))
    monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(tasks=tasks))
    record = run(tmp_path)
    assert record.outcome == "diverged"
    assert record.reason == "the loss of value was not finite in epoch 1, step 1"
    assert record.test is None


def test_a_kpi_that_is_out_of_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = (Task("kind", F.cross_entropy, lambda output, target: 93 * torch.ones(())),)
    monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(tasks=tasks))
    with pytest.raises(InputError, match=r"KPI of task 'kind' to be in \[0, 1\]"):
        run(tmp_path, epochs=1)


@pytest.mark.parametrize("name", [name for name in BALANCERS if name not in ("fixed", "frozen")])
def test_every_balancer_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    options = {"curriculum": ":order=kind+value+never,epochs=2"}
    record = run(tmp_path, name + options.get(name, ""), epochs=2)
    assert record.outcome == "finished", record.reason
    assert all(math.isfinite(weight) for weight in record.curve("kind", "weight"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trial = Trial.plan("small", Spec.parse("dtp"), epochs=1)
    with pytest.raises(InputError, match="cannot be written"):
        fit(trial, record_file=tmp_path / "r.jsonl", checkpoint=tmp_path / "file/checkpoint.pt", accelerator="cpu")


def test_a_checkpoint_that_cannot_be_written_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(_state: object, file: IO[bytes]) -> None:
        file.write(b"part")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:  # what torch does as it closes the archive
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 120768 vs 120656")

    path = tmp_path / "checkpoint.pt"
    _checkpoint.save(path, {"epoch": 1})
    monkeypatch.setattr(torch, "save", fill_the_disk)
    with pytest.raises(InputError, match=r"No space left on device\. Free some space .* what was written before is kept"):
        _checkpoint.save(path, {"epoch": 2})
    assert torch.load(path, weights_only=True) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path], "no part file is left"


def test_keys_depend_on_all_that_decides_the_outcome() -> None:
    problem = small()
    one = Trial.plan("small", Spec.parse("dtp:gamma=2"), seed=1)
    same = Trial.plan("small", Spec.parse("dtp:gamma=2.0"), seed=1, epochs=4)
    assert one.key(problem) == same.key(problem)
    others = [
        Trial.plan("small", Spec.parse("dtp:gamma=2"), seed=2),
        Trial.plan("small", Spec.parse("dtp"), seed=1),
        Trial.plan("small", Spec.parse("dtp:gamma=2"), seed=1, learning_rate=0.02),
    ]
    assert len({trial.key(problem) for trial in [one, *others]}) == 4


def fitted(folder: Path, **changes: object) -> records.Record:
    trial = replace(Trial.plan("small", Spec.parse("equal"), epochs=2), **changes)  # type: ignore[arg-type]
    return fit(trial, record_file=folder / "r.jsonl", accelerator="cpu")


def test_a_single_task_network_trains_its_task_alone(tmp_path: Path) -> None:
    record = fitted(tmp_path, only="kind")
    assert record.tasks == ("kind",)
    assert record.trial["only"] == "kind"
    assert list(record.test["tasks"]) == ["kind"]  # type: ignore[index]
    assert record.curve("kind", "weight") == [1.0, 1.0]


def test_a_single_task_network_is_not_touched_by_the_other_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = fitted(tmp_path, only="value")
    others = [task for task in small().tasks if task.name == "value"]
    monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(tasks=others))
    assert fitted(tmp_path).test == alone.test


def test_a_task_without_labels_has_no_single_task_network(tmp_path: Path) -> None:
    """Its initial weights would be the result."""
    with pytest.raises(InputError, match=r"No task of problem 'small' has a label in the validation split \(never\)"):
        fitted(tmp_path, only="never")


def test_a_tuning_run_never_reads_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = Splits(table(200, 1), table(80, 2), None)  # type: ignore[arg-type]
    monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(data=lambda: splits))
    record = fitted(tmp_path, test=False)
    assert record.outcome == "finished"
    assert record.test is None
    assert record.selected()[1] > 0
    with pytest.raises(InputError, match="Expected `test` of the data of 'small' to be a data set"):
        fitted(tmp_path)


def test_another_network_of_the_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Net):
        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            return super().forward(0 * inputs)

    monkeypatch.setitem(PROBLEMS.loaded, "small", lambda: small(networks={"deaf": Deaf}))
    own, deaf = fitted(tmp_path), fitted(tmp_path, network="deaf")
    assert deaf.trial["network"] == "deaf"
    assert deaf.test_kpi("kind") < own.test_kpi("kind")
    with pytest.raises(InputError, match=r"Unknown network of problem 'small': 'dead'; did you mean 'deaf'\?"):
        fitted(tmp_path, network="dead")


def test_time_and_memory_are_recorded(tmp_path: Path) -> None:
    start = time.perf_counter()
    record = fitted(tmp_path)
    assert 0 < record.seconds <= time.perf_counter() - start
    assert 1e7 < record.memory < 1e12  # bytes: more than torch itself, less than any machine
    assert trial_seconds(Trial.plan("small", Spec.parse("equal"), epochs=2)) > 0


def test_the_cost_of_steps_is_measured_in_turns() -> None:
    trials = {name: Trial.plan("small", Spec.parse(name), epochs=2) for name in ("equal", "dtp")}
    threads = torch.get_num_threads()
    shares: list[float] = []
    seconds, steps = step_seconds(trials, rounds=4, steps=2, tell=shares.append)
    assert {name: len(times) for name, times in seconds.items()} == {"equal": 4, "dtp": 4}
    assert (steps, shares) == (2, [0, 0.25, 0.5, 0.75, 1])
    assert min(min(times) for times in seconds.values()) > 0
    assert torch.get_num_threads() == threads
    seconds, steps = step_seconds(trials, limit=1e-9)
    assert ({name: len(times) for name, times in seconds.items()}, steps) == ({"equal": 3, "dtp": 3}, 1)


def test_the_criterion_decides_which_epoch_is_selected() -> None:
    lines = [
        {"epoch": epoch, "tasks": {task: {"validation_kpi": kpi} for task, kpi in zip("abc", kpis, strict=True)}}
        for epoch, kpis in enumerate([(0.5, 0.5, math.nan), (0.9, 0.4, math.nan), (0.4, 0.9, math.nan)], start=1)
    ]
    criteria = ("mean", "worst", "b,c", "0.75*a+0.25*b")
    mean, worst, others, weighted = (records.Record({"criterion": c}, ("a", "b", "c"), epochs=lines) for c in criteria)
    assert mean.selected() == (2, 0.65), "the first of equals"
    assert worst.selected() == (1, 0.5)
    assert others.selected() == (3, 0.9)
    assert weighted.selected() == (2, pytest.approx(0.775))
    assert mean.selected("worst") == (2, pytest.approx(0.4)), "of the epoch that the criterion chose"


def test_an_undefined_kpi_counts_as_the_worst_where_runs_are_ranked() -> None:
    """Records that do not count examples keep the numbers that they had: the KPI is left out."""

    def record(**examples: int) -> records.Record:
        kpis = [(0.6, 0.6, math.nan), (1.0, math.nan, math.nan)]  # `c` has no label
        lines = [
            {
                "epoch": epoch,
                "tasks": {
                    task: {"validation_kpi": kpi} | ({"validation_examples": examples[task]} if examples else {})
                    for task, kpi in zip("abc", values, strict=True)
                },
            }
            for epoch, values in enumerate(kpis, start=1)
        ]
        return records.Record({}, ("a", "b", "c"), epochs=lines, outcome="finished")

    new, old = record(a=8, b=8, c=0), record()
    assert new.selected() == (1, pytest.approx(0.6))
    assert old.selected() == (2, 1.0)
    lost = records.Record({}, ("a", "b", "c"), epochs=new.epochs[1:], outcome="finished")
    assert lost.selected() == (2, 0.5)
    assert chosen([lost, new]) == 1
    assert math.isnan(lost.validation_kpi("b"))
    assert lost.validation_kpi("b", undefined=0.0) == 0.0
    assert math.isnan(lost.validation_kpi("c", undefined=0.0)), "without a label there is no KPI"


def test_a_criterion_that_does_not_name_its_tasks_trains_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The criterion 'hard' does not say which tasks are hard"):
        fitted(tmp_path, criterion="hard")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("criterion", "score"),
    [
        ("mean", lambda kind, value: (kind + value) / 2),
        ("worst", min),
        ("value", lambda kind, value: value),
        ("3*kind+value", lambda kind, value: (3 * kind + value) / 4),
    ],
)
def test_a_run_is_selected_by_its_criterion(tmp_path: Path, criterion: str, score: Callable[..., float]) -> None:
    record = fitted(tmp_path, criterion=criterion, epochs=6)
    curves = record.curve("kind", "validation_kpi"), record.curve("value", "validation_kpi")
    scores = [score(*kpis) for kpis in zip(*curves, strict=True)]
    assert record.test["epoch"] == 1 + scores.index(max(scores))  # type: ignore[index]
    assert record.selected() == (record.test["epoch"], max(scores))  # type: ignore[index]
    assert record.validation_kpi("kind") == record.curve("kind", "validation_kpi")[record.selected()[0] - 1]
