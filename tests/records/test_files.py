import os
from pathlib import Path

import pytest

from hardfirst.errors import InputError
from hardfirst.records import remove_parts, replaced_file


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_text("old")
    with replaced_file(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_after_an_error_the_old_content_stays_and_the_part_goes(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_text("old")

    def write() -> None:
        with replaced_file(file) as part:
            part.write_text("ne")
            raise OSError("full")

    with pytest.raises(InputError, match="weights cannot be written: full"):
        write()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_killed_processes_have_left_is_removed(tmp_path: Path) -> None:
    """By the next one to write the file after a day, since a process elsewhere may write it now; at once if asked."""
    file = tmp_path / "weights[1]"
    old, new, other = (tmp_path / name for name in (".weights[1].1.part", ".weights[1].2.part", ".weights1.3.part"))
    for part in (old, new, other):
        part.write_text("half")
    os.utime(old, (0, 0))
    with replaced_file(file) as part:
        part.write_text("new")
    assert set(tmp_path.iterdir()) == {file, new, other}
    remove_parts(file)
    assert set(tmp_path.iterdir()) == {file, other}
