"""Parsed data is kept, and a damaged or unwritable cache costs time, never a run."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hardfirst.problems import cache_folder, cached


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, Tensor]:
        self.calls += 1
        return {"a": torch.arange(3)}


def test_it_is_made_once() -> None:
    make = Maker()
    for _ in range(2):
        assert cached("toy-1", make)["a"].tolist() == [0, 1, 2]
    assert make.calls == 1
    cached("toy-2", make)
    assert make.calls == 2
    assert sorted(path.name for path in cache_folder().iterdir()) == ["toy-1.pt", "toy-2.pt"]


def test_a_damaged_one_is_made_anew() -> None:
    make = Maker()
    cached("toy-1", make)
    (cache_folder() / "toy-1.pt").write_bytes(b"cut")
    with pytest.warns(UserWarning, match="could not be read and is created again"):
        assert cached("toy-1", make)["a"].tolist() == [0, 1, 2]
    assert cached("toy-1", make)["a"].tolist() == [0, 1, 2]
    assert make.calls == 2


def test_what_cannot_be_kept_is_made_each_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    make = Maker()
    with pytest.warns(UserWarning, match="could not be stored"):
        assert cached("toy-1", make)["a"].tolist() == [0, 1, 2]
