"""hardfirst without extras: `make bare` runs this file and all tests that need torch alone."""

import doctest
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import hardfirst
from hardfirst.errors import MissingPackage
from table import EVERY, GRADIENT, NAMED

TASKS = ["easy", "hard"]
CORE = ["balancers", "errors", "functional", "kpi", "losses", "networks", "records", "stopping"]
without = {name: pytest.mark.skipif(bool(find_spec(name)), reason=f"{name} is installed") for name in ("typer", "torchjd")}


@pytest.mark.parametrize("name", hardfirst.__all__)
def test_every_public_name_is_there(name: str) -> None:
    value = getattr(hardfirst, name)
    for public in getattr(value, "__all__", ()):
        getattr(value, public)


@without["typer"]
@pytest.mark.parametrize("arguments", [[], ["--version"], ["compare", "digits"]])
def test_the_command_says_in_a_sentence_what_to_install(arguments: list[str]) -> None:
    command = Path(sys.executable).parent / "hardfirst"
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr == 'hardfirst: the command line needs typer, which is not installed: pip install "hardfirst[cli]"\n'


@without["typer"]
def test_studies_say_what_to_install() -> None:
    with pytest.raises(ImportError, match=r'Studies need \w+, which is not installed: pip install "hardfirst\[cli\]"'):
        import_module("hardfirst.study")


@without["torchjd"]
def test_methods_of_torchjd_say_what_to_install_and_ours_need_nothing() -> None:
    assert {"pcgrad", "upgrad"} < {spec.name for spec in GRADIENT}
    missing = [spec for spec in NAMED if spec not in EVERY]
    assert {spec.name for spec in missing} == {"cagrad"}
    for spec in missing:
        with pytest.raises(MissingPackage, match=r"pip install 'hardfirst\[gradient\]'"):
            spec.build(TASKS)


def _examples() -> Iterator[doctest.DocTest]:
    """The examples in docstrings of modules that import torch alone."""
    for name in CORE:
        module = import_module(f"hardfirst.{name}")
        inner = pkgutil.iter_modules(getattr(module, "__path__", []), f"hardfirst.{name}.")
        for part in [module.__name__, *(info.name for info in inner)]:
            try:
                examples = doctest.DocTestFinder().find(import_module(part))
            except ModuleNotFoundError as error:
                if error.name != "pydantic":  # a study folder checks its settings with it
                    raise
                continue
            yield from (example for example in examples if example.examples)


@without["typer"]
@pytest.mark.parametrize("example", [] if find_spec("typer") else [*_examples()], ids=lambda example: example.name)
def test_examples_in_docstrings(example: doctest.DocTest) -> None:
    try:
        doctest.DebugRunner(optionflags=doctest.ELLIPSIS).run(example)
    except doctest.UnexpectedException as unexpected:
        error = unexpected.exc_info[1]  # torch alone has neither TorchJD, nor torchmetrics, nor numpy
        if not isinstance(error, MissingPackage) and not re.search("torchmetrics|Numpy is not available", str(error)):
            raise
        pytest.skip(str(error))


def test_torch_alone_trains() -> None:
    layer = torch.nn.Linear(2, 2)
    balancer = hardfirst.DTP(TASKS)
    left, right = layer(torch.ones(4, 2)).square().mean(0)
    balancer({"easy": left, "hard": right}, kpis={"easy": 0.9, "hard": 0.2}).backward()
    assert layer.weight.grad is not None
    assert balancer.weights["hard"] > balancer.weights["easy"]
