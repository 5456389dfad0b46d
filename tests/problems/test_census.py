import dataclasses
import hashlib
import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hardfirst.problems import IGNORE, Problem, Splits, census
from hardfirst.problems._sources import PyPI
from installed import needs
from problem_data import SPLITS, has_label, whole

NAME = "census"
COUNTS = {"train": 160_989, "validation": 38_534, "test": 99_762}
OF_15_AND_OVER = {"train": 121_115, "validation": 30_986, "test": 76_320}
LABELS = {  # of the questions that were not put to everybody
    "union": {"train": 15_150, "validation": 3_914, "test": 9_479},
    "capital_gain": OF_15_AND_OVER,
    "education": OF_15_AND_OVER,
    "weeks": OF_15_AND_OVER,
}
installed = needs("census")
each_split = pytest.mark.parametrize("split", SPLITS)


# The published data


@installed
@each_split
def test_shapes_types_and_ranges(problem: Problem, splits: Splits, split: str) -> None:
    inputs, targets = whole(splits, split)
    assert inputs["categories"].shape == (COUNTS[split], len(census.CATEGORIES))
    assert inputs["categories"].dtype == torch.uint8
    assert (inputs["categories"] <= torch.tensor(list(census.CATEGORIES.values()))).all()
    assert inputs["numbers"].shape == (COUNTS[split], len(census.NUMBERS))
    assert inputs["numbers"].dtype == torch.float32
    assert tuple(targets) == problem.task_names
    for question in census.QUESTIONS:
        assert set(targets[question][has_label(targets[question])].tolist()) == {0.0, 1.0}
    assert targets["education"].unique().tolist() == [IGNORE, *range(16)]
    weeks = targets["weeks"][has_label(targets["weeks"])] * census.WEEKS_DEVIATION + census.WEEKS_MEAN
    assert weeks.round().unique().tolist() == list(range(53))


@installed
@each_split
def test_who_was_not_asked_has_no_label(splits: Splits, split: str) -> None:
    targets = whole(splits, split)[1]
    for task, target in targets.items():
        assert int(has_label(target).sum()) == LABELS.get(task, COUNTS)[split], task


@installed
def test_numbers_and_weeks_are_standardised_by_the_training_split(splits: Splits) -> None:
    inputs, targets = whole(splits, "train")
    assert inputs["numbers"].mean(0).abs().max() < 1e-3
    assert (inputs["numbers"].std(0) - 1).abs().max() < 1e-3
    weeks = targets["weeks"][has_label(targets["weeks"])]
    assert abs(weeks.mean()) < 0.005
    assert abs(weeks.std() - 1) < 0.005
    for split in ("validation", "test"):
        assert whole(splits, split)[0]["numbers"].mean(0).abs().max() > 1e-3


# What would tell the answer is left out


def test_no_input_is_a_target_or_left_out() -> None:
    left_out = {
        *("education", "marital_status", "union", "citizenship", "capital_gains", "weeks_worked", "income"),
        *("instance_weight", "tax_filer", "household", "household_summary", "parents", "birth_father", "birth_mother"),
        *("birth_self", "employer_size", "own_business", "capital_losses", "enrolled", "major_industry"),
        "major_occupation",
    }
    assert {*census.CATEGORIES, *census.NUMBERS} == set(census.COLUMNS) - left_out
    assert len(census.COLUMNS) == 42


# The rules, on small files made here


ADULT = dict(zip(census.COLUMNS, ["40", "Private", "4", "2"] + ["?"] * 38, strict=True)) | {
    "education": census.SCHOOLING[0],
    "wage_per_hour": "0",
    "marital_status": "Divorced",
    "union": "No",
    "capital_gains": "0",
    "dividends": "0",
    "weeks_worked": "52",
    "citizenship": "Native- Born in the United States",
    "income": "- 50000.",
}


def file_of(rows: list[dict[str, str]]) -> bytes:
    return "".join(", ".join(row[column] for column in census.COLUMNS) + "\n" for row in rows).encode()


