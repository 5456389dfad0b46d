"""`optical`: nine measured optical properties of dyes in solution; most labels are missing.

A row of the database is one chromophore in one solvent, in a host, or as a solid, with the values that an article reports:
the wavelengths at which it absorbs and emits most, how wide both bands are (in wavenumbers or in wavelengths, rarely both),
how strongly it absorbs, the share of the light that it emits again (the quantum yield), and how long that takes (the
lifetime). Of the 20,236 rows 18,142 have an emission maximum and only 627 an emission width in wavenumbers.

Inputs: counts of the circular substructures of up to two bonds around an atom (Morgan, folded) in the chromophore and in the
solvent. They ignore stereochemistry. The solvent "gas" has no substructures.

Splits: by chromophore, about 70%, 15% and 15%, by a hash of its SMILES. Chromophores with the same substructures, such
as stereoisomers, are in one split. So every chromophore of the test split is new to the network, though close relatives may
not be, such as one with a longer chain. Solvents are in all splits, and a chromophore of the test split may be the solvent
or host of another one.

Targets: the lifetime, from a tenth of a picosecond to microseconds, is a logarithm to base 10, as the extinction coefficient
is in the database. All are standardised by the rounded mean and standard deviation of the training split. The KPI is R² on
the validation split; the mean absolute error is in the property's unit.

Left out: the molecular weight, which follows from the substructures, the article, and the row's number.

Source: Joung, Han, Jeong and Park, Experimental database of optical properties of organic compounds, Scientific Data 7, 295,
2020, https://doi.org/10.1038/s41597-020-00634-8 ("Deep4Chem"), CC BY 4.0, from the Python package D4CMPP, whose code is not
imported. rdkit finds the substructures.

References:
    Joung et al., Deep Learning Optical Spectroscopy Based on Experimental Database: Potential Applications to Molecular
    Design, JACS Au 1, 2021 (the same tasks, by graph convolutions);
    Rogers and Hahn, Extended-Connectivity Fingerprints, Journal of Chemical Information and Modeling 50, 2010.
"""

import csv
import io
from bisect import bisect
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hardfirst.errors import MissingPackage
from hardfirst.networks import HardSharing, Parts, number_head, vector_layer
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._cache import cached
from hardfirst.problems._data import TensorTable
from hardfirst.problems._sources import PyPI, Source
from hardfirst.problems._task import standardised_task

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
REVISION = 1  # of the cached tensors: increase it with every change of the parsing
SPLITS = ("train", "validation", "test")
COLUMNS = {"chromophore": "Chromophore", "solvent": "Solvent"}
SIZES = {"chromophore": 2048, "solvent": 256}  # of the folded counts
RADIUS = 2  # bonds


class Property(NamedTuple):
    """A column of the file, the unit of the error, and the training split's mean and standard deviation in that unit."""

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
    """Return the problem: 9 tasks and 14,025 training rows; a run takes about 25 seconds on one core.

    Example:
        >>> problem().task_names[:5]
        ('absorption', 'emission', 'lifetime', 'quantum_yield', 'extinction')
    """
    return Problem(
        name="optical",
        tasks=tuple(
            standardised_task(name, deviation=about.deviation, error=f"mae_{about.unit}".rstrip("_"))
            for name, about in PROPERTIES.items()
        ),
        network=network,
        parts=parts,
        data=data,
        batch_size=128,
        epochs=15,
        learning_rate=1e-3,
        description="Nine measured optical properties of dyes in solution; most labels are missing.",
        source=SOURCE,
    )


