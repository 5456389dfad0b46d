from pathlib import Path

import pytest

from hardfirst.problems import _cache
from hardfirst.problems.fields import _mapped


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache for each test."""
    for module in (_cache, _mapped):
        monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"