def parsed(train: list[dict[str, str]], test: list[dict[str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Splits:
    contents = {census.TRAIN_FILE: file_of(train), census.TEST_FILE: file_of(test)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    package = PyPI("made-up", "1.0")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(census, "SOURCE", dataclasses.replace(census.SOURCE, packages={package: sums}))
    monkeypatch.setenv("HARDFIRST_DATA", str(folder))
    return census.data()


@pytest.mark.usefixtures("elsewhere")
def test_answers_and_numbers_go_by_the_training_split_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = [ADULT | {"age": str(age), "dividends": str(age * age)} for age in range(15, 65)]
    test = [ADULT | {"age": "1000", "race": "Martian"}, ADULT | {"race": "Martian"}]
    splits = parsed(train, test, tmp_path, monkeypatch)
    numbers = whole(splits, "train")[0]["numbers"]
    assert numbers[:, [0, 2]].mean(0).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert numbers[:, [0, 2]].std(0).tolist() == pytest.approx([1, 1], abs=1e-5)
    inputs = whole(splits, "test")[0]
    assert inputs["numbers"][0, 0] > 40
    race = list(census.CATEGORIES).index("race")
    assert inputs["categories"][:, race].tolist() == [census.UNSEEN] * 2
    assert (whole(splits, "validation")[0]["categories"] != census.UNSEEN).all()


@pytest.mark.usefixtures("elsewhere")
def test_labels_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [ADULT | {"age": str(age)} for age in range(15, 65)]
    rich = ADULT | {
        **{"income": "50000+.", "union": "Yes", "capital_gains": "9000", "weeks_worked": "0"},
        **{"citizenship": "Foreign born- Not a citizen of U S ", "education": census.SCHOOLING[15]},
        "marital_status": "Never married",
    }
    unasked = ADULT | {"union": "Not in universe", "citizenship": "Foreign born- U S citizen by naturalization"}
    child = ADULT | {"age": "14", "education": "Children", "union": "Not in universe", "weeks_worked": "0"}
    targets = whole(parsed(others, [rich, unasked, child], tmp_path, monkeypatch), "test")[1]
    expected = {
        "income": [1, 0, 0],
        "never_married": [1, 0, 0],
        "union": [1, None, None],
        "citizen": [0, 1, 1],
        "capital_gain": [1, 0, None],
    }
    for task, answers in expected.items():
        assert [None if math.isnan(value) else value for value in targets[task].tolist()] == answers, task
    assert targets["education"].tolist() == [15, 0, IGNORE]
    weeks = targets["weeks"] * census.WEEKS_DEVIATION + census.WEEKS_MEAN
    assert weeks[:2].tolist() == pytest.approx([0, 52], abs=1e-4)
    assert weeks[2].isnan()


def test_the_side_of_the_file_goes_by_the_inputs() -> None:
    crowd = [
        census.Person(("Private", place), (float(age), 0.0), (float(label),))
        for place, age, label in itertools.product("ab", range(15, 90), (0, 1))
    ]
    sides = [census.split_of(person) for person in crowd]
    assert sides[::2] == sides[1::2]
    assert 0.1 < sides.count("validation") / len(sides) < 0.3
    assert set(sides) == {"train", "validation"}


# The tasks and the network


def example(people: int) -> dict[str, Tensor]:
    answers = torch.tensor(list(census.CATEGORIES.values()))
    return {"categories": answers.repeat(people, 1).byte(), "numbers": torch.zeros(people, 3)}


@pytest.mark.parametrize("name", ["own", "wide"])
def test_the_network_answers_every_task(problem: Problem, name: str) -> None:
    outputs = problem.variant(network=name).network()(example(5))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        **dict.fromkeys(problem.task_names, (5,)),
        "education": (5, 16),
    }
    assert tuple(outputs) == problem.task_names


def test_each_answer_has_an_embedding_of_its_own() -> None:
    answers = census.Answers(width=1)
    inputs = example(1)
    with torch.no_grad():
        answers.embedding.weight[:, 0] = torch.arange(len(answers.embedding.weight))
        last, first = answers(inputs)[0, :-3], answers(inputs | {"categories": torch.zeros(1, 18)})[0, :-3]
    assert last[-1] == len(answers.embedding.weight) - 1
    assert torch.equal(first[1:], last[:-1] + 1)
    assert first[0] == 0


def test_the_error_is_in_weeks() -> None:
    weeks = torch.tensor([0.0, 52.0])
    standardised = (weeks - census.WEEKS_MEAN) / census.WEEKS_DEVIATION
    error = census.problem().tasks[-1].metrics["mae_weeks"].measure
    assert error(torch.zeros(2), standardised).item() == pytest.approx((30.4 + 21.6) / 2, rel=1e-5)
