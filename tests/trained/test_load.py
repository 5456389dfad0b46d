"""Trained networks: what is saved, loaded and predicted with them, and what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hardfirst
from hardfirst import records
from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.training import Trial, fit, fit_together
from toy_study import problem as toy

LAZY = """
import torch
from torch import nn
from hardfirst.kpi import within
from hardfirst.networks import HardSharing, number_head
from hardfirst.problems import Problem, Splits, Task, TensorTable

def problem():
    inputs = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    table = TensorTable(inputs, {"sum": inputs.sum(1)})
    trunk = lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU())
    kpi = lambda output, target: within(output, target, threshold=0.5)
    network = lambda: HardSharing(trunk(), {"sum": number_head(8)})
    return Problem("lazy", [Task("sum", nn.functional.mse_loss, kpi)], network, lambda: Splits(table, table, table),
                   epochs=2, inputs_from=torch.load)
"""


def trained(folder: Path, name: str, **settings: Any) -> records.Record:
    trial = Trial.plan(name, Spec.parse("dtp"), **settings)
    return fit(trial, record_file=folder / "record.jsonl", model=folder / "model.pt", accelerator="cpu")


def kpis(network: hardfirst.trained.TrainedNetwork) -> dict[str, float]:
    assert network.problem is not None
    test = network.problem.data().test
    outputs = network.outputs(test.inputs)  # type: ignore[union-attr]
    measures = {task.name: task.kpi_of_batch for task in network.problem.tasks}
    return {name: float(kpi(outputs[name], test.targets[name])) for name, kpi in measures.items()}  # type: ignore[misc, union-attr]


@pytest.mark.parametrize(
    "settings",
    [{}, {"recipe": {"average": 0.5}}, {"recipe": {"precision": "bf16-mixed"}}],
    ids=["plain", "average", "16 bits"],
)
def test_a_loaded_network_has_the_test_figures_of_its_record(tmp_path: Path, settings: dict[str, Any]) -> None:
    record = trained(tmp_path, toy(tmp_path), seed=3, learning_rate=0.05, **settings)
    loaded = hardfirst.load(tmp_path)
    assert kpis(loaded) == {task: record.test_kpi(task) for task in record.tasks}
    assert loaded.epoch == record.selected()[0]
    assert loaded.settings == record.trial
    assert not loaded.network.training


def test_each_of_several_runs_that_are_trained_together_has_its_own_network(tmp_path: Path) -> None:
    name = toy(tmp_path)
    base = Trial.plan(name, Spec.parse("equal"), learning_rate=0.05)
    trials = [replace(base, only=task, seed=seed) for task, seed in [("b", 0), ("a", 1), ("a", 0), ("b", 1)]]
    files = [tmp_path / f"{number}.jsonl" for number in range(4)]
    models = [path.with_suffix(".pt") for path in files]
    for record, path in zip(fit_together(trials, record_files=files, models=models, accelerator="cpu"), models, strict=True):
        loaded = hardfirst.load(path)
        assert loaded.settings == record.trial
        assert kpis(loaded) == {task: record.test_kpi(task) for task in record.tasks}


def test_runs_that_are_trained_together_keep_a_network_each(tmp_path: Path) -> None:
    name = toy(tmp_path)
    trials = [
        Trial.plan(name, Spec.parse(method), seed=seed, learning_rate=0.05) for method, seed in [("dtp", 0), ("equal", 1)]
    ]
    files = [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    written = fit_together(trials, record_files=files, models=[tmp_path / "0.pt", None], accelerator="cpu")
    loaded = hardfirst.load(tmp_path / "0.pt")
    assert kpis(loaded) == {task: written[0].test_kpi(task) for task in "ab"}
    assert loaded.settings["seed"] == 0
    assert not (tmp_path / "1.pt").exists()


def test_lazy_layers_and_inputs_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lazy.py"
    path.write_text(LAZY)
    record = trained(tmp_path, str(path))
    loaded = hardfirst.load(tmp_path / "model.pt")
    assert kpis(loaded) == {"sum": record.test_kpi("sum")}
    inputs = torch.rand(1030, 3)  # two batches
    torch.save(inputs, tmp_path / "inputs.pt")
    torch.testing.assert_close(loaded.predict(tmp_path / "inputs.pt")["sum"], loaded.network(inputs)["sum"].detach())


def test_a_network_of_one_task_and_of_another_architecture(tmp_path: Path) -> None:
    trial = Trial.plan("digits", Spec.parse("equal"), network="wide", epochs=1)
    single = Trial(**{**vars(trial), "only": "left"})
    fit(single, record_file=tmp_path / "r.jsonl", model=tmp_path / "model.pt", accelerator="cpu")
    loaded = hardfirst.load(tmp_path)
    assert loaded.tasks == ("left",)
    assert set(loaded.outputs(loaded.example_inputs())) == {"left"}


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (torch.rand(4, 3), "4x3 and 4x8"),
        (torch.rand(0, 4), r"at least one example, the same number in each tensor; got \[0\]"),
        ("new.csv", "does not say how inputs are read from a file"),
        ([[1.0, 2.0]], "Expected inputs to be a tensor"),
    ],
    ids=["shape", "none", "file", "list"],
)
def test_inputs_that_are_none_of_the_network(tmp_path: Path, inputs: Any, text: str) -> None:
    trained(tmp_path, toy(tmp_path))
    with pytest.raises(InputError, match=text):
        hardfirst.load(tmp_path).predict(inputs)


def test_a_problem_that_has_changed_is_loaded_where_it_is_named(tmp_path: Path) -> None:
    name = toy(tmp_path)
    trained(tmp_path, name)
    with Path(name).open("a") as file:
        file.write("# changed\n")
    with pytest.raises(InputError, match=r"toy\.py has changed since .*model\.pt was trained\. Restore it; or"):
        hardfirst.load(tmp_path)
    assert hardfirst.load(tmp_path, problem=name).tasks == ("a", "b")
    Path(name).write_text(
        Path(name).read_text().replace("nn.Linear(4, 8)", "nn.Linear(4, 9)").replace("_head(8)", "_head(9)")
    )
    with pytest.raises(InputError, match=r"do not fit the network of 'toy' as it is now: .* was \[8, 4\]"):
        hardfirst.load(tmp_path, problem=name)


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, weights_only=True)
    content["about"] = json.loads(content["about"])
    change(content)
    content["about"] = json.dumps(content["about"]) if isinstance(content["about"], dict) else content["about"]
    torch.save(content, path)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: torch.save({"code": print}, path), "could run code"),
        (lambda path: torch.save({"best": {}}, path), "is no trained network"),
        (lambda path: changed(path, lambda content: content.update(format=2)), "written by a newer hardfirst"),
        (lambda path: changed(path, lambda content: content.update(about="{}")), "does not say what was trained"),
        (lambda path: changed(path, lambda content: content.update(weights=[])), "does not say what was trained"),
        (lambda path: changed(path, lambda content: content["about"].update(tasks=[{}])), "does not say what was trained"),
        (lambda path: changed(path, lambda content: content["about"].update(tasks=["c"])), "was trained for the tasks c"),
        (lambda path: changed(path, lambda content: content["about"].update(problem="dgits")), "Unknown problem 'dgits'"),
        (lambda path: changed(path, lambda content: content["weights"].popitem()), "do not fit the network"),
        (lambda path: path.unlink(), "There is no trained network in"),
    ],
    ids=["cut", "empty", "code", "other", "newer", "about", "weights", "names", "tasks", "problem", "fewer", "none"],
)  # fmt: skip
def test_damaged_and_hostile_files_get_a_sentence(tmp_path: Path, damage: Callable[[Path], None], text: str) -> None:
    trained(tmp_path, toy(tmp_path))
    damage(tmp_path / "model.pt")
    with pytest.raises(InputError, match=text):
        hardfirst.load(tmp_path)


def test_the_command_predicts_and_says_what_it_cannot_write(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "lazy.py").write_text(LAZY)
    printed = hardfirst("train", "lazy.py", "--out", "run", "--balancer", "equal")
    assert "The trained network: run/model.pt" in printed
    torch.save(torch.rand(3, 3), tmp_path / "new.pt")
    assert "The predictions of 3 examples: predictions.csv" in hardfirst("predict", "run", "new.pt")
    header, *rows = (tmp_path / "predictions.csv").read_text().splitlines()
    assert (header, len(rows)) == ("sum", 3)
    assert "There is no file or folder other" in hardfirst("predict", "other", "new.pt", code=2)
