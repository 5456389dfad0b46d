import csv
from hashlib import sha256

import pytest
import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import Problem, Splits, qm9
from installed import needs
from problem_data import whole

SPLITS = {"train": 20_000, "validation": 2000, "test": 5000}
each_split = pytest.mark.parametrize("split", SPLITS)
NAME = "qm9"
installed = needs("qm9")


def made(molecules: int = 6, atoms: int = 9) -> dict[str, Tensor]:
    """Molecules of 4 atoms or more at random places, padded."""
    sizes = torch.randint(4, atoms, (molecules, 1))
    there = torch.arange(atoms) < sizes
    return {
        "elements": torch.where(there, torch.randint(1, 6, (molecules, atoms)), 0),
        "positions": torch.where(there.unsqueeze(2), 2 * torch.randn(molecules, atoms, 3), 0),
    }


# What is parsed


def test_numbers_are_read_as_the_files_write_them() -> None:
    text = "[[0.,18.,-349.],[13.21,-0.0126981359,-7.E-6],[2.1997E-6,1.5E+2,12]]"
    assert qm9.numbers(text) == [0.0, 18.0, -349.0, 13.21, -0.0126981359, -7e-6, 2.1997e-6, 150.0, 12.0]


COLUMNS = ["XYZ_file", "Index", "InChi", "Elements", "XYZ_Ang", *(about.column for about in qm9.PROPERTIES.values())]


def file(*lines: list[str]) -> str:
    return "\n".join(",".join(f'"{value}"' for value in line) for line in [COLUMNS, *lines])


def test_a_line_becomes_a_molecule() -> None:
    properties = ["0.", "6.31", "-0.2928", "0.0687", "19.", "2.E-2", "-76.4", "-76.3", "-76.2", "-76.1", "6.002"]
    line = ["3.xyz", "3", "InChI=1S/H2O/h1H2", "['O','H','H']", "[[0.,0.5,7.E-3],[1.,-1.,0.],[0.5,1.,2.]]", *properties]
    (found,) = qm9.parse(file(line))
    assert found.order[1] == 3
    assert found.elements == [4, 1, 1]
    assert found.positions == [0.0, 0.5, 7e-3, 1.0, -1.0, 0.0, 0.5, 1.0, 2.0]
    assert found.properties == [0.0, 6.31, -0.2928, 0.0687, 19.0, 0.02, -76.4, -76.3, -76.2, -76.1, 6.002]


def test_an_atom_without_its_coordinates_is_an_error() -> None:
    line = ["3.xyz", "3", "InChI", "['O','H','H']", "[[0.,0.5,7.E-3],[1.,-1.,0.]]", *["0."] * 11]
    with pytest.raises(InputError, match=r"Expected 9 coordinates of 3\.xyz; got 6\."):
        list(qm9.parse(file(line)))


def test_molecules_come_in_the_order_of_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    def line(index: int, inchi: str) -> list[str]:
        return [f"{index}.xyz", str(index), inchi, "['H','F']", f"[[0.,0.,0.],[0.,0.,{index}.]]", *[f"{index}."] * 11]

    class Source:
        def read(self, name: str) -> bytes:
            lines = {"qm9_part1.csv": [line(1, "c"), line(2, "a")], "qm9_part2.csv": [line(3, "b"), line(4, "a")]}
            return file(*lines.get(name, [])).encode()

    monkeypatch.setattr(qm9, "SOURCE", Source())
    found = qm9.molecules()
    # SHA-256 begins with 2e for "c", 3e for "b", ca for "a"
    assert found["mu"].tolist() == found["cv"].tolist() == [1, 3, 2, 4]
    assert found["positions"][:, 1, 2].tolist() == [1, 3, 2, 4]
    assert found["elements"][:, :3].tolist() == [[1, 5, 0]] * 4


# What is taken away from the energies


def energies() -> dict[str, Tensor]:
    """200 molecules; each energy is its atoms', which the last 100 have otherwise, and an offset of its own."""
    elements = torch.randint(0, 6, (200, 12))
    atoms = torch.tensor([-0.6, -38.0, -54.5, -75.0, -99.6], dtype=torch.float64)
    others = atoms.repeat(200, 1)
    others[100:] += 1
    energy = (qm9.composition(elements) * others).sum(1)
    return {"elements": elements, **dict.fromkeys(qm9.PROPERTIES, energy)}


def test_references_are_the_atoms_energies() -> None:
    found = energies()
    fitted = qm9.references(found["elements"][:100], found["u0"][:100] * qm9.HARTREE)
    expected = torch.tensor([-0.6, -38.0, -54.5, -75.0, -99.6], dtype=torch.float64) * qm9.HARTREE
    assert (fitted - expected).abs().max() <= 0.005


