import ast
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # a busy one is no failure
settings.load_profile("shared machine")

# these set variables of their own when first used
LIBRARIES = ("PYTEST", "PYTORCH", "TORCH", "TRITON", "KMP", "RDBASE", "RAY", "PYTHONBREAKPOINT")

# What of hardfirst needs an extra; what imports none of it has to pass its tests with torch alone: `make bare`.
ABOVE_THE_CORE = re.compile(r"hardfirst\.(problems|training|stud|report|cli|integrations|statistics|records\.study_folder)")

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker a core: more threads would only stand in each other's way
    torch.set_num_threads(1)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without the extras, leave out what imports one; with them nothing is left out."""
    if find_spec("typer"):
        return None
    return True if collection_path.suffix == ".py" and not _importable(collection_path) else None


@cache
def _importable(file: Path) -> bool:
    """Whether what the file imports at its top is installed, and what this folder's files that it imports do."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        for name in names:
            package = name.partition(".")[0]
            if package == "hardfirst":
                found = not ABOVE_THE_CORE.match(name)
            elif (helper := Path(__file__).with_name(f"{package}.py")).exists():
                found = _importable(helper)
            else:
                found = find_spec(package) is not None
            if not found:
                return False
    return True


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """A test gets a fresh random state, and fails if it leaves process-wide settings changed."""
    before = _settings()
    state = torch.get_rng_state()
    torch.manual_seed(0)
    yield
    torch.set_rng_state(state)
    after = _settings()
    for name, value in before.items():
        assert after[name] == value, f"the test left the {name} changed"


def _settings() -> dict[str, object]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(LIBRARIES)}
    return {
        "environment": environment,
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "process group": dist.is_initialized(),
        "grad mode": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


@pytest.fixture
def hardfirst(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in this process, in a folder of its own, and return what it printed."""
    from hardfirst import cli
    from hardfirst.cli import _common

    monkeypatch.chdir(tmp_path)
    for name, value in (("_width", 200), ("stderr", False), ("quiet", False)):
        monkeypatch.setattr(_common.console, name, value)

    def run(*arguments: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["hardfirst", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = "".join(capsys.readouterr())
        assert (stop.value.code or 0) == code, printed
        return printed

    return run


@pytest.fixture(scope="module")  # playwright's event loop would be in the way of others'
def browser() -> Iterator[Any]:
    """A chromium for a module's tests; they open pages of their own in it."""
    chromium = shutil.which("chromium")
    if chromium is None and "CI" not in os.environ:
        pytest.skip("chromium is not installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()
