"""The trained networks that a study keeps."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

import hardfirst
from hardfirst.errors import InputError
from hardfirst.records import Record
from hardfirst.studies import Ended, Plan, Runner
from hardfirst.studies.executors.worker import run_assignment
from hardfirst.studies.kept import sentences
from hardfirst.training import trial_key
from toy_study import Scripted, plan, problem


def run(folder: Path, *, keep: bool, **settings: object) -> Runner:
    runner = Runner(Plan(**plan(problem(folder), workers=1, **settings)), folder / "out", keep=keep)
    runner.run()
    return runner


def record_of(runner: Runner, path: Path) -> Record:
    record = runner.store.find(trial_key(hardfirst.load(path).settings))
    assert record is not None
    return record


@pytest.mark.slow
@pytest.mark.parametrize("vectorize", [True, False], ids=["together", "alone"])
def test_the_network_of_the_best_run_is_kept_and_survives_a_second_call(tmp_path: Path, vectorize: bool) -> None:
    settings = {"balancers": "equal,dtp" if vectorize else "equal,pcgrad", "vectorize": vectorize}
    runner = run(tmp_path, keep=True, **settings)
    for kept in runner.kept:
        assert kept.path == tmp_path / "out/models" / f"{kept.method}.pt"
        record = record_of(runner, kept.path)
        runs = [each for _, each in runner.store.records() if each.trial["balancer"] == kept.method]
        assert (record.selected()[1], record.trial["seed"]) == (max(each.selected()[1] for each in runs), kept.seed)
        assert len(runs) == 2
        outputs, test = hardfirst.load(kept.path).outputs, hardfirst.load(kept.path).problem.data().test  # type: ignore[union-attr]
        assert ((outputs(test.inputs)["a"] > 0) == (test.targets["a"] > 0)).float().mean() == record.test_kpi("a")
    assert not list((tmp_path / "out/trials").glob("*.pt"))
    assert run(tmp_path, keep=True, **settings).kept == runner.kept


WITH_PARTS_AND_LOSSES = """
from dataclasses import replace
from hardfirst.networks import Parts, vector_layer
from hardfirst.problems import LossOption

toy = problem

def parts():
    return Parts(nn.Identity, 4, vector_layer, width=8, depth=2, heads={"a": number_head, "b": number_head})

def problem():
    option = LossOption(nn.functional.binary_cross_entropy_with_logits)
    a, b = toy().tasks
    return replace(toy(), tasks=(replace(a, losses={"plain": option, "other": option}), b), parts=parts, epochs=1)
"""


@pytest.mark.parametrize(
    ("settings", "both", "single"),
    [
        (
            {"balancers": "dtp", "tune": 0},
            "equal, dtp, easy first, raw weights, frozen average, static weights (mean), static weights (worst task)",
            {"single-task a": "a", "single-task b": "b"},
        ),
        ({"orders": True}, "hard_sharing, a → b, b → a, hard_first, easy_first", {}),
        ({"losses": "plain,other", "tune": 0}, "", {"plain": "a", "other": "a"}),
    ],
    ids=["baselines and controls", "orders", "losses"],
)
def test_everything_that_a_study_compares_is_kept(
    tmp_path: Path, settings: dict[str, object], both: str, single: dict[str, str]
) -> None:
    path = Path(problem(tmp_path))
    path.write_text(path.read_text() + WITH_PARTS_AND_LOSSES)
    plan = Plan(**{"problems": str(path), "seeds": 1, "cost": False, **settings})
    runner = Runner(plan, tmp_path / "out", keep=True)
    runner.executor = Scripted(lambda each, _: Ended(each.key, run_assignment(each, torch.get_num_threads())))
    runner.run()
    tasks = {each.method: hardfirst.load(each.path).tasks for each in runner.kept if each.path is not None}
    expected = {name: ("a", "b") for name in both.split(", ") if name}
    assert tasks == expected | {name: (task,) for name, task in single.items()}
    assert len({each.path for each in runner.kept}) == len(tasks)


@pytest.mark.slow
def test_what_had_ended_before_cannot_be_kept(tmp_path: Path) -> None:
    assert run(tmp_path, keep=False, seeds=1).kept == []
    kept = run(tmp_path, keep=True, seeds=1).kept
    assert [each.path for each in kept] == [None, None]
    assert "best runs had ended before --keep was given: equal (seed 0), dtp (seed 0)." in sentences(kept)[0]


def test_an_engine_without_the_folder_cannot_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardfirst.studies.executors.local.Local.shares_folder", False)
    with pytest.raises(InputError, match="The engine local trains where the study's folder may not be"):
        run(tmp_path, keep=True)


@pytest.mark.slow
def test_a_study_that_is_stopped_keeps_what_had_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hardfirst.studies.runner.keep_best", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, keep=True, seeds=1)
    kept = run(tmp_path, keep=True, seeds=2).kept
    assert all(each.path is not None and each.path.exists() for each in kept)
