"""`hardfirst train`: runs that diverge, and the default folder."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hardfirst import records
from hardfirst.cli._progress import RunProgress

PROBLEM = """
import torch
from torch import nn
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import Problem, Splits, Task, TensorTable


def loss(output, target):
    return SCALE * nn.functional.cross_entropy(output, target)


def problem():
    table = TensorTable(torch.eye(4), {"kind": torch.tensor([0, 1, 0, 1])})
    network = lambda: HardSharing(nn.Linear(4, 4), {"kind": nn.Linear(4, 2)})
    tasks = (Task("kind", loss, accuracy),)
    return Problem("tiny", tasks, network, lambda: Splits(table, table, table), batch_size=2, epochs=1)
"""


@pytest.fixture
def problem_file(tmp_path: Path) -> Callable[[str], None]:
    def write(scale: str) -> None:
        (tmp_path / "tiny.py").write_text(PROBLEM.replace("SCALE", scale))

    return write


def test_a_run_that_diverges_exits_with_1_and_keeps_its_record(
    hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path
) -> None:
    problem_file("float('inf')")
    printed = hardfirst("train", "tiny.py", "--balancer", "equal", "--out", "run", code=1)
    assert "The run diverged: the loss of kind was not finite in epoch 1, step 1." in printed
    (file,) = (tmp_path / "run/trials").glob("*.jsonl")
    assert records.read(file).outcome == "diverged"


def test_the_default_folder_is_named_after_problem_and_key(
    hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path
) -> None:
    problem_file("1")
    hardfirst("train", "tiny.py", "--balancer", "equal")
    (file,) = (tmp_path / "runs").glob("train-tiny-*/trials/*.jsonl")
    assert file.parents[1].name == f"train-tiny-{file.stem}"
    assert records.read(file).outcome == "finished"


def test_a_run_outlives_the_pipe_that_it_prints_to(
    hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: object) -> None:
        raise SystemExit(1)  # what Rich makes of a broken pipe

    monkeypatch.setattr(RunProgress, "__exit__", closed)
    problem_file("1")
    hardfirst("train", "tiny.py", "--balancer", "equal", "--out", "run", code=1)
    (file,) = (tmp_path / "run/trials").glob("*.jsonl")
    assert records.read(file).outcome == "finished"


def test_a_restart_is_said(hardfirst: Callable[..., str], problem_file: Callable[[str], None]) -> None:
    problem_file("1")
    printed = hardfirst("train", "tiny.py", "--balancer", "hard_first", "--epochs", "4", "--out", "run")
    assert "After a search of 2 steps, network and optimizer went back to step 0, in epoch 2." in printed


def test_the_flags_of_a_recipe(hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path) -> None:
    problem_file("1")
    flags = "--optimizer adamw:weight_decay=1e-4 --schedule cosine:warmup=0.05 --precision bf16-mixed --clip 1.0"
    further = "--accumulate 2 --average 0.9 --loaders 1 --drop-last"
    command = ("train", "tiny.py", "--balancer", "equal", "--out", "run", *flags.split(), *further.split())
    printed = hardfirst(*command)
    assert "The recipe of tiny: optimizer adamw:weight_decay=0.0001, schedule cosine:warmup=0.05, clip 1.0" in printed
    (file,) = (tmp_path / "run/trials").glob("*.jsonl")
    assert records.read(file).trial["recipe"] == {
        "optimizer": "adamw:weight_decay=0.0001",
        "schedule": "cosine:warmup=0.05",
        "precision": "bf16-mixed",
        "clip": 1.0,
        "accumulate": 2,
        "average": 0.9,
        "loaders": 1,
        "drop_last": True,
    }
    hardfirst("report", "run")
    page = (tmp_path / "run/report.html").read_text().replace("<wbr>", "")
    assert "accumulate 2, average 0.9, clip 1.0, drop_last true" in page


def test_a_precision_that_the_device_lacks_is_said_first(
    hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path
) -> None:
    problem_file("1")
    printed = hardfirst("train", "tiny.py", "--accelerator", "cpu", "--precision", "16-mixed", "--out", "run", code=2)
    assert "Precision 16-mixed needs a CUDA GPU, but the device is cpu. Use bf16-mixed." in printed
    assert not (tmp_path / "run").exists()


def test_a_flag_switches_off_what_the_problem_has(
    hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path
) -> None:
    problem_file("1")
    own = "epochs=1, recipe=Recipe(schedule='cosine', clip=1.0, average=0.9))"
    text = (tmp_path / "tiny.py").read_text().replace("epochs=1)", own)
    (tmp_path / "tiny.py").write_text(f"from hardfirst.recipes import Recipe\n{text}")
    command = ("train", "tiny.py", "--balancer", "equal")
    assert "The recipe of tiny: schedule cosine, clip 1.0, average 0.9." in hardfirst(*command, "--out", "own")
    off = ("--clip", "none", "--average", "none", "--schedule", "constant")
    assert "The recipe of" not in hardfirst(*command, "--out", "off", *off)
    (file,) = (tmp_path / "off/trials").glob("*.jsonl")
    assert "recipe" not in records.read(file).trial


def test_an_error_before_the_first_step_has_no_bar(
    hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path
) -> None:
    problem_file("1")
    text = (tmp_path / "tiny.py").read_text().replace('"kind": nn.Linear(4, 2)', '"other": nn.Linear(4, 2)')
    (tmp_path / "tiny.py").write_text(text)
    printed = hardfirst("train", "tiny.py", "--balancer", "equal", "--out", "run", code=2)
    assert "other" in printed
    assert "steps" not in printed


def test_a_run_that_has_lost_its_record_names_no_file_of_its_own(
    hardfirst: Callable[..., str], problem_file: Callable[[str], None], tmp_path: Path
) -> None:
    problem_file("1")
    command = ("train", "tiny.py", "--balancer", "equal", "--out", "run")
    hardfirst(*command)
    (file,) = (tmp_path / "run/trials").glob("*.jsonl")
    file.unlink()
    printed = hardfirst(*command, "--resume", code=2)
    assert "The run's record is no longer in run/trials" in printed
    assert ".part" not in printed


LOADED = ("train", "digits", "--optimizer", "sgd:momentum=0.9", "--schedule", "cosine", "--loaders", "2", "--epochs", "3")


@pytest.mark.slow
def test_a_run_with_loaders_that_is_killed_has_the_weights_of_one_that_is_not(
    hardfirst: Callable[..., str], tmp_path: Path
) -> None:
    hardfirst(*LOADED, "--out", "whole")
    command = [sys.executable, "-m", "hardfirst", *LOADED, "--out", "parts"]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # as here, since sums depend on them
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=tmp_path, env=os.environ | threads)
    deadline = time.monotonic() + 120
    while not (tmp_path / "parts/checkpoint.pt").exists():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait()
    hardfirst(*LOADED, "--out", "parts", "--resume")
    one, other = (torch.load(tmp_path / out / "checkpoint.pt", weights_only=True) for out in ("whole", "parts"))
    for state in ("network", "best"):
        for name in one[state]:
            assert torch.equal(one[state][name], other[state][name])
