"""Data and caches of earlier versions are found where they are."""

import sys
from pathlib import Path

import pytest

from hardfirst.errors import MissingPackage
from hardfirst.problems import cache_folder, data_folder

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HARDFIRST_DATA", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@linux
def test_folders_are_below_home(tmp_path: Path) -> None:
    assert data_folder() == tmp_path / ".local/share/hardfirst"
    assert cache_folder() == tmp_path / ".cache/hardfirst"
    assert not any(tmp_path.iterdir())  # asking creates nothing


@linux
def test_the_variables_of_the_system_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder() == tmp_path / "data/hardfirst"
    assert cache_folder() == tmp_path / "cache/hardfirst"


def test_a_folder_of_the_user_comes_first_and_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(MissingPackage, match=r'needs platformdirs: pip install "hardfirst\[cli\]"'):
        data_folder()
    monkeypatch.setenv("HARDFIRST_DATA", str(tmp_path / "mine"))
    assert data_folder() == tmp_path / "mine"
