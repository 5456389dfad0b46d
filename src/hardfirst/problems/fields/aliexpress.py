"""`aliexpress:nl`, `es`, `fr` and `us`: which search results the visitors of a shop click and buy.

The tables are those that MTReclib makes from the logs: one row per displayed result, with 16 categories as codes, numbers
about the visitor and the product, and whether it was clicked and bought. Both tasks are about all rows, so "conversion" is
what papers call CTCVR, a click and a purchase; a few results in a thousand are bought.

Splits: the published test file is the test split. 10% of the searches of the training file form the validation split, by a
hash of `search_id`, so that the results of a search are in one split. `--protocol published` trains on the whole training
file and measures the last epoch. The published code selects the epoch by the AUC on the test file, which no protocol here
does: its figures are too high by this effect.

The tables are read once, in chunks, into files in the cache folder that are mapped into memory; the table of the
Netherlands then takes 6 GB on the disk. Numbers are unchanged from the file.

Network and recipe are MTReclib's: embeddings of 128 features, a trunk of 512 and 256 (8 experts of that size in
"mmoe_published"; 4 shared and 4 specific ones at each of two levels in "ple_published"), towers of 128 and 64, dropout of
0.2, Adam at 1e-3 with weight decay 1e-6, and batches of 2,048.

Note:
    MTReclib trains for at most 50 epochs and stops after two without a better AUC; here the best of 5 epochs is selected.
    Its embeddings have a row for each code of the training file; here they cover both files, since a code that is only in
    the test file would have none. Gates have no bias here.

References:
    Li et al., Improving Multi-Scenario Learning to Rank in E-commerce by Exploiting Task Relationships in the Label
    Space, CIKM 2020 (the logs);
    MTReclib, https://github.com/easezyc/Multitask-Recommendation-Library (the tables, networks, recipe and figures).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from hardfirst.kpi import auc
from hardfirst.networks import CGC, PLE, HardSharing, MMoE, Parts, number_head
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._data import Batch, TensorTable
from hardfirst.problems._published import KPI, Published, PublishedMeasure
from hardfirst.problems._task import Task
from hardfirst.problems.fields import FIELDS
from hardfirst.problems.fields._aliexpress_tables import TASKS, check, columns, files
from hardfirst.recipes import Recipe

__all__ = ["check", "data", "problem", "published_splits"]

SINGLE_TASK = {  # the AUC of single-task networks, means of 5 runs
    "nl": {"click": 0.7222, "conversion": 0.8590},
    "es": {"click": 0.7266, "conversion": 0.8855},
    "fr": {"click": 0.7259, "conversion": 0.8737},
    "us": {"click": 0.7061, "conversion": 0.8637},
}
EMBEDDED = 128
EXPERTS = 8


def problem(folder: Path, country: str) -> Problem:
    """Return the problem: two tasks, and in the Netherlands 11 million rows for training.

    Args:
        folder: the folder above AliExpress_NL and the others.
        country: "nl", "es", "fr" or "us".

    Raises:
        InputError: the folder has no tables of this country.
    """
    files(folder, country)
    measures = {
        task: (PublishedMeasure(KPI, higher_is_better=True, single_task=value),)
        for task, value in SINGLE_TASK[country].items()
    }
    return Problem(
        name=f"aliexpress:{country}",
        tasks=tuple(Task(task, F.binary_cross_entropy_with_logits, auc, kpi_from="validation") for task in TASKS),
        network=partial(network, folder, country),
        networks={
            "mmoe_published": partial(mmoe, folder, country),
            "ple_published": partial(ple, folder, country),
        },
        parts=partial(parts, folder, country),
        data=partial(data, folder, country),
        batch_size=2048,
        epochs=5,
        learning_rate=1e-3,
        description=FIELDS[f"aliexpress:{country}"].description,
        recipe=Recipe("adam:weight_decay=1e-6"),
        published=Published(partial(published_splits, folder, country), measures, last=1),
    )


# The networks


class Rows(nn.Module):
    """A row as one vector: an embedding of each category, and a linear map of the numbers to as many features.

    Args:
        sizes: the number of codes of each category.
        numbers: the number of numeric columns.
    """

    def __init__(self, sizes: Tensor, numbers: int) -> None:
        super().__init__()
        self.starts: Tensor
        self.register_buffer("starts", sizes.cumsum(0) - sizes, persistent=False)
        self.embedding = nn.Embedding(int(sizes.sum()), EMBEDDED)
        nn.init.xavier_uniform_(self.embedding.weight)
        self.numbers = nn.Linear(numbers, EMBEDDED)
        self.channels = EMBEDDED * (len(sizes) + 1)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Map `categories` [rows, categories] and `numbers` [rows, numbers] to [rows, channels]."""
        embedded = self.embedding(inputs["categories"] + self.starts)
        return torch.cat([embedded.flatten(1), self.numbers(inputs["numbers"])], dim=1)


