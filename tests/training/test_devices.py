"""Training on several devices gives the result of one device, and ends like it.

This file is also the problem file that the processes load; the environment variable VARIANT selects a variant.
"""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from hardfirst import records
from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.kpi import accuracy, r2, within
from hardfirst.networks import HardSharing
from hardfirst.problems import Metric, Problem, Splits, Task, TensorTable
from hardfirst.studies.executors.local import cores
from hardfirst.training import Interrupted, Trial, check_devices, epoch_order, fit, is_main_process
from hardfirst.training._interrupt import Interrupt
from hardfirst.training._launch import _picklable, _supervise, _Worker
from hardfirst.training._ranks import _pad_share

TASKS = ("kind", "value", "many", "never")
VARIANT, FOLDER, RANK = "HARDFIRST_TEST_VARIANT", "HARDFIRST_TEST_FOLDER", "RANK"
STEPS = 11  # of an epoch


def variant() -> str:
    return os.environ.get(VARIANT, "")


def on_rank_1(what: str) -> bool:
    return variant() == what and os.environ.get(RANK) == "1"


# ---------------------------------------------------------------- the problem


def table(count: int, seed: int) -> TensorTable:
    """A class, a value for few examples, three values of which any may be missing, and a task without labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 4, generator=generator)
    kind, value, many = (inputs[:, 0] > 0).long(), 2 * inputs[:, 1], inputs[:, :3] / 2
    kind[::3] = -100
    value[torch.rand(count, generator=generator) > 0.15] = math.nan
    many[torch.rand(count, 3, generator=generator) > 0.5] = math.nan
    return TensorTable(inputs, {"kind": kind, "value": value, "many": many, "never": torch.full((count,), math.nan)})


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        extra = {"dropout": nn.Dropout(0.3), "batchnorm": nn.BatchNorm1d(8)}.get(variant(), nn.Identity())
        trunk = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), extra)
        self.sharing = HardSharing(trunk, {task: nn.Linear(8, {"kind": 2, "many": 3}.get(task, 1)) for task in TASKS})

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        if self.training and FOLDER in os.environ:
            facts = {"seed": torch.initial_seed(), "threads": torch.get_num_threads()}
            (Path(os.environ[FOLDER]) / f"rank{os.environ[RANK]}.json").write_text(json.dumps(facts))
        if self.training and on_rank_1("failing"):
            raise KeyError("no such thing")
        return {task: output.squeeze(1) if len(output[0]) == 1 else output for task, output in self.sharing(inputs).items()}

    def shared_parameters(self) -> list[nn.Parameter]:
        return self.sharing.shared_parameters()


def kind_loss(output: Tensor, target: Tensor) -> Tensor:
    if on_rank_1("killed") and output.requires_grad:
        os.kill(os.getpid(), signal.SIGKILL)
    loss = F.cross_entropy(output, target)
    return loss * math.inf if on_rank_1("infinite") and output.requires_grad else loss


def mean_square(output: Tensor, target: Tensor) -> Tensor:
    """The mean over labels."""
    labelled = ~target.isnan()
    return (output - target)[labelled].square().mean()


def nearness(output: Tensor, target: Tensor) -> Tensor:
    labelled = ~target.isnan()
    return (-(output - target)[labelled].abs()).exp().mean()


def middle(output: Tensor, target: Tensor) -> Tensor:
    """A metric that depends on the order of the examples."""
    return (output * torch.linspace(0, 1, len(output))).mean()


def closeness(output: Tensor, target: Tensor) -> Tensor:
    return 93 * torch.ones(()) if variant() == "percent" else within(output, target, threshold=0.5)


def problem() -> Problem:
    return Problem(
        "scattered",
        (
            Task("kind", kind_loss, accuracy, metrics={"accumulated": Metric(MulticlassAccuracy(2, average="micro"))}),
            Task("value", F.mse_loss, closeness, metrics={"middle": Metric(middle), "r2": Metric(r2)}, scale=0.5),
            Task("many", mean_square, nearness),
            Task("never", F.mse_loss, accuracy, kpi_from="validation"),
        ),
        Net,
        # evaluation batches have 1024 examples: both ranks have some of the validation split, only one of the test split
        lambda: Splits(table(61, 1), table(2500, 2), table(80, 3)),
        batch_size=6,
        epochs=3,
        learning_rate=0.01,
    )


# ---------------------------------------------------------------- what the tests share


def train(
    folder: Path, balancer: str = "dtp", *, epochs: int = 3, recipe: Mapping[str, Any] | None = None, **options: Any
) -> records.Record:
    trial = Trial.plan(__file__, Spec.parse(balancer), epochs=epochs, recipe=recipe or {})
    files = {"record_file": folder / "record.jsonl", "checkpoint": folder / "checkpoint.pt"}
    return fit(trial, **files, **{"accelerator": "cpu", "devices": 2, **options})


def saved(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)  # type: ignore[no-any-return]


def figures(record: records.Record) -> dict[str, float]:
    """All numbers of a record by their path."""

    def flat(value: Any, where: str) -> Iterator[tuple[str, float]]:
        if isinstance(value, Mapping):
            for name, each in value.items():
                yield from flat(each, f"{where}/{name}")
        elif isinstance(value, float | int):
            yield where, value

    numbers = dict(flat({"test": record.test, **{str(line["epoch"]): line for line in record.epochs}}, ""))
    return {where: number for where, number in numbers.items() if not where.endswith("seconds")}


def same_weights(one: dict[str, Any], other: dict[str, Any], tolerance: float) -> None:
    for what in ("network", "best", "balancer"):
        assert one[what].keys() == other[what].keys()
        for name, tensor in one[what].items():
            torch.testing.assert_close(other[what][name], tensor, rtol=tolerance, atol=tolerance / 10, equal_nan=True)


class Stop:
    """Sends Ctrl-C after the first step."""

    pressed = False

    def step(self, epoch: int, step: int, steps: int) -> None:
        if not self.pressed:
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)

    def epoch(self, epoch: int, tasks: dict) -> None: ...


# ---------------------------------------------------------------- the same record


def test_the_problem_has_all_difficult_kinds_of_shares() -> None:
    own = problem()
    data = own.data().train
    kinds = set()
    for epoch in range(3):
        for batch in epoch_order(own, data, 0, epoch):
            kinds.add("one example" if len(batch) == 1 else "")
            for target in (data.targets[task].double() for task in TASKS):  # type: ignore[union-attr]
                labels = [sum(((target[i] != -100) & ~target[i].isnan()).sum() for i in batch[rank::2]) for rank in (0, 1)]
                kinds.add(("nowhere", "on one rank", "on both")[sum(map(bool, labels))])
                kinds.add("unevenly" if all(labels) and labels[0] != labels[1] else "")
    assert kinds == {"", "one example", "nowhere", "on one rank", "on both", "unevenly"}


@pytest.mark.parametrize("balancer", ["equal", "dtp", "uncertainty", "gradnorm", "pcgrad"])
def test_two_devices_give_the_record_and_the_weights_of_one(tmp_path: Path, balancer: str) -> None:
    one, two = (train(tmp_path / str(devices), balancer, devices=devices) for devices in (1, 2))
    assert (one.outcome, two.outcome) == ("finished", "finished")
    assert (one.made_with["devices"], two.made_with["devices"]) == (1, 2)
    assert one.made_with["device"] == two.made_with["device"] == "cpu"
    assert one.trial == two.trial
    assert len(two.epochs) == 3
    assert len(figures(one)) > 60
    assert figures(two) == pytest.approx(figures(one), rel=1e-4, nan_ok=True)
    same_weights(saved(tmp_path / "1"), saved(tmp_path / "2"), 1e-4)


@pytest.mark.parametrize("balancer", ["hard_first:search=0.6", "pcgrad"])
def test_so_they_do_by_any_recipe(tmp_path: Path, balancer: str) -> None:
    """Steps of two batches, of which the last has one: a task may have labels in the first batch alone; and a restart."""
    recipe = {"optimizer": "sgd:momentum=0.9", "schedule": "cosine", "clip": 0.5, "accumulate": 2, "average": 0.9}
    trials = ((1, recipe), (2, recipe | {"loaders": 1}))
    one, two = (train(tmp_path / str(n), balancer, devices=n, recipe=each) for n, each in trials)
    assert figures(two) == pytest.approx(figures(one), rel=1e-3, nan_ok=True)
    same_weights(saved(tmp_path / "1"), saved(tmp_path / "2"), 1e-3)


def test_two_devices_in_16_bits_evaluate_as_one_does(tmp_path: Path) -> None:
    one, two = (train(tmp_path / str(n), devices=n, epochs=1, recipe={"precision": "bf16-mixed"}) for n in (1, 2))
    assert figures(two) == pytest.approx(figures(one), rel=0.05, abs=0.02, nan_ok=True)


def test_normalised_batches_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BatchNorm needs two examples, so that the 61st joins a batch; each rank evaluates with the first rank's statistics."""
    monkeypatch.setenv(VARIANT, "batchnorm")
    record = train(tmp_path, epochs=1)
    network, data = Net(), table(2500, 2)
    network.load_state_dict(saved(tmp_path)["best"])
    labelled = data.targets["kind"] != -100
    with torch.no_grad():
        loss = F.cross_entropy(network.eval()(data.inputs)["kind"][labelled], data.targets["kind"][labelled])
    assert record.curve("kind", "validation_loss") == [pytest.approx(float(loss), rel=1e-5)]
    assert saved(tmp_path)["optimizer"]["state"][0]["step"] == STEPS - 1


