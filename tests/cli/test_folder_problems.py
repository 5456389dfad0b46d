"""Commands on problems that read a folder."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

import toy_folder
from hardfirst.problems import FIELDS, digest
from hardfirst.records import read
from hardfirst.studies import Plan, runner
from hardfirst.studies.executors import EngineSpec
from hardfirst.studies.executors.base import Ended
from hardfirst.studies.executors.worker import run_assignment
from toy_study import Scripted

Hardfirst = Callable[..., str]
COMPARE = ("compare", "toy", "--data", "my data; 50%", "--balancers", "equal,dtp", "--seeds", "2", "--epochs", "1")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The problem is known to this process alone, which therefore runs the trials itself."""
    toy_folder.register(monkeypatch)
    engine = Scripted(lambda assignment, _: Ended(assignment.key, run_assignment(assignment, torch.get_num_threads())))
    monkeypatch.setattr(EngineSpec, "build", lambda spec: engine)
    monkeypatch.setattr(runner, "run_alone", lambda job, what, tell, tables: job(tell))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_folder.write(tmp_path / "my data; 50%")


def records(study: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (study / "trials").glob("*.jsonl")}


def test_train(hardfirst: Hardfirst, folder: Path) -> None:
    said = hardfirst("train", "toy", "--data", folder.name, "--epochs", "1", "--out", "run")
    assert "at the best epoch on the validation split" in said
    (record,) = map(read, Path("run/trials").glob("*.jsonl"))
    assert record.trial["problem"] == "toy"
    assert record.trial["problem_sha256"] == digest(f"toy?data={folder}")
    assert "ended already" in hardfirst("train", "toy", "--data", folder.name, "--epochs", "1", "--out", "run", "--resume")


def test_a_key_does_not_depend_on_where_the_folder_lies(hardfirst: Hardfirst, folder: Path) -> None:
    hardfirst("train", "toy", "--data", folder.name, "--epochs", "1", "--out", "run")
    folder.rename(folder.with_name("elsewhere"))
    said = hardfirst("train", "toy?data=elsewhere", "--epochs", "1", "--out", "run", "--resume")
    assert "ended already" in said


def test_train_as_published(hardfirst: Hardfirst, folder: Path) -> None:
    said = hardfirst("train", "toy", "--data", folder.name, "--protocol", "published", "--out", "run")
    assert "Test split, mean over the last 2 epochs" in said
    assert "The trained network: run/model.pt" in said


def test_a_study_as_published(hardfirst: Hardfirst, folder: Path) -> None:
    said = hardfirst(*COMPARE, "--protocol", "published", "--format", "tex")
    assert "% Protocol published: nothing was held out, and test figures are those of the last epoch" in said
    page = Path("runs/toy/report.html").read_text()
    assert r"$\Delta$m over metrics against single-task" in said
    plan = yaml.safe_load(next(text for text in re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL) if "problems" in text))
    assert plan["protocol"] == "published"
    assert plan["problems"] == [f"toy?data={str(folder).replace(' ', '%20').replace(';', '%3B').replace('50%', '50%25')}"]
    assert Plan(**plan).protocol == "published"
    entries = [entry for case in json.loads(Path("runs/toy/study.json").read_text())["cases"] for entry in case["trials"]]
    assert {entry.get("role") for entry in entries} == {"method", "single", "control"}  # no weights from a grid


def test_a_study_that_was_stopped_goes_on(hardfirst: Hardfirst, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (*COMPARE, "--no-baselines", "--no-controls", "--no-vectorize", "--out")
    hardfirst(*whole, "whole")
    count = len(records(Path("whole")))
    started = 0

    def stops(assignment: object, _: int) -> Ended:
        nonlocal started
        started += 1
        if started == 3:
            raise KeyboardInterrupt
        return Ended(assignment.key, run_assignment(assignment, torch.get_num_threads()))  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(EngineSpec, "build", lambda spec: Scripted(stops))
        hardfirst(*whole, "stopped", code=130)
    before = records(Path("stopped"))
    assert len(before) == 2
    hardfirst(*whole, "stopped")
    after = records(Path("stopped"))
    assert after.keys() == records(Path("whole")).keys()
    assert len(after) == count
    assert all(after[name] == text for name, text in before.items())


def test_the_published_networks_as_reference(hardfirst: Hardfirst, folder: Path) -> None:
    said = hardfirst(*COMPARE, "--no-baselines", "--no-controls", "--reference", "published", "--format", "md")
    assert "| Δm over metrics against published single-task, %, lower is better |" in said


def test_lists(hardfirst: Hardfirst) -> None:
    _, with_folder = hardfirst("list", "problems").split("With --data DIR")
    _, data = hardfirst("data").split("With --data DIR")
    for name in FIELDS:
        assert f"\n  {name} " in with_folder
        assert re.search(rf"\b{re.escape(name)}\b", data)
    assert "  A toy." in with_folder


def test_data(hardfirst: Hardfirst, folder: Path) -> None:
    assert hardfirst("data", "toy", "--data", folder.name) == "60 + 21 rows\n"
    assert hardfirst("data", f"toy?data={folder.name}") == "60 + 21 rows\n"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("data", "toy", "--data", "missing"), 1, "There is no folder .*/missing for the data of toy. Expected DIR/"),
        (("data", "toy", "--data", "empty"), 1, "there is no train.npy"),
        (("data", "toy"), 2, "toy reads its data from a folder: add --data DIR"),
        (("data", "--data", "empty"), 2, "--data needs a problem"),
        (("data", "toys", "--data", "empty"), 2, "Unknown problem 'toys'; did you mean 'toy'"),
    ],
)
def test_data_of_a_wrong_folder(
    arguments: tuple[str, ...], code: int, sentence: str, hardfirst: Hardfirst, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    said = hardfirst(*arguments, code=code)
    assert re.search(sentence, said)
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"tune": 2}, "Nothing is held out for validation under `protocol` published, and tuning needs a validation split"),
        ({"balancers": "dtp:potential=stl"}, "potential=stl needs validation KPIs"),
        ({"networks": "task_hierarchy:order=hard_first"}, "the order of tasks in task_hierarchy:order=hard_first is taken"),
        ({"criterion": "mean+hard"}, "the hard tasks of the criterion mean\\+hard are taken"),
        ({"schedule": "plateau"}, "the schedule plateau follows"),
        ({"orders": True}, "a study of orders takes two of them"),
    ],
)
def test_what_a_study_as_published_cannot_do(settings: dict[str, object], sentence: str, folder: Path) -> None:
    plan = partial(Plan, problems=toy_folder.name(folder), **settings)
    assert plan().protocol == "held_out"
    with pytest.raises(ValueError, match=sentence):
        plan(protocol="published")
