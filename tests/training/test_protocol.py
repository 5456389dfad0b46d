"""Training under the protocol by which published figures were measured."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

import toy_folder
from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.problems import load_problem
from hardfirst.records import PublishedMeasure, Record
from hardfirst.training import Interrupted, NotVectorizable, Trial, fit, fit_together
from resumed_runs import Stop


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    toy_folder.register(monkeypatch)


@pytest.fixture
def name(tmp_path: Path) -> str:
    return toy_folder.name(tmp_path / "data")


def planned(name: str, **settings: Any) -> Trial:
    return Trial.plan(name, Spec.parse(settings.pop("balancer", "equal")), **{"protocol": "published"} | settings)


def trained(trial: Trial, tmp_path: Path, **settings: Any) -> Record:
    return fit(trial, record_file=tmp_path / "run.jsonl", accelerator="cpu", **settings)


def test_test_figures_are_means_over_the_last_epochs(name: str, tmp_path: Path) -> None:
    record = trained(planned(name), tmp_path)
    assert record.test is not None
    assert (record.test["epoch"], record.test["averaged"]) == (3, 2)
    last = [line["tasks"]["depth"] for line in record.epochs[-2:]]
    figures = record.test["tasks"]["depth"]
    assert figures["kpi"] == fmean(line["validation_kpi"] for line in last)
    assert figures["loss"] == fmean(line["validation_loss"] for line in last)
    assert figures["metrics"]["L1"] == fmean(line["validation_metrics"]["L1"] for line in last)
    assert figures["examples"] == 21
    assert record.selected()[0] == 3
    assert record.measures["depth"] == (PublishedMeasure("L1", False, 0.5),)


def test_fewer_epochs_than_that_all_count(name: str, tmp_path: Path) -> None:
    record = trained(planned(name, epochs=1), tmp_path)
    assert record.test is not None
    assert record.test["averaged"] == 1
    assert record.test_kpi("kind") == record.epochs[0]["tasks"]["kind"]["validation_kpi"]


def test_metrics_are_averaged_as_published(name: str, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    record = trained(planned(name, epochs=1), tmp_path, checkpoint=checkpoint)
    problem = load_problem(name)
    network, split = problem.network(), problem.published.data().test  # type: ignore[union-attr]
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["network"])
    errors = (network(split.inputs)["depth"].detach() - split.targets["depth"]).abs()  # type: ignore[union-attr]
    batches = [float(batch.mean()) for batch in errors.split(4)]
    assert len(batches) == 6
    assert record.test_metrics("depth")["L1"] == pytest.approx(fmean(batches))
    assert record.test_metrics("depth")["L1"] != pytest.approx(float(errors.mean()))


def test_a_run_that_was_stopped_ends_with_the_same_record(name: str, tmp_path: Path) -> None:
    whole = trained(planned(name), tmp_path, checkpoint=tmp_path / "whole.pt")
    checkpoint = tmp_path / "stopped.pt"
    with pytest.raises(Interrupted):
        trained(planned(name), tmp_path, checkpoint=checkpoint, watcher=Stop(3, 1))
    resumed = trained(planned(name), tmp_path, checkpoint=checkpoint, resume=True)
    assert resumed.test == whole.test
    best, last = (torch.load(checkpoint, weights_only=True)[which] for which in ("best", "network"))
    assert all(torch.equal(best[key], last[key]) for key in last)


def test_the_protocol_is_in_the_key_and_others_keep_theirs(name: str) -> None:
    problem = load_problem(name)
    published, held_out = planned(name), planned(name, protocol="held_out")
    settings = published.describe(published.of(problem))
    assert (settings["protocol"], settings["last_epochs"]) == ("published", 2)
    assert not {"protocol", "last_epochs"} & held_out.describe(held_out.of(problem)).keys()
    assert published.key(published.of(problem)) != held_out.key(held_out.of(problem))


def test_a_protocol_with_a_validation_split_chooses_the_epoch_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = toy_folder.problem

    def selecting(folder: Path) -> Any:
        problem = toy(folder)
        return replace(problem, published=replace(problem.published, last=None, data=problem.data))

    monkeypatch.setattr(toy_folder, "problem", selecting)
    record = trained(planned(name, balancer="dtp", epochs=2), tmp_path)
    assert record.test is not None
    assert "averaged" not in record.test
    assert record.trial["protocol"] == "published"
    assert not math.isnan(record.test_kpi("kind"))


def test_two_evaluation_splits_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = toy_folder.problem

    def two(folder: Path) -> Any:
        problem = toy(folder)
        return replace(problem, published=replace(problem.published, data=problem.data))

    monkeypatch.setattr(toy_folder, "problem", two)
    with pytest.raises(InputError, match=r"the same data set for validation and test, .* got two"):
        trained(planned(name), tmp_path)


def test_what_needs_a_validation_split_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"Nothing is held out .* the schedule plateau follows"):
        planned(name, recipe={"schedule": "plateau:patience=2"})
    with pytest.raises(InputError, match="the order of tasks in task_hierarchy:order=hard_first is taken"):
        planned(name, network="task_hierarchy:order=hard_first")
    with pytest.raises(InputError, match="Unknown protocol 'publish'; did you mean 'published'"):
        planned(name, protocol="publish")
    problem = load_problem(name)
    validated = replace(problem, tasks=tuple(replace(task, kpi_from="validation") for task in problem.tasks))
    with pytest.raises(InputError, match="dtp follows the validation KPIs of kind, depth"):
        planned(name, balancer="dtp", loaded=validated)
    assert planned(name, balancer="uncertainty", loaded=validated).protocol == "published"


def test_trials_are_trained_one_by_one(name: str, tmp_path: Path) -> None:
    trials = [planned(name, seed=seed) for seed in (0, 1)]
    with pytest.raises(NotVectorizable, match="one by one"):
        fit_together(trials, record_files=[tmp_path / "0.jsonl", tmp_path / "1.jsonl"])


def test_single_task_networks_have_the_measures_of_their_task(name: str, tmp_path: Path) -> None:
    record = trained(replace(planned(name, epochs=1), only="depth"), tmp_path)
    assert list(record.measures) == ["depth"]
