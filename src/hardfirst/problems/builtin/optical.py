"""`optical`: nine measured optical properties of dyes in solution, of which most are missing for most dyes.

A line of the database is one chromophore in one solvent, or in a host, or as a solid, with whatever an article reports about
it: where it absorbs and emits most, how wide both bands are (in wavenumbers or in wavelengths, hardly ever both), how
strongly it absorbs, how much of the light it gives back (the quantum yield), and how long that takes (the lifetime). Of the
20,236 lines 18,142 have an emission maximum and only 627 an emission width in wavenumbers.

Inputs: how often each circular substructure of up to two bonds about an atom (Morgan, folded) is found in the chromophore,
and in the solvent. Stereochemistry has no part in them. The solvent "gas" has no substructures.

Splits: by chromophore, about 70, 15 and 15 percent of them, by a hash of how it is written. Chromophores with the same
substructures, as stereoisomers have them, are in one split, so that every chromophore of the test split is new to the
network; its near relatives, with a longer chain for instance, need not be. Solvents are in all splits, and a chromophore of
the test split may be the solvent or host of another one.

Targets: the lifetime, from a tenth of a picosecond to microseconds, is a logarithm to the base 10, as the extinction
coefficient is in the database. All are standardised by the training split's mean and deviation, rounded. The KPI is R²,
taken from the validation split; the mean absolute error is in the property's own unit.

Left out: the molecular weight, which the substructures tell, the article, and the line's number.

Source: Joung, Han, Jeong and Park, Experimental database of optical properties of organic compounds, Scientific Data 7, 295,
2020, https://doi.org/10.1038/s41597-020-00634-8 ("Deep4Chem"), CC BY 4.0, as the Python package D4CMPP carries it. Its code
is not imported. Substructures are found by rdkit.

References:
    Joung et al., Deep Learning Optical Spectroscopy Based on Experimental Database: Potential Applications to Molecular
    Design, JACS Au 1, 2021 (the same tasks, by graph convolutions);
    Rogers and Hahn, Extended-Connectivity Fingerprints, Journal of Chemical Information and Modeling 50, 2010.
"""

import csv
import io
from bisect import bisect
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardfirst.errors import InputError
from hardfirst.kpi import r2
from hardfirst.networks import HardSharing, Parts, number_head, vector_layer
from hardfirst.problems._base import Metric, Problem, Splits, Task
from hardfirst.problems._cache import cached
from hardfirst.problems._data import TensorTable
from hardfirst.problems._sources import PyPI, Source

FILE = "optical.csv"
SOURCE = Source(
    packages={
        PyPI("D4CMPP", "1.26.2"): {FILE: "931948b68bc090afc8c067fe294ed6d62352c6df1a72ddfdca24edf323fb2726"},
    },
    size="10 MB",
    licence="CC BY 4.0 (the data), MIT (the package)",
    credit="Joung, Han, Jeong and Park, Scientific Data 7, 295, 2020, https://doi.org/10.1038/s41597-020-00634-8",
    needs={"rdkit": "rdkit"},
)
REVISION = 1  # of what is cached: raise it whenever the parsing changes
SPLITS = ("train", "validation", "test")
COLUMNS = {"chromophore": "Chromophore", "solvent": "Solvent"}
SIZES = {"chromophore": 2048, "solvent": 256}  # of the folded counts
RADIUS = 2  # bonds


class Property(NamedTuple):
    """A column of the file, the unit of the error, and the training split's mean and deviation in it."""

    column: str
    unit: str
    mean: float
    deviation: float


PROPERTIES = {
    "absorption": Property("Absorption max (nm)", "nm", 430, 109),
    "emission": Property("Emission max (nm)", "nm", 500, 94.3),
    "lifetime": Property("Lifetime (ns)", "log10_ns", 0.396, 0.633),
    "quantum_yield": Property("Quantum yield", "", 0.343, 0.309),
    "extinction": Property("log(e/mol-1 dm3 cm-1)", "log10", 4.38, 0.574),
    "absorption_width_cm": Property("abs FWHM (cm-1)", "per_cm", 2840, 1460),
    "emission_width_cm": Property("emi FWHM (cm-1)", "per_cm", 2910, 1540),
    "absorption_width_nm": Property("abs FWHM (nm)", "nm", 66.4, 24.0),
    "emission_width_nm": Property("emi FWHM (nm)", "nm", 75.1, 29.6),
}


def problem() -> Problem:
    """The problem: 9 tasks, 14,025 lines to train on, some 25 seconds a run on one core.

    Example:
        >>> problem().task_names[:5]
        ('absorption', 'emission', 'lifetime', 'quantum_yield', 'extinction')
    """
    return Problem(
        name="optical",
        tasks=tuple(_task(name, about) for name, about in PROPERTIES.items()),
        network=network,
        parts=parts,
        data=data,
        batch_size=128,
        epochs=15,
        learning_rate=1e-3,
        description="Nine measured optical properties of dyes in solution, most of which are missing for most dyes.",
        source=SOURCE,
    )


def _task(name: str, about: Property) -> Task:
    error = Metric(partial(mean_absolute_error, unit=about.deviation), higher_is_better=False)
    return Task(name, loss=F.mse_loss, kpi=r2, metrics={f"mae_{about.unit}".rstrip("_"): error}, kpi_from="validation")