def test_references_are_fitted_on_the_training_split_alone() -> None:
    found = energies()
    targets = qm9.standardised(found, slice(100))
    about = qm9.PROPERTIES["u0"]
    residual = targets["u0"].double() * about.deviation + about.mean
    atoms = qm9.composition(found["elements"]).sum(1)
    torch.testing.assert_close(residual[:100], torch.zeros(100, dtype=torch.float64), rtol=0, atol=0.1)
    torch.testing.assert_close(residual[100:], atoms[100:] * qm9.HARTREE, rtol=1e-4, atol=0.1)
    other = {name: column.clone() for name, column in found.items()}
    for name in ("u0", "u", "h", "g", "cv"):
        other[name][100:] += 5
    for name, target in qm9.standardised(other, slice(100)).items():
        assert torch.equal(target[:100], targets[name][:100]), name


def test_only_the_four_energies_have_references() -> None:
    found = energies()
    targets = qm9.standardised(found, slice(100))
    for name, about in qm9.PROPERTIES.items():
        plain = ((found[name] * about.factor - about.mean) / about.deviation).float()
        assert torch.equal(plain, targets[name]) == (name not in ("u0", "u", "h", "g")), name


# Where the files are not as they should be


def test_the_training_split_is_of_a_thousand_at_least() -> None:
    with pytest.raises(InputError, match="Expected `train` to be a whole number, at least 1000; got 10"):
        qm9.problem(train=10)


# The network


