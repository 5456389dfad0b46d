import math
import sys

import pytest
import torch

from hardfirst.errors import InputError
from hardfirst.problems import Problem, Splits, optical
from installed import needs
from problem_data import whole

LINES = {"train": 14_025, "validation": 3_119, "test": 3_092}
NAME = "optical"
installed = needs("optical")
each_split = pytest.mark.parametrize("split", optical.SPLITS)
each_property = pytest.mark.parametrize("name", optical.PROPERTIES)


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
