import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.metrics import mean_absolute_error
from torch import Tensor, nn

import molecule_files
from hardfirst.errors import InputError
from hardfirst.networks import NETWORKS
from hardfirst.problems import folder_name
from hardfirst.problems.fields import qm9_pyg
from hardfirst.problems.fields._molecules import molecules, padded
from hardfirst.problems.fields._nnconv import EdgeConvolution, MoleculeFeatures, Set2Set
from hardfirst.problems.fields._pyg import read_graphs
from hardfirst.training import check_problem
from resumed_runs import trained_and_resumed

LAYOUTS = ("raw", "processed", "triple", "object")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    molecule_files.save(tmp_path)
    return tmp_path


def inputs_of(molecules: list[dict[str, Any]]) -> dict[str, Tensor]:
    """The inputs of the network, one atom and one bond after the other."""
    largest = max(len(molecule["x"]) for molecule in molecules)
    atoms = torch.zeros(len(molecules), largest, 11, dtype=torch.uint8)
    positions = torch.zeros(len(molecules), largest, 3)
    bonds = torch.zeros(len(molecules), largest, largest, dtype=torch.uint8)
    for row, molecule in enumerate(molecules):
        for atom, features in enumerate(molecule["x"].tolist()):
            atoms[row, atom] = torch.tensor(features)
            positions[row, atom] = molecule["pos"][atom]
        for edge, kind in enumerate(molecule["edge_attr"].tolist()):
            sender, receiver = molecule["edge_index"][:, edge].tolist()
            bonds[row, receiver, sender] = 1 + kind.index(1)
    return {"atoms": atoms, "positions": positions, "bonds": bonds}


# The files


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_molecules(layout: str, tmp_path: Path) -> None:
    molecules = molecule_files.molecules(7)
    found = padded(read_graphs(molecule_files.save(tmp_path, layout, molecules)))
    for name, expected in inputs_of(molecules).items():
        torch.testing.assert_close(found[name], expected)


def test_the_file_of_the_library_is_read(tmp_path: Path) -> None:
    data = pytest.importorskip("torch_geometric.data", reason="torch_geometric is not installed")
    molecules = molecule_files.molecules(7)
    path = tmp_path / "data_v3.pt"
    expected = inputs_of(molecules)
    listed = [data.Data(**molecule) for molecule in molecules]
    data.InMemoryDataset.save(listed, path)
    for name, found in padded(read_graphs(path)).items():
        torch.testing.assert_close(found, expected[name])
    torch.save(data.InMemoryDataset.collate(listed), path)  # as its older versions do
    torch.testing.assert_close(read_graphs(path).y, torch.cat([molecule["y"] for molecule in molecules]))


def test_the_processed_file_is_read_where_both_are_there(folder: Path) -> None:
    molecule_files.save(folder, "processed", molecule_files.molecules(11))
    assert qm9_pyg.check(folder)[0] == f"11 molecules of up to 6 atoms, from {folder}/processed/data_v3.pt."


def test_check_says_what_is_there(folder: Path) -> None:
    assert qm9_pyg.check(folder) == [
        f"40 molecules of up to 6 atoms, from {folder}/raw/qm9_v3.pt.",
        "34 for training, 3 for validation and 3 for testing (QM9 has 130,831 molecules, so both are in proportion to "
        "10,000).",
        "11 targets without a missing value, standardised by the training split.",
    ]


def test_the_published_sizes_are_those_of_the_published_file() -> None:
    rows = qm9_pyg._rows(130_831)
    assert {name: len(range(130_831)[part]) for name, part in rows.items()} == {
        "train": 110_831,
        "validation": 10_000,
        "test": 10_000,
    }


def changed(**columns: Callable[[Tensor], object]) -> list[dict[str, Any]]:
    """Molecules of which the second has other tensors."""
    made = molecule_files.molecules(8)
    made[1].update({name: change(made[1][name]) for name, change in columns.items()})
    return made


def everywhere(**columns: Callable[[Tensor], object]) -> list[dict[str, Any]]:
    return [
        molecule | {name: change(molecule[name]) for name, change in columns.items()}
        for molecule in molecule_files.molecules(8)
    ]


def without(name: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in molecule.items() if key != name} for molecule in molecule_files.molecules(8)]


class Unknown:
    """A class that the file names, and that is not read."""


