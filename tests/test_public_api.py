"""The public API is the one in tests/public_api.txt, and all files state the same version."""

import difflib
import re
import sys
from pathlib import Path

import pytest
import yaml

import public_api
from hardfirst import __version__

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other Pythons write some defaults differently")
def test_the_public_api_is_the_one_written_down() -> None:
    before, now = public_api.SNAPSHOT.read_text(encoding="utf-8"), public_api.text()
    changes = "\n".join(difflib.unified_diff(before.splitlines(), now.splitlines(), "written down", "now", n=0, lineterm=""))
    assert before == now, f"If the change is meant: python tests/public_api.py, and a line in CHANGELOG.md.\n{changes}"


def test_a_changed_default_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def update(self: object, kpis: object = 3) -> None: ...

    monkeypatch.setattr("hardfirst.DTP.update", update)
    assert "update(self, kpis=3)" in public_api.text()


def test_the_version_is_one() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    released = re.search(rf"^## \[?{re.escape(__version__)}\]? - (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert str(citation.get("date-released")) == (released[1] if released else "None")  # a date when there is a release
