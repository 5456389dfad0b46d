"""Orders of tasks: measured, compared, tested by permutation, and shown."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hardfirst.errors import InputError
from hardfirst.problems import load_problem
from hardfirst.records.names import EASY_FIRST as EASY
from hardfirst.records.names import HARD_FIRST as HARD
from hardfirst.report import Comparison
from hardfirst.statistics import mean_interval, number_text, position_effects, position_test
from hardfirst.studies import Plan
from hardfirst.studies.kinds.orders import latin_square, sample
from hardfirst.study import Study

TASKS = ("plain", "product", "noise")
PROBLEM = """
import torch
from torch import nn
from hardfirst.kpi import accuracy
from hardfirst.networks import HardSharing, Parts, number_head, vector_layer
from hardfirst.problems import Problem, Splits, Task, TensorTable

NAMES = ("plain", "product", "noise")

def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(128, 6, generator=generator)
    targets = {
        "plain": (inputs[:, 0] > 0).float(),
        "product": (inputs[:, 1] * inputs[:, 2] > 0).float(),
        "noise": (torch.rand(128, generator=generator) > 0.5).float(),
    }
    table = TensorTable(inputs, targets)
    return Splits(table, table, table)

def network():
    return HardSharing(nn.Sequential(nn.Linear(6, 8), nn.ReLU()), {name: number_head(8) for name in NAMES})

def parts():
    return Parts(nn.Identity, 6, vector_layer, width=10, depth=2, heads=dict.fromkeys(NAMES, number_head))

def problem():
    loss = nn.functional.binary_cross_entropy_with_logits
    tasks = tuple(Task(name, loss, accuracy) for name in NAMES)
    return Problem("tiny", tasks, network, data, batch_size=32, epochs=6, learning_rate=0.02, parts=parts)
