"""A balancer from a user's Python file: `path/to/file.py:ClassName:option=value`."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hardfirst import Spec
from hardfirst.balancers import card
from hardfirst.errors import InputError

CODE = """
import torch
from hardfirst.balancers import LossBalancer, Range

with open("executions", "a") as file:
    file.write("x")

class Power(LossBalancer):
    ranges = {"p": Range(1, 4)}
    def __init__(self, tasks, *, p=1.0):
        super().__init__(tasks)
        self.p = p + 0
    def current_weights(self):
        return torch.ones(len(self.tasks))
    def combine(self, losses, kpis):
        return losses.pow(self.p).sum()

class Unfinished(LossBalancer):
    pass

class Other:
    pass
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("mine.py:Power", "mine.py:Power"),
        (" mine.py:Power:p=2.0 ", "mine.py:Power:p=2"),
        ("./mine.py:Power:p=2", "./mine.py:Power:p=2"),
    ],
)
def test_a_spec_with_a_file_round_trips(text: str, canonical: str, folder: Path) -> None:
    spec = Spec.parse(text)
    assert str(spec) == canonical
    assert Spec.parse(str(spec)) == spec == pickle.loads(pickle.dumps(spec))
    assert spec.file is not None
    assert spec.file.resolve() == folder / "mine.py"
    assert str(spec.replace({"p": 3})).endswith("Power:p=3")


def test_it_builds_and_can_be_tuned() -> None:
    assert Spec.parse("mine.py:Power:p=2").build(["a"])({"a": torch.tensor(3.0)}) == 9
    assert list(Spec.parse("mine.py:Power").free) == ["p"]
    assert not Spec.parse("mine.py:Power:p=2").free
    assert card("mine.py:Power").state == ()
    assert card("mine.py:Power").sentence == "", "the base's docstring is not the method's"


@pytest.mark.parametrize("annotation", ["Mapping[str, float]", "dict[str, float] | None"])
def test_a_mapping_by_task_is_known_by_its_type(annotation: str, folder: Path) -> None:
    code = CODE.replace("*, p=1.0", f"powers: {annotation}").replace("self.p = p + 0", "self.p = powers[tasks[0]]")
    (folder / "mapped.py").write_text(f"from __future__ import annotations\nfrom collections.abc import Mapping\n{code}")
    assert Spec.parse("mapped.py:Power:a=2").build(["a"])({"a": torch.tensor(3.0)}) == 9


def test_lists_have_files_in_them() -> None:
    specs = Spec.parse_list("equal,mine.py:Power,mine.py:Power:p=2,dtp:gamma=2,alpha=0.5")
    assert [str(spec) for spec in specs] == ["equal", "mine.py:Power", "mine.py:Power:p=2", "dtp:alpha=0.5,gamma=2"]
    assert Spec.split("mine.py:Power,p=2") == ["mine.py:Power:p=2"]


def test_a_name_in_the_table_has_no_file() -> None:
    assert Spec("dtp").file is None
    assert Spec("dtp").sha256 is None


def test_a_file_is_executed_once_and_again_after_a_change(folder: Path) -> None:
    before = Spec.parse("mine.py:Power").sha256
    for _ in range(2):
        Spec.parse("mine.py:Power:p=2").build(["a"])
    assert (folder / "executions").read_text() == "x"
    (folder / "mine.py").write_text(CODE + "# changed")
    assert Spec("mine.py:Power").sha256 == before, "the hash is of the bytes that were executed"
    assert Spec.parse("mine.py:Power").sha256 != before
    assert (folder / "executions").read_text() == "xx"


def test_files_of_one_name_are_two_modules(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "mine.py").write_text(CODE)
    methods = {Spec.parse(text).method for text in ("mine.py:Power", "sub/mine.py:Power")}
    assert len(methods) == 2
    assert all(sys.modules[method.__module__].Power is method for method in methods)


def test_a_record_is_read_without_the_file(folder: Path) -> None:
    (folder / "mine.py").unlink()
    spec = Spec.read("mine.py:Power:p=2")
    assert (spec.name, spec.option("p")) == ("mine.py:Power", 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no.py:Power", "There is no file no.py. A balancer is a name .* or a class in a Python file"),
        ("mine.py:Powr", "Unknown class in mine.py: 'Powr'; did you mean 'Power'"),
        ("mine.py:Other", "Other in mine.py is not a balancer. Derive it from"),
        ("mine.py:torch", "torch in mine.py is not a balancer"),
        ("mine.py", "mine.py is a file. Name the class in it as well"),
        ("mine.py:p=2", "mine.py is a file. Name the class in it as well"),
        ("mine.py:Power:q=2", "Unknown option of balancer 'mine.py:Power': 'q'"),
        ("mine.py:Unfinished", "mine.py: TypeError: Can't instantiate abstract class Unfinished"),
        ("mine.py:Power:p=two", "mine.py, line 12: TypeError: .*A balancer is a subclass"),
        ("broken.py:Power", "broken.py, line 2: SyntaxError"),
        ("failing.py:Power", "failing.py, line 1: ZeroDivisionError: division by zero"),
    ],
)
def test_what_is_wrong_gets_one_sentence(text: str, message: str, folder: Path) -> None:
    (folder / "broken.py").write_text("import torch\nclass Power(:\n")
    (folder / "failing.py").write_text("1 / 0\n")
    with pytest.raises(InputError, match=message):
        Spec.parse(text).build(["a"])


def test_an_error_in_training_names_the_line(folder: Path) -> None:
    spec = Spec.parse("mine.py:Power")
    balancer = spec.build(["a"])
    balancer.p = "two"
    with pytest.raises(InputError, match=r"mine.py, line 16: TypeError"):
        spec.explain_errors(lambda: balancer({"a": torch.tensor(3.0)}))
    with pytest.raises(ValueError, match=r"^elsewhere$"):  # is not the file's
        spec.explain_errors(lambda: (_ for _ in ()).throw(ValueError("elsewhere")))


def test_the_bytes_are_part_of_the_keys_of_its_own_trials_alone(folder: Path) -> None:
    training = pytest.importorskip("hardfirst.training", reason="needs the extra cli", exc_type=ImportError)
    from hardfirst.problems import load_problem

    problem = load_problem("digits")
    trial = training.Trial("digits", Spec.parse("mine.py:Power"), seed=0, epochs=1, learning_rate=1e-3)
    before = trial.key(problem)
    assert trial.describe(problem)["balancer_sha256"] == trial.balancer.sha256
    equal = replace(trial, balancer=Spec("equal"))
    assert "balancer_sha256" not in equal.describe(problem)
    assert equal.key(problem) == "6cab44ee79ceb88a"  # a key of a study that an earlier version has run
    (folder / "mine.py").write_text(CODE + "# changed")
    Spec.parse("mine.py:Power")
    assert trial.key(problem) != before
