"""The lazy tables of names: what type checkers see is what Python finds, and listing names imports nothing."""

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGES = ["hardfirst", "hardfirst.balancers", "hardfirst.networks"]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_has_an_import_for_type_checkers(name: str) -> None:
    package = import_module(name)
    tree = ast.parse(Path(str(package.__file__)).read_text(encoding="utf-8"))
    typed = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    lazy = {public for public in package.__all__ if not find_spec(f"{name}.{public}")} - {"BALANCERS", "NETWORKS"}
    assert lazy <= typed
    assert all(getattr(package, public) is not None for public in package.__all__)


def test_listing_names_and_reading_specs_import_no_torch() -> None:
    code = """
import sys
from hardfirst.balancers import BALANCERS, Spec
from hardfirst.networks import NETWORKS, NetworkSpec
assert "dtp" in list(BALANCERS) and "mmoe" in list(NETWORKS)
assert Spec.read("dtp:gamma=2").option("gamma") == 2
assert NetworkSpec.read("task_hierarchy:order=a+b").option("order") == ("a", "b")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
