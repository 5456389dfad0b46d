"""`qm9`: eleven properties of small molecules from the positions of their atoms, the benchmark of Nash-MTL.

QM9 contains molecules of up to nine carbon, nitrogen, oxygen and fluorine atoms, plus hydrogen, with properties computed by
density functional theory, B3LYP/6-31G(2df,p). The tasks are the eleven targets of Nash-MTL's protocol. Some are learned
within an epoch, such as the vibrational energy and the heat capacity. The dipole moment and the energies of the orbitals
take longer, because the network sees only distances. Four energies are nearly the same quantity, which counts four times.

Inputs: each atom's element and coordinates, padded to the 29 atoms of the largest molecule. The network uses distances only,
so it is invariant to rotation, translation, reflection and the order of the atoms.

Splits: 5,000 molecules for testing, 2,000 for validation, and 20,000 of the other 123,831 for training, so that a run takes
minutes on one core. They are taken in the order of a hash of the InChI; tautomers, which share an InChI, are in one split.
For a larger training split, write a problem file:

    from hardfirst.problems import qm9

    def problem():
        return qm9.problem(train=110_000)

Targets: a reference energy for each atom, by its element, is subtracted from the four energies (u0, u, h, g); the references
are fitted by least squares on the training split. All targets are standardised by the mean and standard deviation of the
default training split. The KPI is R² on the validation split; the mean absolute error is in the units of Nash-MTL's tables.

Departures from the protocol: it trains another network on 110,000 molecules for 300 epochs, and uses atomisation energies
relative to isolated atoms. Its results are not comparable with those here.

Left out: the gap between HOMO and LUMO, as in the protocol; the rotational constants, charges, frequencies and
polarizability tensor of the files. The package leaves out the 3,054 molecules whose bonds changed during relaxation.

Source: Ramakrishnan, Dral, Rupp and von Lilienfeld, Quantum chemistry structures and properties of 134 kilo molecules,
Scientific Data 1, 140022, 2014, from the Python package qm9pack, whose code is not imported.

References:
    Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022 (the protocol);
    Schütt et al., SchNet: A continuous-filter convolutional neural network for modeling quantum interactions, NIPS 2017.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hardfirst.errors import InputError, whole
from hardfirst.networks import HardSharing, Parts, number_head
from hardfirst.problems._base import Problem, Splits
from hardfirst.problems._cache import cached
from hardfirst.problems._data import TensorTable
from hardfirst.problems._sources import PyPI, Source
from hardfirst.problems._task import standardised_task
from hardfirst.problems.builtin._schnet import ELEMENTS, Molecules

FILES = {
    "qm9_part1.csv": "19f0a5d595462d52cd82eef3370f3e9eb55a1f52cb14985657200349568deff3",
    "qm9_part2.csv": "2bca113fdc0b28a13563c80ed9b240e934f3da6c64c64fe74ddb4f0f36036e61",
    "qm9_part3.csv": "9c5efb5733d2af149db8d95d36ff198b4ffed12d9f7b344220a1e5877d5c6a43",
}
SOURCE = Source(
    packages={PyPI("qm9pack", "1.0.3"): FILES},
    size="234 MB",
    licence="CC0 (the data), MIT (the package)",
    credit="Ramakrishnan, Dral, Rupp and von Lilienfeld, Scientific Data 1, 140022, 2014, https://doi.org/10.1038/sdata.2014.22",
)
REVISION = 1  # of the cached tensors: increase it with every change of the parsing

ATOMS = 29  # of the largest molecule
VALIDATION, TEST, TRAIN = 2000, 5000, 20_000
HARTREE = 27_211.386  # meV


class Property(NamedTuple):
    """A property of molecules.

    Args:
        column: its column in the files.
        unit: the unit of the reported error.
        mean: the mean of the default training split in that unit, without the atoms' references.
        deviation: the standard deviation, in the same way.
        factor: one of the column's units in `unit`.
        referenced: whether it is an energy of the whole molecule, from which the atoms' references are subtracted.
    """

    column: str
    unit: str
    mean: float
    deviation: float
    factor: float = 1.0
    referenced: bool = False


_energy = partial(Property, unit="meV", factor=HARTREE)
PROPERTIES = {
    "mu": Property("Dipole_debye", "D", 2.69, 1.515),
    "alpha": Property("Polarizability_bohr3", "bohr3", 75.2, 8.18),
    "homo": _energy("HOMO_au", mean=-6538, deviation=601),
    "lumo": _energy("LUMO_au", mean=312, deviation=1280),
    "r2": Property("R2_bohr2", "bohr2", 1190, 283),
    "zpve": _energy("ZPVE_au", mean=4045, deviation=908),
    "u0": _energy("InternalEnergy_0K_au", mean=3, deviation=1094, referenced=True),
    "u": _energy("InternalEnergy_298K_au", mean=3, deviation=1091, referenced=True),
    "h": _energy("Enthalphy_298K_au", mean=3, deviation=1091, referenced=True),
    "g": _energy("GibbsFreeEnergy_298K_au", mean=1, deviation=1099, referenced=True),
    "cv": Property("Heatcapacity_Cv_cal_mol_K", "cal_per_mol_K", 31.6, 4.07),
}


def problem(train: int = TRAIN) -> Problem:
    """Return the problem: 11 tasks and 20,000 training molecules; a run takes one or two minutes on one core.

    Args:
        train: the number of training molecules, from 1,000 to 123,831. The other two splits do not depend on it.

    Raises:
        InputError: `train` is not a whole number, or is too small.

    Example:
        >>> problem().task_names[:6]
        ('mu', 'alpha', 'homo', 'lumo', 'r2', 'zpve')
    """
    return Problem(
        name="qm9",
        tasks=tuple(
            standardised_task(name, deviation=about.deviation, error=f"mae_{about.unit}")
            for name, about in PROPERTIES.items()
        ),
        network=network,
        parts=parts,
        data=partial(data, whole("train", train, least=1000)),
        batch_size=64,
        epochs=8,
        learning_rate=2e-3,
        description="Eleven quantum-chemical properties of small molecules from the positions of their atoms.",
        source=SOURCE,
    )


# The network


def network(features: int = 48, radii: int = 16, convolutions: int = 3) -> HardSharing:
    """Return a small SchNet with a linear head for each property: 31,163 parameters.

    Args:
        features: features per atom and per molecule.
        radii: number of radial functions.
        convolutions: number of convolutions.
    """
    heads = {name: number_head(features) for name in PROPERTIES}
    return HardSharing(Molecules(features, radii, convolutions), heads)


def parts() -> Parts:
    """Return the parts of other networks: a small SchNet, and two layers of 96 features on the molecule."""
    return Parts(
        stem=partial(Molecules, features=48, radii=16, convolutions=3),
        channels=48,
        layer=lambda before, channels: nn.Sequential(nn.Linear(before, channels), nn.SiLU()),
        width=96,
        depth=2,
        heads=dict.fromkeys(PROPERTIES, number_head),
    )


# The data


def data(train: int = TRAIN) -> Splits:
    """Return the three splits: `elements` [molecules, 29] int64, `positions` [molecules, 29, 3] float32; targets float32.

    The first call parses the files, which takes 10 to 30 seconds, and stores 60 MB in the user's cache folder.

    Args:
        train: the number of training molecules.

    Raises:
        InputError: the package is not installed, a file is not the published one, or there are fewer molecules.
    """
    columns = cached(f"qm9-{SOURCE.digest()}-{REVISION}", molecules)
    first, second, last = TEST, TEST + VALIDATION, TEST + VALIDATION + train
    if last > (count := len(columns["elements"])):
        raise InputError(f"Expected `train` to be at most {count - second}; got {train}.")
    columns = {name: column[:last] for name, column in columns.items()}
    rows = {"train": slice(second, last), "validation": slice(first, second), "test": slice(first)}
    inputs = {"elements": columns["elements"].long(), "positions": columns["positions"]}
    table = TensorTable(inputs, standardised(columns, rows["train"]))
    return Splits(**{split: TensorTable(*table[part]) for split, part in rows.items()})


def molecules() -> dict[str, Tensor]:
    """Return all molecules in the order of their InChI's hash: `elements`, `positions`, and properties in the files' units.

    Raises:
        InputError: the package is not installed, or a file is not the published one.
    """
    texts = (SOURCE.read(file).decode() for file in FILES)
    ordered = sorted((molecule for text in texts for molecule in parse(text)), key=lambda molecule: molecule.order)
    elements = torch.tensor([_padded(molecule.elements, ATOMS) for molecule in ordered], dtype=torch.uint8)
    positions = torch.tensor([_padded(molecule.positions, 3 * ATOMS) for molecule in ordered]).view(-1, ATOMS, 3)
    columns = torch.tensor([molecule.properties for molecule in ordered], dtype=torch.float64).T.contiguous()
    return {"elements": elements, "positions": positions, **dict(zip(PROPERTIES, columns, strict=True))}


def _padded(values: Sequence[float], size: int) -> list[float]:
    return [*values, *[0] * (size - len(values))]


class Molecule(NamedTuple):
    """A molecule: its sort key, elements (1 to 5), 3 coordinates per atom, and properties."""

    order: tuple[bytes, int]
    elements: list[int]
    positions: list[float]
    properties: list[float]


def parse(text: str) -> Iterator[Molecule]:
    """Parse the molecules of a file.

    Raises:
        InputError: a molecule does not have three coordinates per atom.
    """
    for line in csv.DictReader(text.splitlines()):
        elements = [1 + ELEMENTS.index(symbol) for symbol in re.findall("[A-Z]", line["Elements"])]
        positions = numbers(line["XYZ_Ang"])
        if len(positions) != 3 * len(elements):
            raise InputError(f"Expected {3 * len(elements)} coordinates of {line['XYZ_file']}; got {len(positions)}.")
        yield Molecule(
            order=(sha256(line["InChi"].encode()).digest(), int(line["Index"])),
            elements=elements,
            positions=positions,
            properties=[float(line[about.column]) for about in PROPERTIES.values()],
        )


def numbers(text: str) -> list[float]:
    """Parse the numbers in a list of lists. It is not JSON, where a point is followed by a digit.

    >>> numbers("[[-7.E-6,0.,-1.2]]")
    [-7e-06, 0.0, -1.2]
    """
    return [float(number) for number in text.replace("[", "").replace("]", "").split(",")]


def references(elements: Tensor, energies: Tensor) -> Tensor:
    """Fit the energy of an atom of each element, [5] in meV, to the molecules' energies by least squares.

    Args:
        elements: [molecules, atoms]; 0 is padding.
        energies: [molecules], in meV. The references are rounded to 0.01 meV, below the precision of the files, so that
            they are the same on every machine.
    """
    solution = torch.linalg.lstsq(composition(elements), energies.unsqueeze(1)).solution
    rounded: Tensor = solution.squeeze(1).round(decimals=2)
    return rounded


def composition(elements: Tensor) -> Tensor:
    """Count the atoms of each element, [molecules, 5] float64."""
    return torch.stack([(elements == 1 + kind).sum(1) for kind in range(len(ELEMENTS))], dim=1).double()


def standardised(columns: Mapping[str, Tensor], train: slice) -> dict[str, Tensor]:
    """Return the standardised properties of all molecules, without the references fitted on the training split."""
    targets = {}
    for name, about in PROPERTIES.items():
        values = columns[name] * about.factor
        if about.referenced:
            fitted = references(columns["elements"][train], values[train])
            values = values - composition(columns["elements"]) @ fitted
        targets[name] = ((values - about.mean) / about.deviation).float()
    return targets
