"""Folders that nobody's program wrote: each makes a page of what is sound, or gets a sentence that names the file."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hardfirst.errors import InputError
from hardfirst.records import Writer, read
from hardfirst.records._schema import LARGEST_NUMBER
from hardfirst.report import Comparison
from wrong_inputs.commands import write

ESCAPE = "\x1b]0;title\x1b\\"
Change = Callable[[Path], object]


def study(role: str = "method", ending: str = "", **changes: object) -> None:
    """The study.json of the folder, in which every record is a run with this role, of a method with this ending."""
    entries = [
        {"key": path.stem, "method": path.stem[:-1] + ending, "role": role} | changes
        for path in Path("study/trials").glob("*.jsonl")
    ]
    cases = [{"problem": "toy", "network": "own", "trials": entries}]
    Path("study/study.json").write_text(json.dumps({"title": "Toy", "command": None, "cases": cases}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of two methods with two seeds each."""
    monkeypatch.chdir(tmp_path)
    for balancer in ("equal", "dtp"):
        for seed in (0, 1):
            write(f"{balancer}{seed}", balancer, seed)
    study()
    return Path("study")


def replaced(name: str, make: Change) -> Change:
    """Replace a file of the folder."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return change


def edited(before: str, after: str) -> Change:
    """Replace a text in the record dtp1."""

    def change(folder: Path) -> None:
        path = folder / "trials/dtp1.jsonl"
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))

    return change


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


LEFT_OUT: dict[str, tuple[Change, str]] = {
    "a pipe": (replaced("trials/dtp1.jsonl", os.mkfifo), "is not a regular file"),
    "a device": (replaced("trials/dtp1.jsonl", lambda path: path.symlink_to("/dev/zero")), "is not a regular file"),
    "a terabyte": (replaced("trials/dtp1.jsonl", sparse), "is larger than 256 MiB"),
    "a KPI of 1e308": (edited('"kpi": 0.6', '"kpi": 1e308'), "`tasks` in line 5 is missing or invalid"),
    "a seed of 400 digits": (edited('"seed": 1', f'"seed": {"1" * 400}'), "`trial` in line 1 is missing or invalid"),
    "a wrong criterion": (
        edited('"seed": 1', '"seed": 1, "criterion": "wrost"'),
        "criterion is no objective: Unknown task 'wrost'",
    ),
    "hard tasks": (edited('"seed": 1', '"seed": 1, "criterion": "hard"'), "criterion 'hard' does not name the hard tasks"),
    "a deep line": (edited('"seed": 1', f'"seed": {"[" * 100_000}'), "line 1 is not JSON (nested too deep)"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="the devices are Linux's")
@pytest.mark.parametrize("name", LEFT_OUT)
def test_the_page_is_of_the_other_records(hardfirst: Callable[..., str], folder: Path, name: str) -> None:
    change, reason = LEFT_OUT[name]
    change(folder)
    printed = hardfirst("report", "study")
    assert "Left out: study/trials/dtp1.jsonl " in printed
    assert reason in printed
    assert re.search("^dtp ", printed, re.MULTILINE)


SENTENCES: dict[str, tuple[Change, str]] = {
    "no method": (lambda folder: study(role="control"), "No run of a method of the study in study has ended yet"),
    "only a grid": (lambda folder: study(role="grid"), "No run of a method of the study in study has ended yet"),
    "NUL in a key": (lambda folder: study(key="a\0b"), "study.json is damaged"),
    "a key that leaves the folder": (lambda folder: study(key="../../secret"), "study.json is damaged"),
    "deep": (replaced("study.json", lambda path: path.write_text("[" * 100_000)), "study.json is damaged"),
    "a pipe": (replaced("study.json", os.mkfifo), "study.json is not a regular file"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("name", SENTENCES)
def test_study_json_gets_a_sentence(hardfirst: Callable[..., str], folder: Path, name: str) -> None:
    change, sentence = SENTENCES[name]
    change(folder)
    assert sentence in hardfirst("report", "study", code=2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.write_text("[" * 100_000), lambda path: path.mkdir()])
def test_costs_that_cannot_be_read_are_not_shown(folder: Path, make: Change) -> None:
    make(folder / "cost.json")
    assert Comparison.read(folder).verdict


def test_no_control_character_reaches_the_terminal_or_the_page(hardfirst: Callable[..., str], folder: Path) -> None:
    """Not from names in records, study.json, or a sentence about a file."""
    edited('"dtp"', json.dumps(f"dtp{ESCAPE}"))(folder)
    study(ending=ESCAPE)
    (folder / "trials/equal0.jsonl").write_text("\x9b31m")
    for arguments in (["report", "study"], ["report", "study", "--format", "csv"], ["report", f"no{ESCAPE}"]):
        printed = hardfirst(*arguments, code=2 if arguments[1].startswith("no") else 0)
        assert not {"\x1b", "\x9b", "\x07"} & set(printed)
        assert "]0;title" in printed
    assert "\x1b" not in Path("study/report.html").read_text().partition("<script")[0]


def test_a_measurement_too_large_to_compute_with_is_written_as_infinite(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "run.jsonl")
    writer.trial({"problem": "toy", "balancer": "equal", "seed": 0}, ["a"])
    losses = (LARGEST_NUMBER, 2 * LARGEST_NUMBER, -1e308)
    for epoch, loss in enumerate(losses, start=1):
        writer.epoch(epoch, seconds=1.0, learning_rate=0.1, tasks={"a": {"loss": loss}})
    assert str(read(tmp_path / "run.jsonl").curve("a", "loss")) == "[1e+100, nan, nan]"


def test_a_resumed_record_of_many_epochs_is_read_in_one_pass(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    Writer(path).trial({"problem": "toy", "balancer": "equal", "seed": 0}, ["a"])
    line = '{"kind": "epoch", "epoch": 1, "seconds": 1, "learning_rate": 1, "tasks": {}}\n'
    path.write_text(path.read_text() + 5000 * line)
    Writer(path, keep_epochs=4000)
    assert len(read(path).epochs) == 4000


@pytest.mark.parametrize("arguments", [["report", "study"], ["list"]])
def test_a_terminal_without_unicode(folder: Path, arguments: list[str]) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "hardfirst", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=100)
    assert done.stdout
    assert done.stdout.isascii()


@pytest.mark.skipif(sys.platform != "linux", reason="names on other systems are Unicode")
def test_a_name_that_is_no_text(hardfirst: Callable[..., str], folder: Path) -> None:
    printed = hardfirst("compare", "digits", "--out", os.fsdecode(b"bad\xff"), code=2)
    assert "is not valid UTF-8" in printed
    assert "rename the file or folder" in printed


def test_a_case_without_a_method_is_refused(folder: Path) -> None:
    study(role="control")
    with pytest.raises(InputError, match="No run of a method"):
        Comparison.read(folder)
