"""Problems that read a folder: their names, the checksum of the folder, and the published protocol."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import toy_folder
from hardfirst.errors import InputError
from hardfirst.problems import FIELDS, Published, PublishedMeasure, digest, fields, folder_name, load_problem
from hardfirst.problems.fields import held_out


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    toy_folder.register(monkeypatch)
    fields._folder_digest.cache_clear()


@pytest.mark.parametrize("folder", ["plain", "a b", "50% off; a&b=c?d", "ä,ö#+"])
def test_a_name_holds_any_folder(tmp_path: Path, folder: str) -> None:
    name = toy_folder.name(tmp_path / folder)
    assert not set(" ,;&#") & set(name)
    assert load_problem(name).name == "toy"
    assert fields.check(name) == ["60 + 21 rows"]


def test_a_name_may_be_typed_and_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy_folder.write(tmp_path / "a+b & c")
    monkeypatch.chdir(tmp_path)
    assert load_problem("toy?data=a+b & c").name == "toy"
    assert folder_name("toy", Path("here")) == f"toy?data={tmp_path}/here"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toy", r"toy reads its data from a folder: add --data DIR .*Expected DIR/\{train,val\}.npy; get it from its test"),
        ("toy?data=", r"Expected toy\?data=DIR; got toy\?data=\."),
        ("toy?folder=/tmp", r"Expected toy\?data=DIR; got toy\?folder=/tmp"),
        ("toy?data=missing", "There is no folder missing for the data of toy. Expected DIR"),
        ("toy?data=file", "file is a file; toy reads"),
        ("toy?data=.", "there is no train.npy"),
        ("digits?data=.", r"digits does not read a folder. Leave out \?data="),
        ("nyuv3?data=.", "Unknown problem 'nyuv3'; did you mean 'nyuv2'"),
    ],
)
def test_wrong_names(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(InputError, match=message):
        load_problem(name)


def test_the_digest_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    one, other = toy_folder.name(tmp_path / "one"), toy_folder.name(tmp_path / "else" / "where")
    (tmp_path / "one" / ".hidden").touch()
    assert digest(one) == digest(other)


def _longer(folder: Path) -> None:
    with (folder / "train.npy").open("ab") as file:
        file.write(b"1")


def _other_bytes(folder: Path) -> None:
    with (folder / "val.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")


def _renamed(folder: Path) -> None:
    (folder / "val.npy").rename(folder / "test.npy")


@pytest.mark.parametrize("change", [_longer, _other_bytes, _renamed])
def test_the_digest_depends_on_the_files(tmp_path: Path, change: Callable[[Path], None]) -> None:
    name = toy_folder.name(tmp_path / "data")
    before = digest(name)
    change(tmp_path / "data")
    fields._folder_digest.cache_clear()
    assert digest(name) != before


def test_a_tenth_is_held_out() -> None:
    assert 0.09 < sum(held_out(f"{number}.npy") for number in range(10_000)) / 10_000 < 0.11


@pytest.mark.parametrize("name", FIELDS)
def test_rows(name: str) -> None:
    row = FIELDS[name]
    assert "DIR" in row.layout
    assert row.description.endswith(".")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measures": {"kin": ()}}, "Unknown task in the published measures of problem 'toy': 'kin'; did you mean 'kind'"),
        ({"measures": {"kind": (PublishedMeasure("mIoU", True),)}}, "Unknown published measure of task 'kind': 'mIoU'"),
        ({"metrics": {"dept": {}}}, "Unknown task in the published metrics"),
    ],
)
def test_published_measures_are_those_of_the_tasks(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    toy = load_problem(toy_folder.name(tmp_path / "data"))
    assert toy.published is not None
    with pytest.raises(InputError, match=message):
        replace(toy, published=replace(toy.published, **settings))  # type: ignore[arg-type]  # wrong on purpose


def test_wrong_protocols(tmp_path: Path) -> None:
    toy = load_problem(toy_folder.name(tmp_path / "data"))
    with pytest.raises(InputError, match="`last` to be"):
        Published(toy.data, last=0)
    with pytest.raises(InputError, match="to be other than 0"):
        Published(toy.data, {"kind": (PublishedMeasure("error", False, 0.0),)})
    with pytest.raises(InputError, match="to be PublishedMeasure objects; got 'error'"):
        Published(toy.data, {"kind": ("error",)})  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"to be a hardfirst\.problems\.Published"):
        replace(toy, published=toy.data)  # type: ignore[arg-type]
