"""`hardfirst train`: runs that diverge, and the default folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
    assert "Precision 16-mixed needs a CUDA GPU, and the device is cpu; bf16-mixed works there." in printed
    assert not (tmp_path / "run").exists()
