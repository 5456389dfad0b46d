"""Studies that compare the losses of a task: what is run, decided and shown."""

import json
import re
from pathlib import Path

import pytest

from hardfirst.balancers import Spec
from hardfirst.errors import InputError
from hardfirst.problems import load_problem
from hardfirst.report import Comparison, summary
from hardfirst.study import Study
from hardfirst.training import Trial

PROBLEM = """
from functools import partial
import torch
from torch import nn
from hardfirst.functional import sigmoid_focal_loss
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing
from hardfirst.problems import LossOption, Metric, Problem, Splits, Task, TensorTable
from hardfirst.records import LossShare

def data():
    inputs = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
    table = TensorTable(inputs, {"rare": (inputs[:, 0] > 1).float(), "other": (inputs[:, 1] > 0).float()})
    return Splits(table, table, table)

def network():
    return HardSharing(nn.Linear(4, 8), {name: nn.Sequential(nn.Linear(8, 1), nn.Flatten(0)) for name in ("rare", "other")})

def focal(output, target, gamma=0.0):
    return sigmoid_focal_loss(output, target, gamma=gamma, alpha=None).mean()

def wrong(output, target):
    return -focal(output, target)

def share(output, target, objects):
    losses = sigmoid_focal_loss(output, target, gamma=0, alpha=None)[target == objects]
    return losses.topk(len(losses) // 10).values.sum() / losses.sum()

def metrics(under=None):
    return {
        f"top tenth of {kind} ({under})": Metric(
            partial(share, objects=objects), test_only=True, share=LossShare(10, kind, under)
        )
        for kind, objects in (("objects", 1), ("background", 0))
    }

def problem():
    losses = {
        "plain": LossOption(focal, metrics()),
        "focal": LossOption(partial(focal, gamma=2.0), {**metrics(), **metrics("plain")}),
        "wrong": LossOption(wrong),
    }
    tasks = (Task("rare", focal, accuracy, losses=losses), Task("other", focal, accuracy))
    return Problem("tiny", tasks, network, data, batch_size=16, epochs=4, learning_rate=0.03)
"""


@pytest.fixture
def problem(tmp_path: Path) -> str:
    path = tmp_path / "tiny.py"
    path.write_text(PROBLEM)
    return str(path)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.py").write_text(PROBLEM)
    return Study(problems=str(folder / "tiny.py"), losses="plain,focal,wrong", seeds=7, workers=2).run(folder / "out")


def test_each_loss_is_trained_alone_with_the_same_seeds(comparison: Comparison) -> None:
    runs = comparison.runs
    assert set(runs.task) == {"rare"}
    assert {(method, seed) for method, seed in zip(runs.method, runs.seed, strict=True)} == {
        (method, seed) for method in ("plain", "focal", "wrong") for seed in range(7)
    }
    (case,) = comparison.cases
    assert case.baseline == "plain"
    assert case.methods[0] == "plain"
    assert {record.trial["loss"] for record in case.of("focal")} == {"focal"}
    assert {record.trial["only"] for record in case.of("focal")} == {"rare"}


def test_the_verdict_is_on_the_task_against_the_first_loss(comparison: Comparison) -> None:
    text = " ".join(comparison.verdict)
    assert "wrong is below plain on rare by" in text
    assert "Plain was not beaten on rare." in text or "focal beats plain on rare" in text
    assert "worst task" not in text
    assert "equal weights" not in text
    assert [row.kind for row in summary(comparison.cases[0]).rows] == ["task"]
    assert comparison.html().partition('class="lead">')[2].startswith("<b><code>focal</code> raises <code>rare</code>") or (
        "No loss is better than plain" in comparison.html()
    )


def test_the_page_shows_stability_and_where_losses_are_spent(comparison: Comparison) -> None:
    page = comparison.html()
    for heading in (
        "<h2>Stability</h2>",
        "<h2>Where each loss is spent</h2>",
        "<h2>Where the losses would be spent, on the networks of focal</h2>",
    ):
        assert heading in page
    assert "equal weights" not in re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
    assert "top tenth" not in page.partition("<h2>Field metrics</h2>")[2].partition("</details>")[0]
    charts = comparison.figures
    own = charts["own-shares"]
    assert [trace.name for trace in own.data] == ["plain", "focal"] * 2
    record = comparison.cases[0].of("plain")
    expected = sum(r.test["tasks"]["rare"]["metrics"]["top tenth of objects (None)"] for r in record) / len(record)
    assert own.data[0].y[0] == pytest.approx(100 * expected)
    assert "weights" not in charts


def test_costly_metrics_are_of_the_test_split_alone(comparison: Comparison) -> None:
    record = comparison.cases[0].of("plain")[0]
    assert record.test is not None
    assert "top tenth of objects (None)" in record.test["tasks"]["rare"]["metrics"]
    assert record.epochs[0]["tasks"]["rare"]["validation_metrics"] == {}


def test_every_loss_gets_the_same_learning_rates_to_choose_from(problem: str, tmp_path: Path) -> None:
    study = Study(problems=problem, losses="plain,focal", seeds=1, tune=2, epochs=1, learning_rates=(0.001, 0.1), workers=2)
    comparison = study.run(tmp_path / "tuned")
    tried = {
        method: [record.trial["learning_rate"] for record in runs] for method, runs in comparison.cases[0].tuning.items()
    }
    assert tried == {"plain": [0.001, 0.1], "focal": [0.001, 0.1]}
    assert all(record.test is None for runs in comparison.cases[0].tuning.values() for record in runs)


def test_a_loss_is_part_of_the_trials_key(problem: str) -> None:
    loaded = load_problem(problem)
    base = Trial.plan(problem, Spec.parse("equal"), loaded=loaded)
    keys = {
        json.dumps([only, loss]): Trial(**{**vars(base), "only": only, "loss": loss})
        for only, loss in ((None, None), ("rare", None), ("rare", "plain"), ("rare", "focal"))
    }
    assert len({trial.key(trial.of(loaded)) for trial in keys.values()}) == 4


def test_a_loss_is_given_once(problem: str) -> None:
    with pytest.raises(InputError, match="'plain' is given twice"):
        Study(problems=problem, losses="plain,plain")
