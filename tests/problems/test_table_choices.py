"""What can be chosen about a table: kinds and KPIs of its targets, its inputs, and how its rows are split."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.kpi import skipping
from hardfirst.problems import Problem, data_card, digest, load_problem, table_name, table_transform
from hardfirst.problems.tables import relocated
from hardfirst.problems.tables._data import epochs_of
from hardfirst.training import check_problem

ROWS = 400


def frame() -> pd.DataFrame:
    random = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "area": random.normal(100, 20, ROWS),
            "rooms": random.integers(1, 9, ROWS),
            "person": np.arange(ROWS) // 4,
            "day": pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%d"),
            "part": random.choice(["Train", "train", "dev", "test"], ROWS),
            "price": np.exp(random.normal(5, 1, ROWS)),
            "sold": random.choice(["yes", "no"], ROWS),
            "rare": random.choice(["fraud", "sound"], ROWS, p=[0.05, 0.95]),
            "cut": random.choice(["fair", "good", "ideal"], ROWS),
            "stars": random.integers(1, 6, ROWS),
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    frame().to_csv(tmp_path / "homes.csv", index=False)
    return str(tmp_path / "homes.csv")


def tensors(problem: Problem, split: str) -> tuple[Tensor, dict[str, Tensor]]:
    table = getattr(problem.data(), split)
    return table.inputs, table.targets


def people(problem: Problem, split: str) -> set[float]:
    """The people of a split, where the person is the last input."""
    return set(tensors(problem, split)[0][:, -1].tolist())


CLASSES = torch.tensor([0, 1, 1, 0, 2, -100, 2, 1, 0, 1])
LOGITS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
SCORES = (LOGITS[:, 0] - LOGITS[:, 1])[CLASSES != -100]


@pytest.mark.parametrize(
    ("name", "oracle"), [("auc", roc_auc_score), ("average_precision", average_precision_score), ("f1", f1_score)]
)
def test_kpis_of_two_classes_are_of_the_rarer(path: str, name: str, oracle: Callable) -> None:
    problem = load_problem(table_name(path, f"rare:classification:kpi={name}"))
    (task,) = problem.tasks
    assert task.kpi_from == "validation"
    assert list(task.metrics) == ["accuracy", "balanced accuracy"]
    target = (CLASSES > 0).long().masked_fill(CLASSES == -100, -100)
    labelled = target != -100
    scores = LOGITS[:, 0] - LOGITS[:, 1]  # for class 0, "fraud"
    expected = oracle((target == 0)[labelled].numpy(), ((scores > 0) if name == "f1" else scores)[labelled].numpy())
    assert float(task.kpi(LOGITS[:, :2], target)) == pytest.approx(expected)
    assert skipping(task.kpi) is task.kpi


def test_kpis_of_several_classes_are_means_over_them(path: str) -> None:
    (task,) = load_problem(table_name(path, "cut:classification:kpi=auc")).tasks
    labelled = CLASSES != -100
    chances = LOGITS.softmax(1)[labelled].double().numpy()
    scores = [roc_auc_score(CLASSES[labelled].numpy() == code, chances[:, code]) for code in range(3)]
    assert float(task.kpi(LOGITS, CLASSES)) == pytest.approx(np.mean(scores), abs=1e-6)


@pytest.mark.parametrize(
    ("targets", "shown"),
    [
        ("sold", "accuracy"),
        ("rare", "AUC of 'fraud'"),
        ("rare:classification:kpi=accuracy", "accuracy"),
        ("cut:classification:kpi=balanced_accuracy", "balanced accuracy"),
        ("cut:classification:kpi=f1", "F1, mean over classes"),
        ("stars:ordinal:kpi=within_one", "share within one class"),
        ("price", "R²"),
        ("price:log", "R² of the logarithm"),
        ("price:regression:kpi=within:tolerance=20", "share within 20"),
        ("price:regression:log:kpi=within_relative", "share within 25%"),
    ],
)
def test_the_card_names_the_kpi(path: str, targets: str, shown: str) -> None:
    card = data_card(name := table_name(path, targets))
    assert card is not None
    assert card.targets[0].kpi == shown
    assert (card.targets[0].why == "chosen") == ("kpi=" in targets)
    said = any(note.startswith("The KPI of rare is the AUC of 'fraud': 9") for note in card.notes)
    assert said == (targets == "rare")
    check_problem(load_problem(name), path)


def test_shares_within_are_of_the_columns_unit(path: str) -> None:
    name = table_name(path, "price:regression:log:kpi=within:tolerance=20")
    (task,), (target,) = load_problem(name).tasks, table_transform(name).targets
    prices = torch.tensor([100.0, 200.0, 300.0, math.nan])
    labels = ((prices.log() - target.mean) / target.deviation).float()
    output = (((prices + torch.tensor([19.0, 21.0, -5.0, 0.0])).log() - target.mean) / target.deviation).float()
    assert float(task.kpi(output, labels)) == pytest.approx(2 / 3)
    assert float(task.metrics["MAE"].measure(output[:3], labels[:3])) == pytest.approx(15, rel=1e-4)
    assert list(task.metrics) == ["MAE", "R²"]


def test_classes_that_count_alike(path: str) -> None:
    problem = load_problem(table_name(path, "rare:classification:weights=balanced"))
    counts = torch.bincount(tensors(problem, "train")[1]["rare"])
    target = torch.tensor([0, 1, 1, -100])
    weight = counts.sum() / (2 * counts)
    loss = problem.tasks[0].loss(LOGITS[:4, :2], target)
    torch.testing.assert_close(loss, F.cross_entropy(LOGITS[:4, :2], target, weight=weight.float()))
    assert float(problem.tasks[0].loss(LOGITS[:1, :2], target[3:])) == 0


@pytest.mark.parametrize("targets", ["cut:ordinal:order=fair<good<ideal", "stars:ordinal"])
def test_an_ordinal_target(path: str, targets: str) -> None:
    name = table_name(path, targets)
    (task,), (target,) = load_problem(name).tasks, table_transform(name).targets
    classes = len(target.classes)
    labels = tensors(load_problem(name), "train")[1][target.name]
    assert labels.unique().tolist() == list(range(classes))
    sure = torch.where(labels.unsqueeze(1) > torch.arange(classes - 1), 9.0, -9.0)  # the right answer
    assert float(task.kpi(sure, labels)) == 1
    assert float(task.loss(sure, labels)) < 1e-3
    assert float(task.metrics["classes off"].measure(sure, labels)) == 0
    off = (labels + 1).clamp(max=classes - 1)
    assert float(task.metrics["classes off"].measure(sure, off)) == pytest.approx(float((off != labels).float().mean()))
    assert torch.equal(target.predicted(sure), labels.long())
    torch.testing.assert_close(target.probabilities(sure).argmax(1), labels.long())
    half = torch.cat([labels, labels * math.nan])
    torch.testing.assert_close(task.loss(torch.cat([sure, sure + 5]), half), task.loss(sure, labels))


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        ("price:regression:kpi=auc", "Unknown KPI of the regression 'price': 'auc'"),
        ("sold:classification:log", "log is for a regression"),
        ("sold:log", "log is for a regression; target 'sold' is a classification"),
        ("price:regression:weights=balanced", "weights= is for a classification"),
        ("sold:classification:weights=even", "Unknown weights of target 'sold': 'even'"),
        ("price:regression:classification", "is of one kind; got regression and classification"),
        ("price:regression:tolerance=3", "kpi=within and tolerance= go together"),
        ("price:regression:kpi=within:tolerance=much", "tolerance of target 'price' to be a number; got 'much'"),
        ("cut:ordinal:order=fair<ideal", "got fair<ideal"),
        ("sold:ordinal", "has at least three classes; 'sold' has 2"),
        ("cut:classification:order=a<b", "order= is for an ordinal target"),
    ],
)
def test_options_that_do_not_fit(path: str, targets: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_problem(table_name(path, targets))


# Which rows train


def test_a_group_is_in_one_split(path: str) -> None:
    problem = load_problem(table_name(path, "price", group="person"))
    transform = table_transform(table_name(path, "price", group="person"))
    assert "person" not in [column.name for column in transform.inputs]
    sizes = [len(tensors(problem, split)[0]) for split in ("train", "validation", "test")]
    assert [size / ROWS for size in sizes] == pytest.approx([0.6, 0.2, 0.2], abs=0.1)
    assert all(size % 4 == 0 for size in sizes), "the four rows of a person are in one split"


def test_the_latest_rows_are_the_test(path: str) -> None:
    pd.read_csv(path).sample(frac=1, random_state=0).to_csv(path, index=False)
    name = table_name(path, "price", time="day", drop="person,part")
    problem = load_problem(name)
    at = sum(column.width for column in table_transform(name).inputs[:2])  # area and rooms come before the day
    days = {split: tensors(problem, split)[0][:, at] for split in ("train", "validation", "test")}
    assert [len(found) for found in days.values()] == pytest.approx([240, 80, 80], abs=1)
    assert float(days["train"].max()) < float(days["validation"].min())
    assert float(days["validation"].max()) < float(days["test"].min())


def test_a_column_says_the_split(path: str) -> None:
    problem = load_problem(table_name(path, "price", split="part"))
    counts = frame()["part"].str.lower().value_counts()
    for split, word in (("train", "train"), ("validation", "dev"), ("test", "test")):
        assert len(tensors(problem, split)[0]) == counts[word]
    card = data_card(table_name(path, "price", split="part"))
    assert card is not None
    assert card.splits.how == "by column part"
    assert ("part", "it decides the splits") in [(column.name, column.reason) for column in card.left_out]


def test_files_of_validation_and_test(path: str, tmp_path: Path) -> None:
    """Words of a test file are encoded as those of training, and its labels as the classes of all files."""
    others = {"validation": frame().iloc[:30], "test": frame().iloc[30:70]}
    for split, rows in others.items():
        rows.to_csv(tmp_path / f"{split}.csv", index=False, sep=";")
    files = {split: str(tmp_path / f"{split}.csv") for split in others}
    both = load_problem(table_name(path, "price,cut", **files))
    assert [len(tensors(both, split)[0]) for split in ("train", "validation", "test")] == [ROWS, 30, 40]
    codes = tensors(both, "test")[1]["cut"]
    assert [("fair", "good", "ideal")[code] for code in codes.tolist()] == others["test"]["cut"].tolist()
    one = load_problem(table_name(path, "price", test=files["test"]))
    sizes = [len(tensors(one, split)[0]) for split in ("train", "validation", "test")]
    assert sizes[2] == 40
    assert sizes[0] / ROWS == pytest.approx(0.8, abs=0.1)
    assert sizes[0] + sizes[1] == ROWS


def test_the_key_holds_all_files_wherever_they_are(path: str, tmp_path: Path) -> None:
    frame().iloc[:30].to_csv(tmp_path / "test.csv", index=False)
    name = table_name(path, "price", test=str(tmp_path / "test.csv"))
    first = digest(name)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    files = {Path(path): moved / "homes.csv", tmp_path / "test.csv": moved / "test.csv"}
    for before, after in files.items():
        after.write_bytes(before.read_bytes())
    assert digest(relocated(name, files)) == first
    frame().iloc[:31].to_csv(moved / "test.csv", index=False)
    assert digest(relocated(name, files)) != first


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"drop": "price"}, "is a target; it cannot be that of --drop as well"),
        ({"group": "price"}, "is a target; it cannot be that of --group"),
        ({"group": "persons"}, "did you mean 'person'"),
        ({"time": "sold"}, "Expected dates in one format, or numbers, in column 'sold'"),
        ({"split": "part", "test": "test.csv"}, "Rows are split in one way; got --split and --test"),
        ({"test": "nowhere.csv"}, r"There is no file nowhere\.csv"),
    ],
    ids=str,
)
def test_choices_that_do_not_fit(path: str, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load_problem(table_name(path, "price", **options))


def test_a_column_that_begins_with_an_at(path: str) -> None:
    pd.read_csv(path).rename(columns={"price": "@drop"}).to_csv(path, index=False)
    assert load_problem(table_name(path, "@drop:regression")).task_names == ("@drop",)


@pytest.mark.parametrize(
    ("column", "target", "gives"),
    [
        (lambda table: table["cut"].str.upper(), "cut", True),
        (lambda table: table["price"] * 1.1 - 3, "price", True),
        (lambda table: table["rare"].map({"fraud": 9, "sound": 4}), "rare", True),
        (lambda table: table["price"] + np.random.default_rng(0).normal(0, 100, ROWS), "price", False),
        (lambda table: np.where(table["rare"] == "fraud", table["rooms"], 4), "rare", False),
    ],
    ids=["in capitals", "in another unit", "as a code", "with noise", "sometimes"],
)
def test_a_column_that_gives_a_target_away(path: str, column: Callable, target: str, gives: bool) -> None:
    pd.read_csv(path).assign(other=column).to_csv(path, index=False)
    card = data_card(table_name(path, target))
    assert card is not None
    assert any(note.startswith(f"other gives {target} away") for note in card.notes) == gives


def test_flags_reach_the_table(hardfirst: Callable[..., str], tmp_path: Path) -> None:
    frame().rename(columns={"price": "Price, EUR"}).to_csv(tmp_path / "homes.csv", index=False)
    targets = '"Price, EUR":regression:log,rare:classification:kpi=average_precision,stars:ordinal'
    flags = ["--targets", targets, "--drop", "part,day", "--group", "person"]
    printed = hardfirst("train", "homes.csv", *flags, "--epochs", "1")
    assert "homes.csv: 4 columns (2 of numbers, 2 of words) are 7 inputs. Default" in printed
    assert "Default training: 100 epochs of 5 steps." in printed
    assert "rows with the same person in one split" in printed
    assert "average precision" in printed
    folder = next((tmp_path / "runs").iterdir())
    from hardfirst.records.description import Description

    described = Description.model_validate_json((folder / "study.json").read_text())
    assert described.tables["homes"] == data_card(table_name("homes.csv", targets, drop="part,day", group="person"))
    assert "--group is for a table, such as homes.csv; there is none." in hardfirst(
        "train", "digits", "--group", "a", code=2
    )


@pytest.mark.parametrize(("rows", "epochs"), [(300, 100), (5822, 36), (10_000, 21), (53_940, 20), (200_000, 6), (10**6, 5)])
def test_large_tables_are_trained_for_twenty_epochs_if_that_is_not_too_long(rows: int, epochs: int) -> None:
    assert epochs_of(6 * rows // 10) == epochs