"""


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("problem") / "tiny.py"
    path.write_text(PROBLEM)
    return str(path)


@pytest.fixture(scope="module")
def folder(problem: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study")
    Study(problems=problem, orders=True, seeds=3, workers=2).run(path)
    return path


@pytest.fixture(scope="module")
def comparison(folder: Path) -> Comparison:
    return Comparison.read(folder)


# What is run


def test_all_orders_and_hard_sharing_share_the_seeds(comparison: Comparison) -> None:
    (case,) = comparison.cases
    assert case.baseline == "hard_sharing"
    assert set(case.methods) == {"hard_sharing", HARD, EASY}
    assert set(case.orders.values()) == set(itertools.permutations(TASKS))
    for method, order in case.orders.items():
        assert [record.trial["seed"] for record in case.of(method)] == [0, 1, 2]
        assert {record.trial["network"] for record in case.of(method)} == {f"task_hierarchy:order={'+'.join(order)}"}
        assert method == " → ".join(order)
    assert {record.trial["balancer"] for record in case.runs.values()} == {"equal"}
    sizes = {record.parameters for record in case.runs.values()}
    assert max(sizes) < 1.2 * min(sizes)


def test_hard_first_follows_the_validation_kpis_of_hard_sharing(comparison: Comparison) -> None:
    (case,) = comparison.cases
    kpis = {task: np.mean([run.validation_kpi(task) for run in case.of("hard_sharing")]) for task in TASKS}
    hard = tuple(sorted(TASKS, key=lambda task: kpis[task]))
    assert hard[-1] == "plain"
    assert case.of(HARD)[0] is case.runs[" → ".join(hard), 0]
    assert case.of(EASY)[0] is case.runs[" → ".join(hard[::-1]), 0]


def test_up_to_four_tasks_all_orders_and_a_latin_square_beyond() -> None:
    assert len(sample("abcd")) == 24
    for count in range(5, 11):
        tasks = "abcdefghij"[:count]
        orders = sample(tasks)
        assert orders == latin_square(tasks)
        assert len(orders) == count
        for place in range(count):
            assert {order[place] for order in orders} == set(tasks)
        follows = [pair for order in orders for pair in itertools.pairwise(order)]
        assert len(set(follows)) == len(follows) or count % 2, "of an even number each task follows each other one once"


def test_what_cannot_be_ordered_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(PROBLEM.replace(", parts=parts)", ")"))
    (tmp_path / "one.py").write_text(PROBLEM.replace('("plain", "product", "noise")', '("plain",)'))
    with pytest.raises(InputError, match="tiny has no parts, of which a task hierarchy could be made"):
        Plan(problems=str(tmp_path / "bare.py"), orders=True)
    with pytest.raises(InputError, match="tiny has one task, and so no order of tasks"):
        Plan(problems=str(tmp_path / "one.py"), orders=True)


# What is said and shown


def test_the_verdict_tells_of_places_and_of_difficulty(comparison: Comparison) -> None:
    text = " ".join(comparison.verdict)
    assert re.search(
        r"(No task's place|Its place) in the order makes a difference .*permutation p, Holm-corrected over 3", text
    )
    assert "Hard tasks first is " in text
    (case,) = comparison.cases
    difference = (case.points(HARD) - case.points(EASY)).mean(axis=1)
    shown = number_text(mean_interval(difference).mean, "+z.1f")
    assert f"on the mean over tasks: {shown} points" in text
    assert "equal weights" not in text
    first = comparison.html().partition('class="lead">')[2].partition("</p>")[0]
    assert re.match("<b>The order of tasks (is not shown to matter to any of 3 tasks|matters to )", first)
    assert f"Hard tasks first − easy tasks first: {shown} " in re.sub("<[^>]*>", "", first)


def test_the_page_has_places_and_the_contrast(comparison: Comparison) -> None:
    page = comparison.html()
    assert "<h2>What a task&#39;s place does to it</h2>" in page
    assert "<h2>Hard tasks first, or easy ones?</h2>" in page
    assert "all that there are" in page
    assert "static weights" not in page
    chart = comparison.figures["places"]
    panels = [annotation.text for annotation in chart.layout.annotations]
    assert sorted(panels) == sorted(TASKS)
    (case,) = comparison.cases
    points = np.stack([case.points(method)[:, 0] for method in case.orders], axis=1)
    first = [order.index("plain") == 0 for order in case.orders.values()]
    effect = (points[:, first].mean(axis=1) - points.mean(axis=1)).mean()
    assert chart.data[panels.index("plain")].y[0] == pytest.approx(effect)
    assert "weights" not in comparison.figures


def test_what_has_come_so_far_is_shown(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    about = json.loads((tmp_path / "study.json").read_text())
    keys = {entry["key"] for entry in about["cases"][0]["trials"] if entry["method"] == "hard_sharing"}
    orders = sorted((tmp_path / "trials").glob("*.jsonl"))
    for path in orders[:3]:
        if path.stem not in keys:
            path.unlink()
    assert "Orders of tasks on tiny" in Comparison.read(tmp_path).html()
    for key in keys:
        (tmp_path / "trials" / f"{key}.jsonl").unlink()
    for path in (tmp_path / "trials").glob("*.jsonl"):
        path.unlink()
    with pytest.raises(InputError, match=r"No run of a method of the study in .* has ended yet"):
        Comparison.read(tmp_path)


# The statistics


def naive_effects(kpis: list[list[float]], places: list[int]) -> list[float]:
    effects = []
    for place in sorted(set(places)):
        each = []
        for row in kpis:
            here = [kpi for kpi, at in zip(row, places, strict=True) if at == place and not np.isnan(kpi)]
            known = [kpi for kpi in row if not np.isnan(kpi)]
            each.append(sum(here) / len(here) - sum(known) / len(known))
        effects.append(sum(each) / len(each))
    return effects


def test_effects_are_means_of_differences_within_a_seed() -> None:
    kpis = np.random.default_rng(1).random((3, 6)).tolist()
    kpis[1][2] = float("nan")
    places = [0, 0, 1, 1, 2, 2]
    effects = position_effects(kpis, places)
    assert [effect.mean for effect in effects] == pytest.approx(naive_effects(kpis, places))
    assert all(effect.n == 3 and effect.low < effect.mean < effect.high for effect in effects)


def exact(row: list[float], places: list[int]) -> float:
    """The p-value over all permutations of one seed's KPIs."""

    def spread(values: tuple[float, ...]) -> float:
        centred = np.array(values) - np.mean(values)
        groups = [centred[np.array(places) == place] for place in set(places)]
        return float(sum(len(group) * group.mean() ** 2 for group in groups))

    least = spread(tuple(row)) - 1e-12
    every = [spread(values) >= least for values in itertools.permutations(row)]
    return sum(every) / len(every)


@pytest.mark.parametrize("seed", range(4))
def test_the_test_is_the_permutation_test(seed: int) -> None:
    row = np.random.default_rng(seed).random(6).tolist()
    places = [0, 0, 1, 1, 2, 2]
    assert position_test([row], places) == pytest.approx(exact(row, places), abs=0.02)


def test_the_test_permutes_within_seeds() -> None:
    """A difference between seeds is no difference between places; one within each seed is."""
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.01, (4, 6))
    places = [0, 0, 0, 1, 1, 1]
    assert position_test(noise + np.arange(4)[:, None], places) > 0.05
    assert position_test(noise + np.arange(4)[:, None] + 0.05 * np.array(places), places) < 0.001


def test_under_the_null_p_is_uniform() -> None:
    generator = np.random.default_rng(2)
    places = list(range(3)) * 2
    p_values = np.array([position_test(generator.normal(size=(2, 6)), places) for _ in range(200)])
    assert 0.01 <= (p_values <= 0.05).mean() <= 0.1
    assert 0.4 < p_values.mean() < 0.6


