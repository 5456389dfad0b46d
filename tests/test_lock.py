"""constraints/lock.txt pins everything that pyproject.toml asks for, in versions that any index has."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "constraints/lock.txt"


def declared() -> set[str]:
    """The names of all packages that hardfirst, its extras and its dependency groups ask for."""
    requirements = []
    for file in [ROOT / "pyproject.toml", *ROOT.glob("packages/*/pyproject.toml")]:
        content = tomllib.loads(file.read_text("utf-8"))
        project, groups = content["project"], content.get("dependency-groups", {})
        requirements += project["dependencies"]
        for group in [*project.get("optional-dependencies", {}).values(), *groups.values()]:
            requirements += group
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower() for requirement in requirements}
    return {name for name in names if not name.startswith("hardfirst")}


def test_every_dependency_is_locked() -> None:
    locked = {line.partition("==")[0] for line in LOCK.read_text("utf-8").splitlines()}
    assert declared() - locked == set(), "run `make lock`"


def test_versions_exist_on_any_index() -> None:
    for line in LOCK.read_text("utf-8").splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+(\.\*)?", line), line


def test_a_new_lock_says_what_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "constraints/lock.py")
    assert spec is not None
    assert spec.loader is not None
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    lock.LOCK, report = tmp_path / "lock.txt", tmp_path / "report.json"
    lock.LOCK.write_text("a==1.0\nold-one==1\nsame==3\n")
    versions = {"A": "2.0", "New.One": "1.2+cpu", "same": "3", "torch": "2.13.0+cpu", "nvidia-cublas": "13"}
    packages = [{"metadata": {"name": name, "version": version}, "is_direct": False} for name, version in versions.items()]
    itself = {"metadata": {"name": "hardfirst", "version": "0.1"}, "is_direct": True}
    report.write_text(json.dumps({"install": [itself, *packages]}))
    lock.main(report)
    assert lock.LOCK.read_text() == "a==2.0\nnew-one==1.2\nsame==3\ntorch==2.13.*\n"
    assert capsys.readouterr().out.split("\n") == [
        "- a==1.0",
        "+ a==2.0",
        "+ new-one==1.2",
        "- old-one==1",
        "+ torch==2.13.*",
        "",
    ]