def test_each_rank_has_its_own_dropout_and_its_share_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    train(tmp_path, epochs=1)
    facts = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert facts[0]["seed"] != facts[1]["seed"]
    assert {each["threads"] for each in facts} == {max(1, cores() // 2)}


@pytest.mark.parametrize(
    ("share", "batch", "padded"),
    [([3, 5], [3, 4, 5], [3, 5]), ([4], [3, 4, 5], [4, 3]), ([], [3, 4], [3, 4]), ([], [3], [3])],
)
def test_a_share_is_padded_to_two_examples(share: list[int], batch: list[int], padded: list[int]) -> None:
    assert _pad_share(share, batch) == padded


def test_a_watcher_sees_all_of_it(tmp_path: Path) -> None:
    class Notes:
        def __init__(self) -> None:
            self.steps: list[tuple[int, ...]] = []
            self.epochs: list[tuple[int, dict]] = []

        def step(self, *numbers: int) -> None:
            self.steps.append(numbers)

        def epoch(self, epoch: int, tasks: dict) -> None:
            self.epochs.append((epoch, tasks))

    notes = Notes()
    record = train(tmp_path, watcher=notes, epochs=2)
    assert notes.steps == [(epoch, step, STEPS) for epoch in (1, 2) for step in range(1, STEPS + 1)]
    assert [epoch for epoch, _ in notes.epochs] == [1, 2]
    assert notes.epochs[1][1]["kind"] == record.epochs[1]["tasks"]["kind"]


# ---------------------------------------------------------------- stopped and taken up again


def test_resume_gives_the_same_weights_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIANT, "dropout")
    options: dict[str, Any] = {"epochs": 15, "devices": 3}
    expected = train(tmp_path / "whole", **options)
    for resume in (False, True):
        with pytest.raises(Interrupted, match=r"Stopped in epoch \d+ after step \d+") as stopped:
            train(tmp_path / "part", watcher=Stop(), resume=resume, **options)
        assert stopped.value.checkpoint == tmp_path / "part/checkpoint.pt"
    record = train(tmp_path / "part", resume=True, **options)
    same_weights(saved(tmp_path / "whole"), saved(tmp_path / "part"), 0)
    assert figures(record) == pytest.approx(figures(expected), rel=1e-12, nan_ok=True)
    assert not multiprocessing.active_children()


def test_resume_by_another_recipe(tmp_path: Path) -> None:
    recipe = {"optimizer": "sgd:momentum=0.9", "schedule": "onecycle", "accumulate": 2, "average": 0.9, "loaders": 1}
    train(tmp_path / "whole", recipe=recipe, epochs=8)
    with pytest.raises(Interrupted, match=r"after step (2|4|6|8|10|11)\b"):
        train(tmp_path / "part", watcher=Stop(), recipe=recipe, epochs=8)
    train(tmp_path / "part", resume=True, recipe=recipe, epochs=8)
    same_weights(saved(tmp_path / "whole"), saved(tmp_path / "part"), 0)


def test_a_run_resumes_with_the_same_number_of_devices(tmp_path: Path) -> None:
    train(tmp_path, epochs=1, devices=2)
    with pytest.raises(InputError, match=r"is from a run with --devices 2\. Use the same number, not 1"):
        train(tmp_path, epochs=1, devices=1, resume=True)


def test_under_torchrun_a_second_ctrl_c_does_not_raise() -> None:
    with Interrupt(raise_on_second=False) as interrupt:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
    assert interrupt.requested


def running(session: int) -> list[str]:
    """The ids of a session's processes."""
    processes = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of, *_ = file.read_text().rpartition(")")[2].split()
        except OSError:  # the process has just ended
            continue
        if int(of) == session and state != "Z":
            processes.append(file.parent.name)
    return processes


def wait_until(condition: Callable[[], object], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(condition())


def command(*arguments: str, folder: Path) -> "subprocess.Popen[str]":
    """Start a command in a new session, so that its processes can be signalled and counted."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


TRAIN = ("hardfirst", "train", __file__, "--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", "--out", "run")
TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "-m")

on_linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="counts processes in /proc")


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("start", [(), TORCHRUN], ids=["alone", "torchrun"])
def test_ctrl_c_saves_and_leaves_no_process(tmp_path: Path, start: tuple[str, ...]) -> None:
    """Ctrl-C reaches all processes, as in a terminal; the tests of resuming send it to the parent alone."""
    process = command(*start, *TRAIN, "--epochs", "2000", folder=tmp_path)
    assert wait_until((tmp_path / "run/checkpoint.pt").exists, 120)
    os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert wait_until(lambda: not running(process.pid)), running(process.pid)
    again = next(line for line in printed.splitlines() if "To resume: hardfirst train" in line)
    assert again.rstrip().endswith("--devices 2 --strategy ddp --out run --epochs 2000 --resume")
    position = saved(tmp_path / "run")["position"]
    epoch, step = position["epoch"], position["step"]
    assert f"Stopped in epoch {epoch + 1} after step {step}. The state is in run/checkpoint.pt." in printed
    if not start:
        assert (process.returncode, errors) == (130, "")


@pytest.mark.slow
def test_torchrun(tmp_path: Path) -> None:
    process = command(*TORCHRUN, *TRAIN, "--epochs", "2", folder=tmp_path)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert printed.count("The trained network: run/model.pt") == 1
    (file,) = (tmp_path / "run/trials").glob("*.jsonl")
    one = train(tmp_path / "one", epochs=2, devices=1)
    assert figures(records.read(file)) == pytest.approx(figures(one), rel=1e-4, nan_ok=True)


# ---------------------------------------------------------------- what goes wrong


def test_a_loss_that_is_not_finite_on_one_rank_ends_the_run_on_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIANT, "infinite")
    record = train(tmp_path)
    assert record.outcome == "diverged"
    assert record.reason == "the loss of kind was not finite in epoch 1, step 1"


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("failing", r"test_devices.py, line \d+: KeyError: 'no such thing'"),
        ("killed", "The process of rank 1 was killed by SIGKILL. If it ran out of memory"),
    ],
)
def test_a_failure_of_one_rank_ends_all_with_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, sentence: str
) -> None:
    monkeypatch.setenv(VARIANT, what)
    with pytest.raises(InputError, match=sentence):
        train(tmp_path)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("code", [-signal.SIGKILL, None, 0])
def test_a_death_that_is_seen_late_goes_before_the_error_of_another_rank(code: int | None) -> None:
    """Rank 0 tells that it has lost its connection, before the parent sees that rank 1 has died."""

    class Process:
        exitcode = None

        def __init__(self) -> None:
            self.sentinel, self.end = os.pipe()

        def die(self) -> None:
            self.exitcode = code
            os.close(self.end)

        def join(self, timeout: float) -> None: ...

    pipes, processes = [multiprocessing.Pipe() for _ in range(2)], [Process(), Process()]
    pipes[0][1].send(("failed", RuntimeError("Connection closed by peer")))
    timer = threading.Timer(0.05, processes[1].die)
    timer.start()
    workers = [_Worker(rank, process, pipes[rank][0]) for rank, process in enumerate(processes)]
    with pytest.raises(InputError if code else RuntimeError, match="rank 1 was killed by SIGKILL" if code else "by peer"):
        _supervise(workers, Interrupt(), None, None)
    timer.join()


@pytest.mark.slow
@on_linux
def test_an_error_in_the_problem_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIANT, "percent")
    process = command(*TRAIN, folder=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == "hardfirst: Expected the KPI of task 'value' to be in [0, 1]; got 93.0. Divide a percentage by 100.\n"
    assert wait_until(lambda: not running(process.pid)), running(process.pid)


def test_other_errors_carry_their_traceback() -> None:
    class Local(Exception):  # noqa: N818  # that cannot be pickled
        pass

    for error, kind in ((KeyError("x"), KeyError), (Local("x"), RuntimeError)):
        try:
            raise error
        except Exception as raised:
            sent = _picklable(raised)
        assert type(sent) is kind
        assert "in test_other_errors_carry_their_traceback" in sent.__notes__[0]
    assert str(sent) == "Local: x"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"recipe": {"precision": "64-true"}}, "in precision 32-true, bf16-mixed or 16-mixed; got 64-true"),
        ({"accelerator": "mps"}, "Several devices train together only on cpu or cuda; got mps."),
        ({"accelerator": "cuda", "devices": 99}, r"Expected as many CUDA devices as `devices`, 99; there are \d+."),
    ],
)
def test_devices_that_are_missing(tmp_path: Path, options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        train(tmp_path, **options)


def test_torchruns_processes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="`devices` is 2, but torchrun's --nproc-per-node is 3; they must be equal"):
        train(tmp_path)
    with pytest.raises(InputError, match="`devices` is 1"):
        is_main_process(1)


def test_a_script_without_a_main_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(InputError, match='below `if __name__ == "__main__":`'):
        train(tmp_path)


def test_one_device_is_always_valid() -> None:
    check_devices(1, "ddp", "auto")