def test_runs_that_are_missing_stay_missing() -> None:
    kpis = np.array([[1.0, np.nan, 3.0, 2.0], [np.nan] * 4])
    effects = position_effects(kpis, [0, 0, 1, 1])
    assert [(effect.mean, effect.n) for effect in effects] == [(-1.0, 1), (0.5, 1)]
    assert position_test(kpis, [0, 0, 1, 1]) == pytest.approx(2 / 3, abs=0.02), "1 or 3 on its own"
    assert np.isnan(position_test(kpis[1:], [0, 0, 1, 1]))
    with pytest.raises(InputError, match=r"Expected `kpis` as \[seeds, orders\] and `positions` as \[orders\]"):
        position_test([1.0, 2.0], [0, 1])


# An order that measured KPIs decide


def test_a_comparison_measures_the_order_first(problem: str, tmp_path: Path) -> None:
    networks = "hard_sharing,task_hierarchy:order=hard_first"
    study = Study(problems=problem, networks=networks, balancers="equal", baselines=False, seeds=2, workers=2)
    comparison = study.run(tmp_path)
    hard, hierarchy = comparison.cases
    assert (hard.network, hierarchy.network) == ("hard_sharing", "task_hierarchy:order=hard_first")
    orders = {record.trial["network"] for record in hierarchy.runs.values()}
    assert len(orders) == 1
    assert next(iter(orders)).endswith("+plain")
    entries = json.loads((tmp_path / "study.json").read_text())["cases"][1]["trials"]
    assert [(entry["role"], entry["tuning"]) for entry in entries] == [("order", True), ("method", False), ("method", False)]
    assert hierarchy.tuning == {}, "the run that measures is no tuning of a method"
    measured = json.loads((tmp_path / "trials" / f"{entries[0]['key']}.jsonl").read_text().splitlines()[0])["trial"]
    assert (measured["network"], measured["test"]) == ("own", False)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()}
    study.run(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").iterdir()} == before


def test_training_measures_the_order_once(problem: str, hardfirst: Callable[..., str]) -> None:
    command = ("train", problem, "--balancer", "equal", "--network", "task_hierarchy", "--order", "hard_first")
    first = hardfirst(*command, "--epochs", "2")
    assert "measures how hard each task is" in first
    assert re.search(r"Network: task_hierarchy:order=\w+\+\w+\+\w+", first)
    runs = sorted(Path("runs").glob("train-tiny-*/trials/*.jsonl"))
    assert len(runs) == 2
    easy = hardfirst(*command[:-1], "easy_first", "--epochs", "2", "--criterion", "0.5*mean+0.5*hard")
    again = sorted(Path("runs").glob("train-tiny-*/trials/*.jsonl"))
    assert len(again) == 3, "the measuring run serves both"

    def order(text: str) -> list[str]:
        match = re.search(r"Network: task_hierarchy:order=(\S+)", text)
        assert match
        return match[1].split("+")

    assert order(first) == order(easy)[::-1]
    assert re.search(r"Criterion: 0.5\*mean\+0.5\*(noise|product|\(product,noise\))$", easy, re.MULTILINE)


def test_an_order_is_given_by_names(problem: str, hardfirst: Callable[..., str]) -> None:
    command = ("train", problem, "--balancer", "equal", "--epochs", "1", "--out", "here")
    hardfirst(*command, "--network", "task_hierarchy:width=4", "--order", "noise, plain,product")
    (path,) = Path("here/trials").glob("*.jsonl")
    first = json.loads(path.read_text().splitlines()[0])
    assert first["trial"]["network"] == "task_hierarchy:order=noise+plain+product,width=4"


def test_wrong_networks_get_a_sentence(problem: str, hardfirst: Callable[..., str]) -> None:
    command = ("train", problem, "--epochs", "1")
    assert "did you mean 'width'?" in hardfirst(*command, "--network", "mmoe:widht=3", code=2)
    assert "Expected `width` to be a whole number" in hardfirst(*command, "--network", "mmoe:width=wide", code=2)
    compared = hardfirst("compare", problem, "--networks", "own,mmoee", code=2)
    assert "Unknown network of problem 'tiny': 'mmoee'" in compared


def test_the_order_study_is_planned_by_its_command(problem: str, hardfirst: Callable[..., str]) -> None:
    printed = hardfirst("study", "order", problem, "--seeds", "2", "--epochs", "1", "--criterion", "worst", "--dry-run")
    assert "criterion: worst" in printed
    assert re.search(r"hard_sharing\W+0\W+2", printed)
    assert re.search(r"orders of tasks\W+0\W+12", printed)
    assert load_problem(problem).parts is not None
    options = ("--seeds", "1", "--epochs", "1", "--workers", "2", "--keep", "--log", "tensorboard")
    printed = hardfirst("study", "order", problem, *options)
    assert len(list(Path("runs/tiny-order/models").glob("*.pt"))) == 9
    assert len(list(Path("runs/tiny-order/tensorboard").iterdir())) == 7
    assert "The order of tasks is not shown to matter to any of 3 tasks." in printed
    assert "Hard tasks first − easy tasks first: " in printed
    assert Path("runs/tiny-order/report.html").exists()
    assert re.search(r"orders of tasks\W+6/6", printed)
    assert "7/7 runs" in printed