def outputs(network: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.stack(list(network(inputs).values()), dim=1)


def test_the_network_answers_every_task(problem: Problem) -> None:
    network = problem.network()
    assert {task: tuple(output.shape) for task, output in network(made()).items()} == dict.fromkeys(problem.task_names, (6,))
    assert sum(parameter.numel() for parameter in network.parameters()) == 31_163


def test_turning_moving_and_mirroring_change_nothing(problem: Problem) -> None:
    network, inputs = problem.network(), made()
    turn = torch.linalg.qr(torch.randn(3, 3)).Q
    expected = outputs(network, inputs)
    for change in (turn, -turn):
        moved = inputs["positions"] @ change + torch.tensor([3.0, -2.0, 1.0])
        found = outputs(network, {**inputs, "positions": moved})
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    squeezed = outputs(network, {**inputs, "positions": inputs["positions"] * 0.9})
    assert (squeezed - expected).abs().max() > 1e-3


def test_the_order_of_the_atoms_changes_nothing(problem: Problem) -> None:
    network, inputs = problem.network(), made(molecules=1)
    size = int((inputs["elements"] > 0).sum())
    order = torch.cat([torch.randperm(size), torch.arange(size, 9)])
    mixed = {name: column[:, order] for name, column in inputs.items()}
    torch.testing.assert_close(outputs(network, mixed), outputs(network, inputs), rtol=1e-4, atol=1e-5)
    other = {**inputs, "elements": torch.where(inputs["elements"] > 0, inputs["elements"] % 5 + 1, 0)}
    assert (outputs(network, other) - outputs(network, inputs)).abs().max() > 1e-3


def test_padding_changes_nothing(problem: Problem) -> None:
    network, inputs = problem.network(), made()
    expected = outputs(network, inputs)
    for molecule in range(6):
        size = int((inputs["elements"][molecule] > 0).sum())
        alone = {name: column[molecule : molecule + 1, :size] for name, column in inputs.items()}
        torch.testing.assert_close(outputs(network, alone), expected[molecule : molecule + 1], rtol=1e-4, atol=1e-5)
    far = {**inputs, "positions": torch.where(inputs["elements"].unsqueeze(2) > 0, inputs["positions"], 1.0)}
    torch.testing.assert_close(outputs(network, far), expected)


def test_padding_has_no_gradient_that_is_not_a_number(problem: Problem) -> None:
    network, inputs = problem.network(), made()
    inputs["positions"].requires_grad_()
    torch.stack(list(network(inputs).values())).sum().backward()
    for tensor in (inputs["positions"], *network.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


# The data


@installed
@each_split
def test_shapes_and_types(problem: Problem, splits: Splits, split: str) -> None:
    inputs, targets = whole(splits, split)
    assert inputs["elements"].shape == (SPLITS[split], 29)
    assert inputs["positions"].shape == (SPLITS[split], 29, 3)
    assert [inputs[name].dtype for name in ("elements", "positions")] == [torch.int64, torch.float32]
    assert tuple(targets) == problem.task_names
    assert {target.dtype for target in targets.values()} == {torch.float32}
    assert all(target.isfinite().all() for target in targets.values())


@installed
@each_split
def test_molecules_look_like_molecules(splits: Splits, split: str) -> None:
    inputs, _ = whole(splits, split)
    elements, positions = inputs["elements"], inputs["positions"]
    there = elements > 0
    sizes = there.sum(1)
    assert sizes.min() >= 3
    assert torch.equal(there, torch.arange(29) < sizes.unsqueeze(1))  # padding comes last
    assert ((elements > 1).sum(1) <= 9).all()
    assert elements.max() == 5
    assert (positions[~there] == 0).all()
    distances = torch.cdist(positions[:1000], positions[:1000])
    pairs = there[:1000].unsqueeze(1) & there[:1000].unsqueeze(2) & ~torch.eye(29, dtype=torch.bool)
    assert 0.7 < distances[pairs].min() < 1
    assert distances[pairs].max() < 15


@installed
@each_split
def test_targets_are_standardised(splits: Splits, split: str) -> None:
    near = 0.01 if split == "train" else 0.1
    for name, target in whole(splits, split)[1].items():
        assert abs(target.mean()) < near, name
        assert abs(target.std() - 1) < near, name


@installed
@each_split
def test_properties_are_what_nature_allows(splits: Splits, split: str) -> None:
    targets = whole(splits, split)[1]
    natural = {name: target * qm9.PROPERTIES[name].deviation + qm9.PROPERTIES[name].mean for name, target in targets.items()}
    for name in ("alpha", "r2", "zpve", "cv"):
        assert (natural[name] > 0).all(), name
    assert (natural["mu"] > -0.01).all()
    assert (natural["lumo"] > natural["homo"]).all()


@installed
def test_no_two_molecules_of_a_split_are_the_same(splits: Splits) -> None:
    for split, size in SPLITS.items():
        inputs, _ = whole(splits, split)
        rows = torch.cat([inputs["elements"].float().unsqueeze(2), inputs["positions"]], dim=2).numpy()
        assert len({row.tobytes() for row in rows}) == size


@installed
@pytest.mark.slow
def test_no_inchi_is_in_two_splits() -> None:
    lines = [line for name in qm9.FILES for line in csv.DictReader(qm9.SOURCE.read(name).decode().splitlines())]
    assert len(lines) == 130_831
    order = sorted(sha256(line["InChi"].encode()).digest() for line in lines)
    for boundary in (qm9.TEST, qm9.TEST + qm9.VALIDATION):
        assert order[boundary - 1] != order[boundary]


@installed
def test_a_molecule_is_as_in_the_file(splits: Splits) -> None:
    inputs, targets = splits.test[0]  # dsgdb9nsd_095207
    symbols = ["", *qm9.ELEMENTS]
    assert "".join(symbols[element] for element in inputs["elements"]) == "CCCCCNCCO" + 13 * "H"
    atoms = torch.tensor([-16_426.29, -1_036_056.10, -1_489_801.23, -2_046_975.05, -2_717_456.13], dtype=torch.float64)
    references = float(qm9.composition(inputs["elements"].unsqueeze(0)) @ atoms)
    expected = {"mu": 2.7942, "alpha": 80.86, "homo": -0.2469 * 27_211.386, "r2": 1136.4993, "cv": 33.865}
    expected |= {"u0": -404.346259 * 27_211.386 - references}
    for name, value in expected.items():
        about = qm9.PROPERTIES[name]
        assert float(targets[name]) * about.deviation + about.mean == pytest.approx(value, abs=1e-3 * about.deviation), name


@installed
def test_a_larger_training_split_leaves_the_others_alone(splits: Splits) -> None:
    larger = qm9.data(train=30_000)
    for split in ("validation", "test"):
        for one, other in zip(whole(splits, split), whole(larger, split), strict=True):
            for name, column in one.items():
                if name not in ("u0", "u", "h", "g"):  # whose references come from more molecules
                    assert torch.equal(column, other[name])
    (inputs, _), (others, _) = whole(splits, "train"), whole(larger, "train")
    assert torch.equal(others["positions"][:20_000], inputs["positions"])
    with pytest.raises(InputError, match="Expected `train` to be at most 123831; got 123832"):
        qm9.data(train=123_832)


def test_errors_are_in_the_tables_units(problem: Problem) -> None:
    error = problem.tasks[0].metrics["mae_D"]
    assert not error.higher_is_better
    assert float(error.measure(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 2.0]))) == pytest.approx(1.515 / 2)
    assert {name for task in problem.tasks for name in task.metrics} == {
        "mae_D",
        "mae_bohr3",
        "mae_meV",
        "mae_bohr2",
        "mae_cal_per_mol_K",
    }
    assert {task.kpi_from for task in problem.tasks} == {"validation"}