class Counts(nn.Module):
    """The logarithms of the counts of substructures, [rows, chromophore's and solvent's counts]."""

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Concatenate the counts of `chromophore` and `solvent`, both uint8."""
        return torch.cat([inputs[molecule] for molecule in COLUMNS], dim=1).float().log1p()


def network(features: int = 256, dropout: float = 0.2) -> HardSharing:
    """Return a trunk of two layers on the counts, and a linear head for each property."""
    return HardSharing.from_parts(parts(features, dropout))


def parts(features: int = 256, dropout: float = 0.2) -> Parts:
    """Return the parts of other networks: the counts, and two layers with dropout."""

    def layer(before: int, channels: int) -> nn.Module:
        return nn.Sequential(vector_layer(before, channels), nn.Dropout(dropout))

    heads = dict.fromkeys(PROPERTIES, number_head)
    return Parts(stem=Counts, channels=sum(SIZES.values()), layer=layer, width=features, depth=2, heads=heads)


def data() -> Splits:
    """Return the three splits: inputs `chromophore` and `solvent` uint8 [rows, substructures], targets float32 or NaN.

    Raises:
        InputError: a package is not installed, or the file is not the published one.
    """
    tensors = cached(f"optical-{SOURCE.digest()}-{REVISION}", _tensors)
    return Splits(**{split: _table(tensors, number) for number, split in enumerate(SPLITS)})


def _table(tensors: Mapping[str, Tensor], split: int) -> TensorTable:
    selected = tensors["split"] == split
    inputs = {molecule: tensors[f"counts.{molecule}"][tensors[molecule][selected]] for molecule in COLUMNS}
    targets = {name: (tensors[name][selected] - about.mean) / about.deviation for name, about in PROPERTIES.items()}
    return TensorTable(inputs, targets)


def read_rows() -> list[dict[str, str]]:
    """Return the rows of the file as dicts by column.

    Raises:
        InputError: the package is not installed, or the file is not the published one.
    """
    return list(csv.DictReader(io.StringIO(SOURCE.read(FILE).decode("utf-8-sig"), newline="")))


def split_of(counts: Mapping[str, bytes]) -> dict[str, str]:
    """Assign each chromophore to a split; those with the same counts go to the same one.

    Args:
        counts: the counts of substructures as bytes, by the chromophore's SMILES.

    Example:
        >>> splits = split_of({"C/C=C/C": b"22", "CC=CC": b"22", "CC": b"20"})
        >>> splits["C/C=C/C"] == splits["CC=CC"]
        True
    """
    first: dict[bytes, str] = {}  # the first SMILES with these counts, whose hash determines the split of all of them
    for smiles in sorted(counts):
        first.setdefault(counts[smiles], smiles)
    return {smiles: _split_by_hash(first[key]) for smiles, key in counts.items()}


def _split_by_hash(smiles: str) -> str:
    fraction = int.from_bytes(sha256(smiles.encode()).digest()[:4], "big") / 2**32
    return SPLITS[bisect((0.7, 0.85), fraction)]


def substructures(molecules: Sequence[str], size: int) -> Tensor:
    """Count the substructures of molecules, [molecules, size] uint8, at most 255; "gas" has none.

    Args:
        molecules: SMILES.
        size: the number of counts after folding.

    Raises:
        MissingPackage: rdkit is not installed.
    """
    try:
        from rdkit.Chem import MolFromSmiles
        from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
    except ImportError:
        raise MissingPackage(f"Finding substructures needs rdkit. Install it with: {SOURCE.install}") from None
    generator = GetMorganGenerator(radius=RADIUS, fpSize=size)
    counts = torch.zeros(len(molecules), size, dtype=torch.uint8)
    for row, smiles in enumerate(molecules):
        if smiles != "gas":
            fingerprint = generator.GetCountFingerprintAsNumPy(MolFromSmiles(smiles))
            counts[row] = torch.from_numpy(fingerprint.astype("int64")).clamp(max=255)
    return counts


def _tensors() -> dict[str, Tensor]:
    """Return the properties and the molecules' indices by row, and the counts by molecule."""
    rows = read_rows()
    tensors = {name: torch.tensor([float(row[about.column]) for row in rows]) for name, about in PROPERTIES.items()}
    tensors["lifetime"] = tensors["lifetime"].log10()
    molecules = {kind: sorted({row[column] for row in rows}) for kind, column in COLUMNS.items()}
    for kind, column in COLUMNS.items():
        indices = {smiles: index for index, smiles in enumerate(molecules[kind])}
        tensors[kind] = torch.tensor([indices[row[column]] for row in rows])
        tensors[f"counts.{kind}"] = substructures(molecules[kind], SIZES[kind])
    counts = (count.numpy().tobytes() for count in tensors["counts.chromophore"])
    splits = split_of(dict(zip(molecules["chromophore"], counts, strict=True)))
    tensors["split"] = torch.tensor([SPLITS.index(splits[row["Chromophore"]]) for row in rows])
    return tensors