def layer(before: int, channels: int) -> nn.Module:
    """Return a linear layer with batch norm, ReLU and dropout."""
    return nn.Sequential(nn.Linear(before, channels), nn.BatchNorm1d(channels), nn.ReLU(), nn.Dropout(0.2))


def tower(channels: int) -> nn.Module:
    """Return a task's tower: layers of 128 and 64 features, and one number."""
    return nn.Sequential(layer(channels, 128), layer(128, 64), number_head(64))


def towers(channels: int) -> dict[str, nn.Module]:
    """Return a tower for each task."""
    return {task: tower(channels) for task in TASKS}


def _rows(folder: Path, country: str) -> Rows:
    found = columns(folder, country)
    return Rows(found["sizes"], found["test.numbers"].shape[1])


def network(folder: Path, country: str) -> HardSharing:
    """Return embeddings, a trunk of 512 and 256 features, and the towers."""
    rows = _rows(folder, country)
    return HardSharing(nn.Sequential(rows, layer(rows.channels, 512), layer(512, 256)), towers(256))


def mmoe(folder: Path, country: str) -> MMoE:
    """Return a mixture of 8 experts, each of the size of the own network's trunk."""
    rows = _rows(folder, country)
    experts = [nn.Sequential(layer(rows.channels, 512), layer(512, 256)) for _ in range(EXPERTS)]
    return MMoE(rows, experts, towers(256), channels=rows.channels)


def ple(folder: Path, country: str) -> PLE:
    """Return two levels of 4 shared experts and 4 for each task, of 512 and 256 features."""
    rows = _rows(folder, country)

    def level(before: int, channels: int, *, last: bool) -> CGC:
        shared, *own = ([layer(before, channels) for _ in range(EXPERTS // 2)] for _ in (None, *TASKS))
        return CGC(dict(zip(TASKS, own, strict=True)), shared, channels=before, last=last)

    return PLE(rows, [level(rows.channels, 512, last=False), level(512, 256, last=True)], towers(256))


def parts(folder: Path, country: str) -> Parts:
    """Return the parts of other networks: the embeddings, and two layers, together about as large as the own network's."""
    found = columns(folder, country)
    make = partial(Rows, found["sizes"], found["test.numbers"].shape[1])
    heads: dict[str, Callable[[int], nn.Module]] = dict.fromkeys(TASKS, tower)
    return Parts(make, EMBEDDED * (len(found["sizes"]) + 1), layer, width=464, depth=2, heads=heads)


# The data


def data(folder: Path, country: str) -> Splits:
    """Return the three splits: `categories` int32 and `numbers` float32, mapped into memory; targets 0.0 or 1.0.

    Raises:
        InputError: a file is invalid, or the cache cannot be written.
    """
    found = columns(folder, country)
    return Splits(**{split: _table(found, split) for split in ("train", "validation", "test")})


def published_splits(folder: Path, country: str) -> Splits:
    """Return the published splits: the whole training file, and the test file for validation and testing.

    Raises:
        InputError: as `data`.
    """
    splits = data(folder, country)
    assert isinstance(splits.train, TensorTable)
    assert isinstance(splits.validation, TensorTable)
    return Splits(_Joined([splits.train, splits.validation]), splits.test, splits.test)


def _table(found: Mapping[str, Tensor], split: str) -> TensorTable:
    inputs = {name: found[f"{split}.{name}"] for name in ("categories", "numbers")}
    return TensorTable(inputs, {task: found[f"{split}.{task}"] for task in TASKS})


class _Joined(Dataset[Batch]):
    """Several tables as one, without copying their tensors."""

    def __init__(self, tables: Sequence[TensorTable]) -> None:
        self.tables = tables
        self.ends = torch.tensor([len(table) for table in tables]).cumsum(0)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Batch:
        inputs, targets = self.__getitems__([index])
        return {name: column[0] for name, column in inputs.items()}, {task: each[0] for task, each in targets.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return the examples as one batch, those of the first table first: their order within a batch does not matter."""
        index = torch.as_tensor(indices)
        number = torch.bucketize(index, self.ends, right=True)
        batches = [
            table[index[number == place] - (self.ends[place] - len(table))] for place, table in enumerate(self.tables)
        ]
        inputs, targets = (
            {name: torch.cat([each[name] for each in side]) for name in side[0]} for side in zip(*batches, strict=True)
        )
        return inputs, targets
