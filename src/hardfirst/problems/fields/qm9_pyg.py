"""`qm9_pyg`: QM9 by the protocol of Nash-MTL and the papers that follow it, from PyTorch Geometric's files.

`qm9` has the same properties of fewer molecules, from a package that anyone can install, and a network that trains in
minutes. This is the protocol for which Nash-MTL and later papers publish figures.

Folder: `raw/qm9_v3.pt`, as PyTorch Geometric downloads it, or `processed/data_v3.pt`, as it stores it; the second is read if
both exist. PyTorch Geometric is not needed to read them, and nothing in them is executed.

Inputs: each atom's eleven features, its position, and its bonds. The network sees the complete graph: each pair of atoms
with its kind of bond and its distance. After Set2Set the tasks share one more layer, as in the published code.

Splits: 10,000 molecules for testing, 10,000 for validation, the rest for training, in an order fixed by a hash of their
position in the file. If a file has fewer molecules than QM9's 130,831, both splits are reduced in proportion.

Published: the published code holds out a validation split, as we do, and reports the test split at its best epoch. So
`--protocol published` only changes the comparison: Δm over errors relative to the published single-task networks.

Targets: eleven of the file's nineteen columns, standardised by mean and deviation of the training split. The energies u0,
u, h and g are those of atomization.

Note:
    The published code differs as follows. It shuffles by the run's seed, so that each run has other splits. It standardises
    by all molecules, including those of the test split. Its schedule uses the validation split's Δm over errors; ours uses
    the validation split's mean KPI.

References:
    Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022 (the protocol);
    Gilmer et al., Neural Message Passing for Quantum Chemistry, ICML 2017 (the network, and the features of atoms);
    Ramakrishnan, Dral, Rupp and von Lilienfeld, Quantum chemistry structures and properties of 134 kilo molecules,
    Scientific Data 1, 140022, 2014.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from hashlib import file_digest
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.kpi import r2, skips, streams
from hardfirst.networks import HardSharing, Parts, number_head, vector_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._cache import cached
from hardfirst.problems._data import TensorTable
from hardfirst.problems._published import Published, PublishedMeasure
from hardfirst.problems._task import Metric, Task
from hardfirst.problems.builtin.qm9 import PROPERTIES
from hardfirst.problems.fields import lacks
from hardfirst.problems.fields._molecules import molecules
from hardfirst.problems.fields._nnconv import MoleculeFeatures
from hardfirst.recipes import Recipe

FILES = ("processed/data_v3.pt", "raw/qm9_v3.pt")
TARGETS = dict(zip(PROPERTIES, (0, 1, 2, 3, 5, 6, 12, 13, 14, 15, 11), strict=True))
"""The column of each task in the files."""
MOLECULES, HELD_OUT = 130_831, 10_000
REVISION = 1  # of the cached tensors: increase it with every change of the parsing
WIDTH = 64

SINGLE_TASK = dict(
    zip(PROPERTIES, (0.0671, 0.1814, 60.576, 53.915, 0.5027, 4.539, 58.838, 64.244, 63.852, 66.223, 0.07212), strict=True)
)
"""The errors of single-task networks in Nash-MTL's code, by task, in the units of the metrics."""


def problem(folder: Path) -> Problem:
    """Return the problem: 11 tasks, with the published recipe.

    Args:
        folder: a folder with one of `FILES`.

    Raises:
        InputError: the folder has none of them.
    """
    _file(folder)
    return Problem(
        name="qm9_pyg",
        tasks=tuple(_task(folder, name) for name in PROPERTIES),
        network=network,
        parts=parts,
        data=partial(data, folder),
        batch_size=120,
        epochs=300,
        learning_rate=1e-3,
        recipe=Recipe(schedule="plateau:factor=0.7,patience=5,least=1e-5"),
        description="Eleven properties of small molecules, from PyTorch Geometric's files and by the protocol of Nash-MTL.",
        published=Published(data=partial(data, folder), measures=_published(), last=None),
    )


def check(folder: Path) -> list[str]:
    """Read the folder, and return sentences about the contents.

    Raises:
        InputError: a file is missing or damaged, or contains something else.
    """
    file = _file(folder)
    found = _read(file)
    count, sizes = len(found.targets), _sizes(len(found.targets))
    scaled = "" if count >= MOLECULES else f" (QM9 has {MOLECULES:,} molecules, so both are in proportion to {HELD_OUT:,})"
    return [
        f"{count:,} molecules of up to {found.inputs['atoms'].shape[1]} atoms, from {file}.",
        f"{count - 2 * sizes:,} for training, {sizes:,} for validation and {sizes:,} for testing{scaled}.",
        f"{len(TARGETS)} targets without a missing value, standardised by the training split.",
    ]