def mean_absolute_error(output: Tensor, target: Tensor, *, unit: float) -> Tensor:
    """The mean absolute error of what is standardised, in the property's unit, of which `unit` make one deviation."""
    return unit * F.l1_loss(output, target)


class Counts(nn.Module):
    """Logarithms of the counts of substructures, [lines, columns of chromophore and solvent]."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The counts of `chromophore` and `solvent`, both uint8, side by side."""
        return torch.cat([inputs[molecule] for molecule in COLUMNS], dim=1).float().log1p()


def network(features: int = 256, dropout: float = 0.2) -> HardSharing:
    """A trunk of two layers on the counts, and a linear head for each property."""
    return HardSharing.from_parts(parts(features, dropout))


def parts(features: int = 256, dropout: float = 0.2) -> Parts:
    """What networks are made of: the counts, and two layers with dropout."""

    def layer(before: int, channels: int) -> nn.Module:
        return nn.Sequential(vector_layer(before, channels), nn.Dropout(dropout))

    heads = dict.fromkeys(PROPERTIES, number_head)
    return Parts(stem=Counts, channels=sum(SIZES.values()), layer=layer, width=features, depth=2, heads=heads)


def data() -> Splits:
    """The three splits: inputs `chromophore` and `solvent` uint8 [lines, substructures], targets float32, NaN if missing.

    Raises:
        InputError: a package is not installed, or the file is not the one that it carries.
    """
    tensors = cached(f"optical-{SOURCE.digest()}-{REVISION}", _tensors)
    return Splits(**{split: _table(tensors, place) for place, split in enumerate(SPLITS)})


def _table(tensors: Mapping[str, Tensor], place: int) -> TensorTable:
    chosen = tensors["split"] == place
    inputs = {molecule: tensors[f"counts.{molecule}"][tensors[molecule][chosen]] for molecule in COLUMNS}
    targets = {name: (tensors[name][chosen] - about.mean) / about.deviation for name, about in PROPERTIES.items()}
    return TensorTable(inputs, targets)


def lines() -> list[dict[str, str]]:
    """The lines of the file, by column.

    Raises:
        InputError: the package is not installed, or the file is not the one that it carries.
    """
    return list(csv.DictReader(io.StringIO(SOURCE.read(FILE).decode("utf-8-sig"), newline="")))


def split_of(counts: Mapping[str, bytes]) -> dict[str, str]:
    """The split of each chromophore; those of the same counts are in the same one.

    Args:
        counts: of substructures, by how the chromophore is written (its SMILES).

    Example:
        >>> splits = split_of({"C/C=C/C": b"22", "CC=CC": b"22", "CC": b"20"})
        >>> splits["C/C=C/C"] == splits["CC=CC"]
        True
    """
    alike: dict[bytes, str] = {}  # the first of those of the same counts speaks for them
    for smiles in sorted(counts):
        alike.setdefault(counts[smiles], smiles)
    return {smiles: _drawn(alike[found]) for smiles, found in counts.items()}


def _drawn(smiles: str) -> str:
    draw = int.from_bytes(sha256(smiles.encode()).digest()[:4], "big") / 2**32
    return SPLITS[bisect((0.7, 0.85), draw)]


def substructures(written: Sequence[str], size: int) -> Tensor:
    """Counts of the substructures of molecules, [molecules, size] uint8: 255 stands for more, too, and "gas" has none.

    Args:
        written: the molecules' SMILES.
        size: to which the counts are folded.

    Raises:
        InputError: rdkit is not installed.
    """
    try:
        from rdkit.Chem import MolFromSmiles
        from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
    except ImportError:
        raise InputError(f"The substructures of molecules are found by rdkit. To install it: {SOURCE.install}") from None
    generator = GetMorganGenerator(radius=RADIUS, fpSize=size)
    counts = torch.zeros(len(written), size, dtype=torch.uint8)
    for row, smiles in enumerate(written):
        if smiles != "gas":
            found = generator.GetCountFingerprintAsNumPy(MolFromSmiles(smiles))
            counts[row] = torch.from_numpy(found.astype("int64")).clamp(max=255)
    return counts


def _tensors() -> dict[str, Tensor]:
    """The properties and the molecules' places by line, the counts by molecule."""
    read = lines()
    tensors = {name: torch.tensor([float(line[about.column]) for line in read]) for name, about in PROPERTIES.items()}
    tensors["lifetime"] = tensors["lifetime"].log10()
    written = {molecule: sorted({line[column] for line in read}) for molecule, column in COLUMNS.items()}
    for molecule, column in COLUMNS.items():
        places = {smiles: place for place, smiles in enumerate(written[molecule])}
        tensors[molecule] = torch.tensor([places[line[column]] for line in read])
        tensors[f"counts.{molecule}"] = substructures(written[molecule], SIZES[molecule])
    counts = (row.numpy().tobytes() for row in tensors["counts.chromophore"])
    splits = split_of(dict(zip(written["chromophore"], counts, strict=True)))
    tensors["split"] = torch.tensor([SPLITS.index(splits[line["Chromophore"]]) for line in read])
    return tensors