WRONG = {
    "a class": (
        [{"x": Unknown()}],
        r"raw/qm9_v3\.pt contains .*Unknown, which is not read, since a pickle can run any code",
    ),
    "no graphs": ({"weight": torch.zeros(2)}, r"Expected .*qm9_v3\.pt to contain a list of graphs, or a pair .*; got dict"),
    "no dicts": ([1, 2], r"Expected graph 0 of .*qm9_v3\.pt to be a dict of tensors; got int"),
    "no positions": (
        without("pos"),
        r"to have a tensor 'pos' in graph 0; got only x, edge_index, edge_attr, y, z, name, idx",
    ),
    "text": (changed(pos=str), r"to have a tensor 'pos' in graph 1; got str"),
    "one other shape": (changed(x=lambda x: x[:, :4]), r"The graphs of .*qm9_v3\.pt have tensors of different shapes"),
    "other features": (
        everywhere(x=lambda x: x[:, :4]),
        r"Expected 'x' in .* to be floating-point numbers \[\d+, 11\]; got float32 \[\d+, 4\]",
    ),
    "another type": (
        everywhere(y=Tensor.long),
        r"Expected 'y' in .* to be floating-point numbers \[8, 19\]; got int64 \[8, 19\]",
    ),
    "fractions": (changed(x=lambda x: x + 0.5), r"Expected 'x' in .* to count and mark features of atoms by 0, 1, 2"),
    "no such bond": (changed(edge_attr=lambda kinds: 2 * kinds), r"'edge_attr' in .* to mark one of 4 kinds of bond by a 1"),
    "no such atom": (
        changed(edge_index=lambda ends: ends + 1),
        r"'edge_index' in .* to number the atoms of each molecule from 0",
    ),
    "NaN": (changed(y=lambda y: y * math.nan), r"Expected finite numbers in 'y' of .*; got NaN or infinity"),
    "few": (molecule_files.molecules(3), r"Expected at least 4 molecules in .*, for three splits; got 3"),
    "constants": (
        everywhere(y=torch.ones_like),
        r"different values among the 6 training molecules of .*; mu, alpha, .* standardised",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_get_a_sentence(case: str, tmp_path: Path) -> None:
    contents, sentence = WRONG[case]
    (tmp_path / "raw").mkdir()
    torch.save(contents, tmp_path / "raw/qm9_v3.pt")
    with pytest.raises(InputError, match=sentence):
        qm9_pyg.check(tmp_path)


@pytest.mark.parametrize(
    "damage", [lambda held: held[: len(held) // 2], lambda _: b"", lambda _: b"<html>No such file</html>"]
)
def test_damaged_files_get_a_sentence(damage: Callable[[bytes], bytes], folder: Path) -> None:
    path = folder / "raw/qm9_v3.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"raw/qm9_v3\.pt cannot be read; it may be truncated or another kind of file"):
        qm9_pyg.check(folder)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_the_files_gets_a_sentence(there: bool, tmp_path: Path) -> None:
    if there:
        (tmp_path / "qm9/raw").mkdir(parents=True)
        (tmp_path / "qm9/raw/gdb9.sdf").touch()
    with pytest.raises(
        InputError, match=r"There is no processed/data_v3\.pt or raw/qm9_v3\.pt in .*/qm9\. Expected DIR/raw"
    ):
        qm9_pyg.problem(tmp_path / "qm9")


# The network


def plain_convolution(module: EdgeConvolution, nodes: Tensor, edges: Tensor) -> Tensor:
    """The definition, for one graph: a matrix for each pair of nodes."""
    heard = []
    for receiver in range(len(nodes)):
        others = [sender for sender in range(len(nodes)) if sender != receiver]
        matrices = [module.matrix(module.edge(edges[receiver, sender])).view(module.features, -1) for sender in others]
        heard.append(torch.stack([nodes[s] @ matrix for s, matrix in zip(others, matrices, strict=True)]).mean(0))
    return torch.stack(heard) + module.root(nodes)


def test_the_convolution_is_its_definition() -> None:
    torch.manual_seed(0)
    module = EdgeConvolution(6, hidden=4)
    nodes, edges = torch.randn(2, 5, 6), torch.randn(2, 5, 5, 5)
    sizes = (5, 3)
    present = torch.arange(5) < torch.tensor(sizes).unsqueeze(1)
    pairs = present.unsqueeze(1) & present.unsqueeze(2) & ~torch.eye(5, dtype=torch.bool)
    found = module(nodes, module.coefficients(edges, pairs))
    for graph, size in enumerate(sizes):
        torch.testing.assert_close(
            found[graph, :size], plain_convolution(module, nodes[graph, :size], edges[graph, :size, :size])
        )


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    network = MoleculeFeatures(8)
    molecules = molecule_files.molecules(6)
    together = network(inputs_of(molecules))
    for row, molecule in enumerate(molecules):
        torch.testing.assert_close(together[row : row + 1], network(inputs_of([molecule])))


def test_the_network_is_the_librarys() -> None:
    """The line's network, of PyTorch Geometric's layers, with the same weights."""
    layers = pytest.importorskip("torch_geometric.nn", reason="torch_geometric is not installed")
    torch.manual_seed(0)
    ours = MoleculeFeatures(8)
    edge = nn.Sequential(ours.convolution.edge, ours.convolution.matrix)
    convolution = layers.NNConv(8, 8, edge, aggr="mean")
    convolution.lin.weight, convolution.bias = ours.convolution.root.weight, ours.convolution.root.bias
    pool = layers.Set2Set(8, processing_steps=3)
    pool.lstm.load_state_dict({f"{name}_l0": value for name, value in ours.set.cell.state_dict().items()})
    for molecule in molecule_files.molecules(5):
        count = len(molecule["x"])
        sender, receiver = (~torch.eye(count, dtype=torch.bool)).nonzero().T
        kinds = torch.zeros(count, count, 4)
        kinds[tuple(molecule["edge_index"])] = molecule["edge_attr"]
        distances = (molecule["pos"][sender] - molecule["pos"][receiver]).norm(dim=1, keepdim=True)
        edges = torch.cat([kinds[sender, receiver], distances], dim=1)
        atoms = ours.atom(molecule["x"]).relu()
        for _ in range(3):
            atoms = ours.unit(convolution(atoms, torch.stack([sender, receiver]), edges).relu(), atoms)
        expected = pool(atoms, torch.zeros(count, dtype=torch.long))
        torch.testing.assert_close(ours(inputs_of([molecule])), expected, rtol=1e-4, atol=1e-5)


def test_a_set_has_no_order() -> None:
    torch.manual_seed(0)
    pool, elements = Set2Set(4), torch.randn(1, 6, 4)
    present = torch.tensor([[True] * 5 + [False]])
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(pool(elements, present), pool(elements[:, order], torch.ones(1, 5, dtype=torch.bool)))


# The problem


def test_targets_are_standardised_by_the_training_split(folder: Path) -> None:
    table = qm9_pyg.data(folder).train
    (_, targets) = table[torch.arange(len(table))]  # type: ignore[index, arg-type]  # a TensorTable
    for name, target in targets.items():
        assert abs(float(target.mean())) < 1e-5, name
        assert float(target.std()) == pytest.approx(1, abs=1e-5), name


def test_the_splits_have_each_molecule_once(folder: Path) -> None:
    splits = qm9_pyg.data(folder)
    tables = (splits.train, splits.validation, splits.test)
    found = torch.cat([table[torch.arange(len(table))][0]["positions"] for table in tables])  # type: ignore[index, arg-type]
    assert len(found) == len({tuple(row) for row in found.flatten(1).tolist()}) == 40


@pytest.mark.parametrize(("task", "column", "factor"), [("mu", 0, 1), ("homo", 2, 1000), ("zpve", 6, 1000), ("cv", 11, 1)])
def test_errors_are_in_the_units_of_the_reports(task: str, column: int, factor: int, folder: Path) -> None:
    problem = qm9_pyg.problem(folder)
    (metric,) = problem.tasks[problem.task_names.index(task)].metrics.values()
    _, targets = problem.data().test[torch.arange(3)]  # type: ignore[index]  # a TensorTable
    order = molecules(folder / "raw/qm9_v3.pt", [column])["targets"][:, 0]
    values = torch.cat([molecule["y"][:, column] for molecule in molecule_files.molecules()]).double()
    assert sorted(order.tolist()) == sorted(values.tolist())
    training = order[6:]
    expected = mean_absolute_error(order[:3], [float(training.mean())] * 3) * factor
    found = metric.measure(torch.zeros(3), targets[task])  # type: ignore[operator]  # a function
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("network", ["own", *(name for name in NETWORKS if name != "mtan")])
def test_every_network_fits(network: str, folder: Path) -> None:
    check_problem(qm9_pyg.problem(folder).variant(network=network), network)


def test_epochs_are_trained_and_resumed(folder: Path, tmp_path: Path) -> None:
    record = trained_and_resumed(folder_name("qm9_pyg", folder), tmp_path)
    assert record.test is not None
    assert record.test["tasks"]["mu"]["metrics"]["mae_D"] > 0
    assert record.test["tasks"]["u0"]["metrics"]["mae_meV"] > 0
