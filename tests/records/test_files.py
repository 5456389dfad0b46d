from pathlib import Path

import pytest

from hardfirst.errors import InputError
from hardfirst.records import replaced_file


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