def _task(folder: Path, name: str) -> Task:
    error = Metric(partial(mean_absolute_error, unit=partial(_unit, folder, name)), higher_is_better=False)
    return Task(name, loss=F.mse_loss, kpi=r2, metrics={_metric(name): error}, kpi_from="validation")


def _published() -> dict[str, tuple[PublishedMeasure, ...]]:
    return {
        name: (PublishedMeasure(_metric(name), higher_is_better=False, single_task=SINGLE_TASK[name]),) for name in TARGETS
    }


def _metric(name: str) -> str:
    return f"mae_{PROPERTIES[name].unit}"


def _mean(sums: Tensor) -> Tensor:
    return sums[0] / sums[1]


@skips
@streams(_mean)
def mean_absolute_error(output: Tensor, target: Tensor, *, unit: Callable[[], float]) -> Tensor:
    """Return the mean absolute error of standardised values, in the unit of the reports.

    Args:
        output: [molecules].
        target: [molecules]; NaN where there is no label.
        unit: returns a standard deviation in that unit; called after the data has been read.
    """
    labelled = ~target.isnan()
    errors = torch.where(labelled, (output.detach() - target).abs(), 0)
    return torch.stack([unit() * errors.sum(), labelled.sum()])


def _unit(folder: Path, name: str) -> float:
    """Return the standard deviation of a target's training split in the unit of the reports, with eV converted to meV."""
    return float(_read(_file(folder)).deviations[name]) * (1000 if PROPERTIES[name].unit == "meV" else 1)


# The networks


def network() -> HardSharing:
    """Return the published network: a layer of 64 features on the molecule's, and a linear head for each task."""
    trunk = nn.Sequential(MoleculeFeatures(WIDTH), vector_layer(2 * WIDTH, WIDTH))
    return HardSharing(trunk, {name: number_head(WIDTH) for name in PROPERTIES})


def parts() -> Parts:
    """Return the parts of other networks: the molecule's features, and two layers of 64 on them."""
    return Parts(
        stem=partial(MoleculeFeatures, WIDTH),
        channels=2 * WIDTH,
        layer=vector_layer,
        width=WIDTH,
        depth=2,
        heads=dict.fromkeys(PROPERTIES, number_head),
    )


# The data


def data(folder: Path) -> Splits:
    """Return the three splits: see `MoleculeFeatures` for the inputs; targets are standardised float32.

    The first call for a raw file takes minutes, and stores 200 MB in the user's cache folder.

    Args:
        folder: a folder with one of `FILES`.

    Raises:
        InputError: a file is missing or damaged, or contains something else.
    """
    found = _read(_file(folder))
    return Splits(**{split: TensorTable(*found.rows(rows)) for split, rows in _rows(len(found.targets)).items()})


class _Molecules(NamedTuple):
    """All molecules in the order of the splits, and the targets' deviations in the training split, in the file's units."""

    inputs: dict[str, Tensor]
    targets: Tensor
    deviations: dict[str, Tensor]

    def rows(self, rows: slice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the inputs and targets of some molecules."""
        targets = dict(zip(TARGETS, self.targets[rows].unbind(1), strict=True))
        return {name: column[rows] for name, column in self.inputs.items()}, targets


def _sizes(count: int) -> int:
    """Return the number of molecules for testing, which is also that for validation."""
    return min(HELD_OUT, max(count * HELD_OUT // MOLECULES, 1))


def _rows(count: int) -> dict[str, slice]:
    size = _sizes(count)
    return {"train": slice(2 * size, count), "validation": slice(size, 2 * size), "test": slice(size)}


def _file(folder: Path) -> Path:
    """Return the file to read.

    Raises:
        InputError: there is none.
    """
    if (file := next((folder / name for name in FILES if (folder / name).is_file()), None)) is not None:
        return file
    raise lacks("qm9_pyg", f"{' or '.join(FILES)} in {folder}")


def _read(file: Path) -> _Molecules:
    stamp = file.stat()
    return _read_once(file, stamp.st_size, stamp.st_mtime_ns)


@lru_cache(maxsize=1)
def _read_once(file: Path, size: int, changed: int) -> _Molecules:
    """Read a file once per process, unless it has changed."""
    with file.open("rb") as stream:
        digest = file_digest(stream, "sha256").hexdigest()
    columns = cached(f"qm9_pyg-{digest[:16]}-{REVISION}", partial(molecules, file, tuple(TARGETS.values())))
    targets = columns.pop("targets")
    train = targets[_rows(len(targets))["train"]]
    mean, deviation = train.mean(0), train.std(0)
    deviations = dict(zip(TARGETS, deviation, strict=True))
    if same := [name for name, value in deviations.items() if not value > 0]:  # NaN for a single molecule
        raise InputError(
            f"Expected targets of different values among the {len(train)} training molecules of {file}; {', '.join(same)} "
            "cannot be standardised."
        )
    return _Molecules(columns, ((targets - mean) / deviation).float(), deviations)
