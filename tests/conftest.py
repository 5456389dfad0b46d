import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import torch.distributed as dist
from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # a busy one is no failure
settings.register_profile("quick", deadline=None, max_examples=20)
settings.load_profile("shared machine")

# libraries that set environment variables when first used
LIBRARIES = ("PYTEST", "PYTORCH", "TORCH", "TRITON", "KMP", "RDBASE", "RAY", "PYTHONBREAKPOINT")

# Modules that need an extra. Tests of all others pass with torch alone: `make bare`.
EXTRA = "problems|training|trained|sklearn|stud|report|cli|integrations|statistics"
ABOVE_THE_CORE = re.compile(rf"hardfirst\.({EXTRA}|records\.(study_folder|description|old_folders|table_card|trees))")
FOLDER_ABOVE_THE_CORE = re.compile(rf"({EXTRA})")

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core, so more threads would compete for it
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # and in the processes that tests start


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="run the tests of `make quick`: no process, no compiler")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("quick"):
        settings.load_profile("quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("quick"):
        items[:] = [item for item in items if _is_quick(item)]


def _is_quick(item: pytest.Item) -> bool:
    marked = any(item.get_closest_marker(name) for name in ("slow", "browser", "data"))
    return not marked and item.path.name != "test_examples.py" and item.path.parent.name != "integrations"


@pytest.fixture(scope="session", autouse=True)
def _no_process_in_quick_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """With --quick, a test that starts a process or compiles is skipped when it does so: no list of such tests is kept."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("quick"):
            for owner, name in ((subprocess.Popen, "__init__"), (BaseProcess, "start"), (torch, "compile")):
                patch.setattr(owner, name, _skip)
        yield


def _skip(*_: object, **__: object) -> NoReturn:
    pytest.skip("starts a process or compiles: not in --quick")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("data"):
        from installed import skip_without_data

        skip_without_data(*mark.args)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without the extras, ignore files that import one; with them, ignore nothing."""
    if find_spec("typer"):
        return None
    if FOLDER_ABOVE_THE_CORE.match(collection_path.parent.name):
        return True
    return True if collection_path.suffix == ".py" and not _importable(collection_path) else None


@cache
def _importable(file: Path) -> bool:
    """Whether the file's top-level imports are installed, including those of helper files in this folder."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names]
        for name in names:
            package = name.partition(".")[0]
            if package == "hardfirst":
                importable = not ABOVE_THE_CORE.match(name)
            elif (helper := Path(__file__).with_name(f"{package}.py")).exists():
                importable = _importable(helper)
            else:
                importable = find_spec(package) is not None
            if not importable:
                return False
    return True


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """Give each test a fresh random state, and fail it if it changes process-wide settings."""
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
    """Run a command in this process and a temporary folder, and return what it printed."""
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


@pytest.fixture(scope="module")  # playwright's event loop would disturb tests of other modules
def browser() -> Iterator[Any]:
    """A browser for the tests of one module; each opens its own pages."""
    chromium = shutil.which("chromium")
    if chromium is None and "CI" not in os.environ:
        pytest.skip("chromium is not installed: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield browser
        browser.close()
