from pathlib import Path

import pytest

from hardfirst.problems import PROBLEMS, Problem, Splits, _cache


@pytest.fixture(scope="module")
def problem(request: pytest.FixtureRequest) -> Problem:
    """The built-in problem that the module tests."""
    return PROBLEMS[request.module.NAME]()


@pytest.fixture(scope="module")
def splits(problem: Problem) -> Splits:
    return problem.data()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, working directory and cache instead of the user's."""
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path))
    monkeypatch.setattr(_cache, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    return tmp_path
